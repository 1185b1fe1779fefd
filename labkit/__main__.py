"""The command line's door: ``python -m labkit COMMAND``, also ``labkit``. Each command is a module of ``commands/``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from labkit import progress
from labkit.errors import LabkitError, naming_extras


class Command(Protocol):
    """What a module of ``commands/`` has. It loads what is large when it runs: ``labkit --help`` loads them all."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit status."""


COMMANDS = ("lab", "notebooks", "serve", "measure", "probe", "tap", "vectors", "verdicts", "techniques", "soak")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parser([name for name in COMMANDS if name in words[:1]] or COMMANDS).parse_args(words)
        progress.write_any_character()
        with naming_extras():
            status: int = arguments.run(arguments)
            progress.flush()
    except (LabkitError, ValueError) as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        progress.go_unheard()
        return progress.UNHEARD
    return status


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """Of these commands, each of which is loaded: an interrupt meanwhile ends as any other."""
    parser = argparse.ArgumentParser(prog="labkit", description="A Jupyter-native lab kit for server push.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        command = cast(Command, importlib.import_module(f"labkit.commands.{name}"))
        below = commands.add_parser(
            name, help=command.HELP, description=f"{command.HELP[0].upper()}{command.HELP[1:]}."
        )
        command.add_arguments(below)
        below.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
