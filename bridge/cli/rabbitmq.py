"""`landbridge import rabbitmq`: definitions.json -> the store, with a report of what is lost.

`--plan` only says what would happen. Users, namespaces and policies go to the store as well, so
that one command is all: the next `landbridge serve` has them, and the configuration wins where it
names the same user.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bridge.chosen_backend import backend_of
from bridge.config import Loaded, limits_of
from bridge.imports import Imported, Importer, ImportRefused
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import QueueName
from bridge.messaging.subjects import dotted_from_subject
from mappings.amqp091.definition_topology import read_definitions
from mappings.amqp091.definitions import BindingDefinition, Definitions, DefinitionsInvalid

_FILE_SIZE_MAX: Final = 256 * 1024**2


def import_rabbitmq(loaded: Loaded, file: Path, *, plan: bool, vhost: str | None) -> int:
    """Import an export of definitions, or print what that would do; returns the exit code."""
    try:
        definitions = read_definitions(_read(file), vhost)
    except DefinitionsInvalid as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    if definitions.mistakes:
        for mistake in definitions.mistakes:
            print(f"{file}: {mistake}", file=sys.stderr)
        print("nothing was imported", file=sys.stderr)
        return 1
    backend = loaded.config.backend
    if backend.kind == "embedded" and backend.durability == "memory" and not plan:
        print("backend.durability is memory: what is imported would be lost", file=sys.stderr)
        return 1
    if plan:
        print("\n".join(_plan(definitions)))
    try:
        imported = asyncio.run(_run(loaded, definitions, plan=plan))
    except ImportRefused as refused:
        for reason in refused.reasons:
            print(reason, file=sys.stderr)
        print("nothing was imported", file=sys.stderr)
        return 1
    except MessagingError as error:
        print(f"nothing was imported: {error}", file=sys.stderr)
        return 1
    print("\n".join(_report(loaded, file, definitions, imported, plan=plan)))
    return 0


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_SIZE_MAX + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DefinitionsInvalid(f"cannot be read: {reason}") from None
    if len(text) > _FILE_SIZE_MAX:
        raise DefinitionsInvalid(f"is over {_FILE_SIZE_MAX} bytes")
    return text


async def _run(loaded: Loaded, definitions: Definitions, *, plan: bool) -> Imported | None:
    """Open the store, which the lock of a broker refuses where it has a data directory, and import.

    A plan does without a store that is not there, and makes none; None then.
    """
    section = loaded.config.backend
    if plan and section.kind == "embedded" and not section.path.exists():
        return None
    clock = SystemClock()
    backend = backend_of(loaded.config, clock, limits_of(loaded.config))
    await backend.open()
    try:
        importer = Importer(backend.store, backend.state, clock, MessageIds())
        return importer.check(definitions) if plan else await importer.run(definitions)
    finally:
        await backend.close()


def _report(
    loaded: Loaded,
    file: Path,
    definitions: Definitions,
    imported: Imported | None,
    *,
    plan: bool,
) -> list[str]:
    total = _counts(definitions)
    new = total if imported is None else asdict(imported)
    done = "would be imported" if plan else "imported"
    section = loaded.config.backend
    where = str(section.path.resolve())
    if section.kind == "aws":
        where = f"the state table {section.state_table!r}, for all nodes"
    lines = [f"{file}: definitions of RabbitMQ {definitions.version} {done} into {where}"]
    for kind, count in total.items():
        there = count - new[kind]
        lines.append(f"  {kind:10}  {new[kind]}" + (f", {there} there already" if there else ""))
    if definitions.losses:
        lines.append("not imported, or different here:")
        lines += [f"  {loss}" for loss in definitions.losses]
    configured = {user.name for user in loaded.config.users}
    if both := sorted(configured & {each.name for each in definitions.accounts}):
        lines.append(f"users that the configuration has too, and which it decides: {_listed(both)}")
    if definitions.accounts and not plan:
        lines.append("start the broker with `landbridge serve`: every client must log in now")
    return lines


def _counts(definitions: Definitions) -> dict[str, int]:
    return {
        "namespaces": len(definitions.namespaces),
        "users": len(definitions.accounts),
        "exchanges": len(definitions.topics),
        "queues": len(definitions.queues),
        "bindings": len(definitions.bindings),
        "policies": len(definitions.policies),
    }


def _plan(definitions: Definitions) -> list[str]:
    """Every object, one a line."""
    lines = [f"namespace {name!r}" for name in definitions.namespaces]
    for account in definitions.accounts:
        tags = _listed(sorted(account.tags or ())) or "no tags"
        lines.append(f"user {account.name!r} ({tags})")
        lines += [
            f"  in {each.namespace!r}: configure {each.configure!r}, write {each.write!r},"
            f" read {each.read!r}"
            for each in account.grants.permissions or ()
        ]
        lines += [
            f"  in {each.namespace!r}: topics of {each.topic!r}: write {each.write!r},"
            f" read {each.read!r}"
            for each in account.grants.subjects
        ]
    for exchange in definitions.topics:
        kind = f"{exchange.kind}, delayed" if exchange.delayed else exchange.kind
        lines.append(f"exchange {exchange.name.name!r} in {exchange.name.namespace!r} ({kind})")
    for queue in definitions.queues:
        arguments = _listed([f"{name}={value}" for name, value in queue.settings.arguments.items()])
        shown = f" ({arguments})" if arguments else ""
        lines.append(f"queue {queue.name.name!r} in {queue.name.namespace!r}{shown}")
    lines += [_binding(binding) for binding in definitions.bindings]
    for policy in definitions.policies:
        effect = _listed([f"{name}={value}" for name, value in policy.definition.items()])
        lines.append(
            f"{'operator policy' if policy.operator else 'policy'} {policy.name!r} in"
            f" {policy.namespace!r}: {policy.pattern!r}, priority {policy.priority}:"
            f" {effect or 'nothing that has an effect here'}"
        )
    return lines


def _binding(binding: BindingDefinition) -> str:
    kind = "queue" if isinstance(binding.target, QueueName) else "exchange"
    key = dotted_from_subject(binding.pattern)
    arguments = f", {binding.arguments}" if binding.arguments else ""
    return (
        f"binding in {binding.source.namespace!r}: {binding.source.name!r} ->"
        f" {kind} {binding.target.name!r} ({key!r}{arguments})"
    )


def _listed(words: list[str]) -> str:
    return ", ".join(words)
