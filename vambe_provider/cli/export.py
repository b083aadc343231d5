"""The command ``ledger export``."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vambe_provider.cli.databases import admin_of
from vambe_provider.cli.ledger import FIELDS, fields_of, selection, tickets
from vambe_provider.cli.output import machine
from vambe_provider.cli.run import DONE, NOTHING, complain
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    import argparse

    from vambe_provider.delivery.ledger.entry import Entry

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(options: argparse.Namespace) -> int:
    """Write tickets as CSV or JSON."""
    write = _write_json if options.format == "json" else _write_csv
    with admin_of(options) as ledger:
        entries = ledger.every(selection(options))
        if options.output is None:
            written = write(sys.stdout, entries)
        else:
            written = _to_file(Path(options.output), write, entries)
            complain(f"{tickets(written)} written to {options.output}.")
    return DONE if written else NOTHING


def cell(value: object) -> object:
    """Return the value of a cell; a text that a spreadsheet would compute is marked as text with an apostrophe."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return machine(value)


def _to_file(path: Path, write: Callable[[IO[str], Iterator[Entry]], int], entries: Iterator[Entry]) -> int:
    try:
        # For nobody else to read, also when the file was there before.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(number, "w", encoding="utf-8", newline="") as file:
            if path.is_file():
                os.fchmod(number, 0o600)
            return write(file, entries)
    except OSError as error:
        raise VambeConfigError(f"--output: cannot write {path}: {error.strerror}") from None


def _write_csv(file: IO[str], entries: Iterator[Entry]) -> int:
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    number = 0
    for entry in entries:
        writer.writerow({name: cell(value) for name, value in fields_of(entry).items()})
        number += 1
    return number


def _write_json(file: IO[str], entries: Iterator[Entry]) -> int:
    number = 0
    for number, entry in enumerate(entries, 1):
        file.write(
            f"{'[' if number == 1 else ','}\n{json.dumps(fields_of(entry), ensure_ascii=False, default=machine)}"
        )
    file.write("\n]\n" if number else "[]\n")
    return number
