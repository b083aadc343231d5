"""Rows that a task was handed, as they come out of an XCom or of a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vambe_provider.api.texts import literal
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.delivery.batch.source import Rows


class HandedRows:
    """A list of dicts as a source; a column that a row lacks is null in it.

    :param rows: the list, or its JSON text or Python literal, which is what a template makes of it.
    :raises VambeConfigError: when it is no list of dicts.
    """

    def __init__(self, rows: object) -> None:
        self._rows = _listed(_parsed(rows) if isinstance(rows, str) else rows)

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """Hand out the rows."""
        from vambe_provider.delivery.batch.source import ListedRows

        yield ListedRows(self._rows)

    def total(self) -> int:
        """Return how many rows there are."""
        return len(self._rows)


def _listed(rows: object) -> list[Mapping[str, Any]]:
    if not hasattr(rows, "__iter__") or isinstance(rows, Mapping):
        raise VambeConfigError(f"rows: a list of dicts is needed, not {type(rows).__name__}")
    listed = list(rows)
    for number, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise VambeConfigError(f"rows: item {number} is a {type(row).__name__}, not a dict")
    return listed


def _parsed(text: str) -> object:
    parsed = literal(text)
    if isinstance(parsed, str):
        raise VambeConfigError(
            "rows: this text is not a list of dicts",
            fix="Hand the output of the task over as it is, as rows=query.output, and not through a text template.",
        )
    return parsed
