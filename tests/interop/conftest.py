"""The backends that real clients are tested with.

A test that asks for a `place` runs embedded; with `--backend`, on those named there. One that is
marked `only_on_aws` runs on moto.
"""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from bridge.api.simulation import Faults
from bridge.config.simulation import Simulation
from tests.support.bad_aws import bad_aws
from tests.support.moto_server import moto_server
from tests.support.program import AWS_MOTO, AWS_SIMULATED, EMBEDDED, PAYLOAD_BUCKET, Place


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only_on_aws: runs on moto, whatever `--backend` says")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("backend") or [EMBEDDED]
    if metafunc.definition.get_closest_marker("only_on_aws"):
        chosen = [AWS_MOTO]
    metafunc.parametrize("place", chosen, indirect=True, scope="module")


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        make_bucket(url)
        yield url


@pytest.fixture(scope="session")
def simulated_url() -> Iterator[str]:
    """AWS with the faults of `simulate: aws` as it is by default, but for what comes twice.

    These clients count what they get; duplicates have tests of their own.
    """
    once = {"duplicate_rate": 0.0, "lost_reply_rate": 0.0}
    with bad_aws(Faults(**{**Simulation().model_dump(), **once})) as url:
        make_bucket(url)
        yield url


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Place:
    """Where the brokers of a test keep their queues."""
    match request.param:
        case "aws-moto":
            return Place(AWS_MOTO, request.getfixturevalue("moto_url"))
        case "aws-simulated":
            return Place(AWS_SIMULATED, request.getfixturevalue("simulated_url"))
        case _:
            return Place(EMBEDDED)


def make_bucket(url: str) -> None:
    boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket=PAYLOAD_BUCKET)
