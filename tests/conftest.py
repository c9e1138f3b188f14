"""What every test shares: its options, assertion messages from the support modules and hypothesis
settings.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support", "tests.conformance")

from tests.support.program import BACKENDS  # noqa: E402 - rewritten as well

# No deadline: a busy machine is not a failure. In CI the examples are the same on every run, so
# that a red build is about the change; elsewhere new ones are tried each time.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=BACKENDS,
        help="the backend of the brokers that real clients are tested with; may be repeated",
    )
