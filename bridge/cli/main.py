"""The command line: what there is to say, and which function does it.

Exit codes: 0 done, 1 refused with a reason, 2 the command line itself is wrong. A mistake of the
user never shows a traceback.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from bridge.config import ConfigInvalid, Loaded, Sources, load
from bridge.protocols import PROTOCOLS
from bridge.stored import stored_names

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = make_parser()
    chosen = parser.parse_args(arguments)
    command: Command | None = chosen.command
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        code = command(chosen)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ConfigInvalid as invalid:
        for mistake in invalid.mistakes:
            print(mistake, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has left; there is nobody to tell.
        _discard_output()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        print("landbridge: no space is left for the output", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _discard_output() -> None:
    """Let what is still buffered go nowhere at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="landbridge",
        description="A broker that legacy applications connect to unchanged, and whose queues and"
        " topics are SQS queues and SNS topics.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"landbridge {version('landbridge')}"
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    serve = commands.add_parser("serve", help="start the broker", allow_abbrev=False)
    _add_config_options(serve)
    serve.set_defaults(command=_serve)
    check = commands.add_parser("check", help="check the configuration", allow_abbrev=False)
    _add_config_options(check)
    check.set_defaults(command=_check)
    plan = commands.add_parser(
        "plan",
        help="print what the aws backend would make, and the IAM policy for it",
        allow_abbrev=False,
    )
    plan.add_argument("--policy", action="store_true", help="print the policy alone, as JSON")
    _add_config_options(plan)
    plan.set_defaults(command=_plan)
    _add_explain(commands)
    _add_config(commands)
    _add_user(commands)
    _add_import(commands)
    losses = commands.add_parser(
        "losses", help="print docs/losses.md: what each backend keeps of each protocol"
    )
    losses.set_defaults(command=_losses)
    return parser


def load_config(chosen: argparse.Namespace) -> Loaded:
    """The configuration that the command line and the environment ask for."""
    return load(sources_of(chosen))


def sources_of(chosen: argparse.Namespace) -> Sources:
    """Where that configuration comes from, for reading it again."""
    return Sources(
        file=chosen.config or chosen.file_alone,
        overrides=tuple(chosen.set),
        port_offset=chosen.port_offset,
        environment=dict(os.environ),
        protocols=PROTOCOLS,
        stored=stored_names,
    )


def _add_config_options(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """`positional`: the file may also be given without `-c`, as nothing else is."""
    files = parser.add_mutually_exclusive_group()
    parser.set_defaults(file_alone=None)
    if positional:
        files.add_argument(
            "file_alone", nargs="?", type=Path, metavar="FILE", help="the same as -c FILE"
        )
    files.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration; by default $LANDBRIDGE_CONFIG, ./landbridge.yaml,"
        " /etc/landbridge/landbridge.yaml, or none",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override one option, as in listeners.stomp.port=7000; may be repeated",
    )
    parser.add_argument(
        "--port-offset", type=int, default=0, metavar="N", help="add N to every port"
    )


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain", help="show where a message would go", allow_abbrev=False
    )
    explain.add_argument(
        "source", metavar="SOURCE", help="as in a route's from: stomp:/queue/orders"
    )
    explain.add_argument(
        "--attribute",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an attribute of the message; may be repeated",
    )
    explain.add_argument("--body", default="", metavar="TEXT", help="the message's body")
    explain.add_argument("--user", metavar="NAME", help="who publishes it; is that permitted?")
    explain.add_argument("--client-id", metavar="ID", help="the client that publishes it")
    _add_config_options(explain, positional=False)
    explain.set_defaults(command=_explain)


def _add_config(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    config = commands.add_parser(
        "config", help="print the configuration in effect", allow_abbrev=False
    )
    what = config.add_mutually_exclusive_group()
    what.add_argument("--schema", action="store_true", help="print a JSON schema of the file")
    what.add_argument("--reference", action="store_true", help="print docs/configuration.md")
    what.add_argument(
        "--show-secrets", action="store_true", help="print password hashes and secret keys too"
    )
    _add_config_options(config)
    config.set_defaults(command=_config)


def _add_user(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    user = commands.add_parser("user", help="users and their passwords", allow_abbrev=False)
    actions = user.add_subparsers(required=True, metavar="ACTION")
    hashing = actions.add_parser(
        "hash",
        help="read a password (asked for, or a line of standard input) and print its hash",
        allow_abbrev=False,
    )
    hashing.add_argument("--name", help="print the user's lines for the configuration instead")
    hashing.set_defaults(command=_user_hash)


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    importing = commands.add_parser(
        "import", help="take over what another broker has", allow_abbrev=False
    )
    brokers = importing.add_subparsers(required=True, metavar="BROKER")
    rabbitmq = brokers.add_parser(
        "rabbitmq",
        help="exported definitions: queues, exchanges, bindings, users, permissions, policies",
        allow_abbrev=False,
    )
    rabbitmq.add_argument(
        "file",
        type=Path,
        metavar="DEFINITIONS",
        help="what `rabbitmqctl export_definitions FILE` or the management page has written",
    )
    rabbitmq.add_argument(
        "--plan", action="store_true", help="only print what would be made, and what is lost"
    )
    rabbitmq.add_argument(
        "--vhost",
        metavar="NAME",
        help="the namespace for an export of one virtual host that does not name it",
    )
    _add_config_options(rabbitmq, positional=False)
    rabbitmq.set_defaults(command=_import_rabbitmq)


def _losses(_: argparse.Namespace) -> int:
    from bridge.cli.show import print_losses

    return print_losses()


def _serve(chosen: argparse.Namespace) -> int:
    from bridge.cli.serve import serve

    return serve(sources_of(chosen))


def _plan(chosen: argparse.Namespace) -> int:
    from bridge.cli.plan import plan

    return plan(load_config(chosen), policy_only=chosen.policy)


def _check(chosen: argparse.Namespace) -> int:
    from bridge.cli.show import check

    return check(load_config(chosen))


def _explain(chosen: argparse.Namespace) -> int:
    from bridge.cli.explain import explain

    return explain(load_config(chosen), chosen)


def _import_rabbitmq(chosen: argparse.Namespace) -> int:
    from bridge.cli.rabbitmq import import_rabbitmq

    loaded = load_config(chosen)
    return import_rabbitmq(loaded, chosen.file, plan=chosen.plan, vhost=chosen.vhost)


def _config(chosen: argparse.Namespace) -> int:
    from bridge.cli.show import print_config, print_reference, print_schema

    if chosen.schema:
        return print_schema()
    if chosen.reference:
        return print_reference()
    return print_config(load_config(chosen), secrets=chosen.show_secrets)


def _user_hash(chosen: argparse.Namespace) -> int:
    from bridge.cli.user import print_user

    return print_user(chosen.name)
