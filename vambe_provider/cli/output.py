"""What the commands print: aligned text for people, JSON and YAML for machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_GAP = "  "
NARROWEST = 10
"""Characters that a column keeps when a table has to fit into a terminal."""


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=machine) + "\n")


def print_yaml(value: object) -> None:
    """Print a value as YAML."""
    import yaml

    plain = json.loads(json.dumps(value, default=machine))
    sys.stdout.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def print_value(value: object, form: str) -> None:
    """Print a value for machines.

    :param form: ``json`` or ``yaml``.
    """
    (print_yaml if form == "yaml" else print_json)(value)


def print_line(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, no wider than the terminal; into a pipe or a file nothing is cut."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_line(table(headers, rows, width=width))


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one field a line."""
    longest = max(map(len, fields))
    for name, value in fields.items():
        print_line(f"{name:<{longest}}{_GAP}{human(value)}".rstrip())


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None) -> str:
    """Return an aligned table; numbers stand at the right.

    :param width: the widest line; None for no limit.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[human(value) for value in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in (headers, *cells)) for column in range(len(headers))]
    made = Table(box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False, show_edge=False, header_style="")
    for column, header in enumerate(headers):
        numeric = bool(rows) and all(isinstance(row[column], int) for row in rows)
        made.add_column(
            Text(header),
            justify="right" if numeric else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=min(widths[column], NARROWEST),
        )
    for row in cells:
        made.add_row(*map(Text, row))
    widest = sum(widths) + len(_GAP) * len(widths)
    console = Console(width=widest if width is None else min(width, widest), color_system=None, force_terminal=False)
    with console.capture() as shown:
        console.print(made)
    return "\n".join(line.rstrip() for line in shown.get().splitlines())


def human(value: object) -> str:
    """Return a value as a person reads it: one line, without anything that could steer a terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return "".join(char if char.isprintable() else " " for char in str(value))


def machine(value: object) -> Any:
    """Return a value as JSON and CSV hold it: times as ISO 8601 in UTC."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    return value
