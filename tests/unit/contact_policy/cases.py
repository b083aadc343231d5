"""The table of numbers, as data."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parent / "data" / "number-cases.tsv"


class Case(NamedTuple):
    """One row of the table: what a warehouse holds, and what it means."""

    line: int
    value: object
    region: str | None
    safe: str
    none: str


def cases() -> Iterator[Case]:
    """Read the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 2):
            names = {"Decimal": Decimal, "float": float}
            # A file of this project, with constructors of numbers only.
            value = eval(row["input"], {"__builtins__": {}}, names)
            assert type(value).__name__ == row["type"], line
            yield Case(line, value, row["default_region"] or None, row["expected"], row["expected_repair_none"])


def digits_of(text: str) -> str:
    """Return the decimal digits of a text."""
    return "".join(char for char in text if unicodedata.category(char) == "Nd")
