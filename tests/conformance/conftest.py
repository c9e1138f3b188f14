"""The subjects of the conformance suite: every backend, opened on an empty place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bridge.messaging.ports import Backend, Leases, Store
from tests.conformance.subjects import SUBJECTS
from tests.support.moto_server import moto_server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*capabilities): runs on the subjects of the suite that have these"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    marks = metafunc.definition.iter_markers("needs")
    needed = {capability for mark in marks for capability in mark.args}
    names = [name for name, subject in SUBJECTS.items() if needed <= subject.capabilities]
    metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def backend(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    moto_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Backend]:
    """A backend on an empty place."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with SUBJECTS[request.param].opened(tmp_path, moto_url) as backend:
        yield backend


@pytest.fixture
def store(request: pytest.FixtureRequest, backend: Backend) -> Store:
    return SUBJECTS[request.node.callspec.params["backend"]].store_of(backend)


@pytest.fixture
def leases(backend: Backend) -> Leases:
    return backend.leases
