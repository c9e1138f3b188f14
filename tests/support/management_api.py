"""`/api/` of a broker's management listener, asked over a connection for each request."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from tests.support.program import Program


class Api:
    """The API as one user; `at` is a program or a port."""

    def __init__(self, at: Program | int, user: str | None = None, password: str = "") -> None:
        self.port = at if isinstance(at, int) else at.port("management")
        self._headers: dict[str, str] = {}
        if user is not None:
            token = b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers by name in lower case, and what JSON there is; a text body is sent as it
        is.
        """
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, text, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            known = found.get("content-type") == "application/json"
            return response.status, found, json.loads(answer) if known and answer else answer
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return self._expect(200, path, "GET")

    def put(self, path: str, body: object = None) -> None:
        """Declare what is not there yet."""
        self._expect(201, path, "PUT", body)

    def post(self, path: str, body: object) -> Any:
        return self._expect(200, path, "POST", body)

    def delete(self, path: str, **headers: str) -> None:
        self._expect(204, path, "DELETE", headers=headers)

    def _expect(
        self,
        expected: int,
        path: str,
        method: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        status, _, answer = self.ask(f"/api/{path}", method, body, headers)
        assert status == expected, answer
        return answer

    def publish(self, exchange: str, key: str, payload: str, **properties: Any) -> bool:
        """Publish in the default virtual host; whether it was routed."""
        message = {
            "properties": properties,
            "routing_key": key,
            "payload": payload,
            "payload_encoding": "string",
        }
        routed: bool = self.post(f"exchanges/%2F/{exchange}/publish", message)["routed"]
        return routed

    def messages(self, queue: str, mode: str = "ack_requeue_false", count: int = -1) -> Any:
        """What is in a queue of the default virtual host."""
        wanted = {"count": count, "ackmode": mode, "encoding": "auto"}
        return self.post(f"queues/%2F/{queue}/get", wanted)


def replayed(api: Api, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded request asked again: the record of it now."""
    status, headers, answer = api.ask(recorded["path"], recorded["method"], recorded["body"])
    return {
        **recorded,
        "status": status,
        "header": headers.get("location") or headers.get("allow"),
        "answer": answer if isinstance(answer, list | dict) else answer or None,
    }
