"""`landbridge check` and `landbridge config`: what a configuration says, nothing being started."""

from __future__ import annotations

from bridge.cli.plan import usable_aws_options
from bridge.cli.warnings import warnings_of
from bridge.config import Loaded, effective
from bridge.config.reference import effective_yaml, json_schema, reference_page
from bridge.protocols import PROTOCOLS
from mappings.losses import all_losses, render_markdown


def check(loaded: Loaded) -> int:
    """Print what to know about a configuration. Raises `ConfigInvalid` where it needs what is not
    installed.
    """
    if loaded.config.backend.kind == "aws":
        usable_aws_options(loaded)
    where = loaded.file or "no file: the defaults"
    print(f"{where}: can be used")
    for options in loaded.listeners:
        print(f"  {options.name}: {PROTOCOLS[options.protocol].title} on {options.address}")
    for warning in warnings_of(loaded):
        print(f"warning: {warning}")
    return 0


def print_config(loaded: Loaded, *, secrets: bool) -> int:
    """Print the file that is in effect."""
    print(effective_yaml(effective(loaded), secrets=secrets), end="")
    return 0


def print_schema() -> int:
    """Print the JSON schema."""
    print(json_schema())
    return 0


def losses_page() -> str:
    """docs/losses.md."""
    return (
        "# The loss table\n\nWritten by `landbridge losses`. What becomes of each protocol's"
        " features on each backend: kept,\nemulated (how, and up to what bound), or lost (and then"
        " refused in the protocol's words).\nA row that is kept has a test.\n\n"
        + render_markdown(all_losses())
    )


def print_losses() -> int:
    """Print docs/losses.md."""
    print(losses_page(), end="")
    return 0


def print_reference() -> int:
    """Print docs/configuration.md."""
    print(reference_page(PROTOCOLS), end="")
    return 0
