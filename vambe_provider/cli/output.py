"""What the commands print: aligned text for people, JSON for machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

NARROWEST = 10
"""Characters that a column keeps when a table has to fit into a terminal."""
_GAP = "  "


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=machine) + "\n")


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
    cells = [list(headers), *([human(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    if width is not None:
        widths = fitted(widths, width - len(_GAP) * (len(widths) - 1))
    numeric = [bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(headers))]
    return "\n".join(_line(row, widths, numeric) for row in cells)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return column widths that fit, taken from the widest columns first, as far as they stay readable."""
    result = list(widths)
    while sum(result) > room and max(result) > NARROWEST:
        result[result.index(max(result))] -= 1
    return result


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


def _line(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = []
    for text, width, right in zip(row, widths, numeric, strict=True):
        cut = text if len(text) <= width else f"{text[: width - 1]}…"
        cells.append(cut.rjust(width) if right else cut.ljust(width))
    return _GAP.join(cells).rstrip()
