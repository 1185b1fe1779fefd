"""The command line's door: ``python -m labkit COMMAND``, also ``labkit``. Each command is a module of ``commands/``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol

from labkit.commands import lab, measure, notebooks, serve, soak, techniques, verdicts
from labkit.errors import LabkitError


class Command(Protocol):
    """What a module of ``commands/`` has. It loads what is large when it runs: ``labkit --help`` loads them all."""

    __name__: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit status."""


COMMANDS: tuple[Command, ...] = (lab, notebooks, serve, measure, verdicts, techniques, soak)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except (LabkitError, ValueError) as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labkit", description="A Jupyter-native lab kit for server push.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        below = commands.add_parser(
            name, help=command.HELP, description=f"{command.HELP[0].upper()}{command.HELP[1:]}."
        )
        command.add_arguments(below)
        below.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
