"""A configuration from a text, in a directory of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bridge.config import ConfigInvalid, Loaded, ProtocolPorts, Sources, load

TABLE = {
    ports.name: ports
    for ports in (
        ProtocolPorts("stomp", "STOMP", 61613, 61614, 15674),
        ProtocolPorts("aws", "SQS and SNS API", 4566, 4566),
        ProtocolPorts("metrics", "Metrics", 15692, 15692, authenticated=False),
    )
}

Load: TypeAlias = Callable[..., Loaded]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def run(text: str | None = None, *overrides: str, port_offset: int = 0, **env: str) -> Loaded:
        file = None
        if text is not None:
            file = Path("f.yaml")
            file.write_text(text)
        return load(Sources(file, overrides, port_offset, env, TABLE))

    return run


def mistakes_of(loaded: Load, *arguments: Any, **env: Any) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        loaded(*arguments, **env)
    return [str(mistake) for mistake in refused.value.mistakes]
