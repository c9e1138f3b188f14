"""An action of either service as one row of a table: its name, its request type, and what carries
it out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from bridge.api.call import Call, Wire
from bridge.api.wire import json, query, xml
from bridge.api.wire.xml import Rendering

S = TypeVar("S")

JSON_TYPE = "application/x-amz-json-1.0"
XML_TYPE = "text/xml"

Handler = Callable[[S, Call, Any], Any]
"""Takes (service, call, request); answers with a result struct or None, with a coroutine of one, or
with a `Committing`.
"""


class Operation(Generic[S]):
    """One action; `run` decodes the request and starts the handler."""

    __slots__ = ("_decoder", "_names", "_request_type", "handler", "name", "rendering")

    def __init__(
        self,
        name: str,
        request_type: type[msgspec.Struct],
        handler: Handler[S],
        names: query.Names,
        rendering: Rendering,
    ) -> None:
        self.name = name
        self.rendering = rendering
        self._request_type = request_type
        self.handler = handler
        self._names = names
        # Numbers in strings are taken: SDKs of weakly typed languages send them.
        self._decoder = msgspec.json.Decoder(request_type, strict=False)

    def carried_out_by(self, handler: Handler[S]) -> Operation[S]:
        """The same action with another handler."""
        return Operation(self.name, self._request_type, handler, self._names, self.rendering)

    def run_json(self, service: S, call: Call) -> Any | Coroutine[Any, Any, Any]:
        return self.handler(service, call, json.decode_request(self._decoder, call.request.body))

    def run_query(self, service: S, call: Call, parameters: Mapping[str, str]) -> Any:
        request = query.convert_request(parameters, self._request_type, self._names)
        return self.handler(service, call, request)


def success_body(call: Call, operation: Operation[Any], result: Any) -> tuple[str, bytes]:
    """Content type and body of the answer to an action that went well."""
    match call.wire:
        case Wire.JSON:
            return JSON_TYPE, b"{}" if result is None else json.encode(result)
        case Wire.QUERY:
            return XML_TYPE, xml.result_body(
                operation.name, result, call.request_id, operation.rendering
            )
        case Wire.QUERY_AS_JSON:
            return "application/json", xml.json_result_body(
                operation.name, result, call.request_id, operation.rendering
            )
