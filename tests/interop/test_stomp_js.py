"""@stomp/stompjs, the client of browsers, over WebSocket."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import Place

NODE = Path(__file__).parent / "node"
WEBSOCKET = (
    "--set=listeners.web.protocol=stomp",
    "--set=listeners.web.websocket=true",
    "--set=listeners.web.port=0",
)

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").is_dir(),
    reason="node or its packages are not installed: make node-clients",
)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_session(place: Place, tmp_path: Path, version: str) -> None:
    with place.running(*WEBSOCKET, directory=tmp_path) as program:
        done = subprocess.run(
            ["node", "stompjs_session.mjs", str(program.port("web")), version],
            cwd=NODE,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    odd = "a:b\\ \nd" if version == "1.2" else "plain"
    assert json.loads(done.stdout) == {
        "version": version,
        "text": [["caf\u00e9", odd]],
        "binary": [[0, 1, 255, 10, 0]],
        "acked": [["again", "false"], ["again", "true"]],
        "topic": ["/topic/js.a", "/topic/js.b"],
        "reply": ["/temp-queue/js", "hello!"],
        "receipts": ["subscribed", "stored"],
        "error": None,
    }
