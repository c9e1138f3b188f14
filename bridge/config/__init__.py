"""The configuration: schema, loading with every mistake at its place, and the generated reference.

`load` is the way in. The table of protocols is passed to it, since what can be spoken is decided
above.
"""

from bridge.config.backend import Backend as BackendSection
from bridge.config.listeners import ListenerOptions, ProtocolPorts, tls_files
from bridge.config.load import (
    ENVIRONMENT_VARIABLE,
    Loaded,
    Sources,
    StoredNames,
    effective,
    find_file,
    limits_of,
    load,
)
from bridge.config.mistakes import ConfigInvalid, Mistake
from bridge.config.schema import Config, Queue, Tls

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "BackendSection",
    "Config",
    "ConfigInvalid",
    "ListenerOptions",
    "Loaded",
    "Mistake",
    "ProtocolPorts",
    "Queue",
    "Sources",
    "StoredNames",
    "Tls",
    "effective",
    "find_file",
    "limits_of",
    "load",
    "tls_files",
]
