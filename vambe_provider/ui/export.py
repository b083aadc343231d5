"""Tickets as CSV, with the columns of ``ledger export`` and as harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from vambe_provider.cli.export import cell
from vambe_provider.cli.ledger import FIELDS, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vambe_provider.delivery.ledger.entry import Entry


def lines(pages: Iterable[list[Entry]]) -> Iterator[str]:
    """Yield the file in pieces, one for each page; the first begins with the header."""
    header: list[tuple[object, ...]] = [FIELDS]
    for page in pages:
        yield _written([*header, *(tuple(map(cell, fields_of(ticket).values())) for ticket in page)])
        header = []


def _written(rows: Iterable[tuple[object, ...]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
