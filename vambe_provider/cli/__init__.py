"""The command line: ``python -m vambe_provider``, and ``airflow vambe`` where Airflow has provider commands (3.2+)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vambe_provider.cli.tree import ROOT, Command, Group

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

_PROGRAM = "python -m vambe_provider"
_EXIT_CODES = "exit codes: 0 done, 1 nothing found or a check failed, 2 the command or its connection is wrong"


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    :param arguments: the command line without the program's name; None for the process's own.
    :return: the exit code: 0 when it is done, 1 when nothing was found or a check failed, 2 when the command or the
        connection that it names is wrong.
    """
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=ROOT.description,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add(parser, ROOT)
    options = parser.parse_args(arguments)
    return _run(options.command, options)


def airflow_commands() -> list[CLICommand]:
    """Return the same commands as Airflow's command line takes them; Airflow finds this through provider info."""
    return [_for_airflow(ROOT)]


def _run(command: Command, options: argparse.Namespace) -> int:
    from vambe_provider.cli.run import run

    return run(command.action, options)


def _add(parser: argparse.ArgumentParser, group: Group) -> None:
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    for item in group.commands:
        child = below.add_parser(
            item.name,
            help=item.help,
            description=item.description,
            epilog=_epilog(item, _PROGRAM),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if isinstance(item, Group):
            _add(child, item)
            continue
        for argument in item.arguments:
            child.add_argument(*argument.flags, **argument.options)
        child.set_defaults(command=item)


def _for_airflow(item: Command | Group) -> Any:
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    epilog = _epilog(item, "airflow vambe")
    if isinstance(item, Group):
        below = [_for_airflow(child) for child in item.commands]
        return GroupCommand(item.name, item.help, below, description=item.description, epilog=epilog)
    argument: Callable[..., Any] = Arg
    arguments = [argument(each.flags, **each.options) for each in item.arguments]
    return ActionCommand(item.name, item.help, _exiting(item), arguments, description=item.description, epilog=epilog)


def _exiting(command: Command) -> Callable[[argparse.Namespace], None]:
    """Return the command as Airflow calls it, which drops what a function returns."""

    def act(options: argparse.Namespace) -> None:
        sys.exit(_run(command, options))

    return act


def _epilog(item: Command | Group, program: str) -> str:
    if isinstance(item, Group) or not item.examples:
        return _EXIT_CODES
    lines = "\n".join(f"  {program} {example}" for example in item.examples)
    return f"examples:\n{lines}\n\n{_EXIT_CODES}"
