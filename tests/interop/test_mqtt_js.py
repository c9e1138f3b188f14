"""MQTT.js, over TCP and over WebSocket."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import Place

NODE = Path(__file__).parent / "node"
WEBSOCKET = (
    "--set=listeners.web.protocol=mqtt",
    "--set=listeners.web.websocket=true",
    "--set=listeners.web.port=0",
)

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "mqtt").is_dir(),
    reason="node or its packages are not installed: make node-clients",
)


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize(("scheme", "listener"), [("mqtt", "mqtt"), ("ws", "web")])
def test_a_session(place: Place, tmp_path: Path, scheme: str, listener: str, version: str) -> None:
    with place.running(*WEBSOCKET, directory=tmp_path) as program:
        url = f"{scheme}://127.0.0.1:{program.port(listener)}/any/path"
        done = subprocess.run(
            ["node", "mqttjs_session.mjs", url, version],
            cwd=NODE,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "messages": [["js/0", "m0", 0], ["js/1", "m1", 1], ["js/2", "m2", 2]],
        "retained": ["kept", True],
        "will": "gone",
        "properties": [["1", "2"], "text/plain"] if version == "5" else None,
    }
