"""The program `landbridge`: one module for each group of commands, loaded when it is used."""

from bridge.cli.main import main

__all__ = ["main"]
