"""`landbridge user hash`: from a password to its hash, or to the lines of the configuration."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Final

from bridge.auth import make_password_hash

_NAME_LENGTH_MAX: Final = 255
_PASSWORD_LENGTH_MAX: Final = 4_096


def print_user(name: str | None) -> int:
    """Ask for a password, or read one line; print its hash, with a name the entry of `users`."""
    if name is not None and not 1 <= len(name) <= _NAME_LENGTH_MAX:
        print(f"--name: a name has 1 to {_NAME_LENGTH_MAX} characters", file=sys.stderr)
        return 1
    password = _asked() if sys.stdin.isatty() else sys.stdin.readline(_PASSWORD_LENGTH_MAX + 2)
    if password is None:
        print("these two differ", file=sys.stderr)
        return 1
    password = password.rstrip("\r\n")
    if not password or len(password) > _PASSWORD_LENGTH_MAX:
        print(f"a password has 1 to {_PASSWORD_LENGTH_MAX} characters", file=sys.stderr)
        return 1
    hashed = make_password_hash(password.encode("utf-8", "surrogateescape"))
    if name is None:
        print(hashed)
        return 0
    print("users:")
    print(f"  - name: {json.dumps(name, ensure_ascii=False)}")
    print(f'    password_hash: "{hashed}"')
    return 0


def _asked() -> str | None:
    """What was typed twice; None where that differs."""
    try:
        first = getpass.getpass("password: ")
        return first if getpass.getpass("again: ") == first else None
    except EOFError:
        return ""
