"""Read the rows of a batch ahead, in a thread of its own: a chunk at a time, keyed at once, prepared when wanted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Unsendable, Work
    from vambe_provider.delivery.rows.prepare import Preparer

T = TypeVar("T")

CHUNK = 2000
"""Rows that are read, and looked up in the ledger, at once."""

Values = Sequence[object]


class Rows(Protocol):
    """An open result: the names of its columns, and its rows in their order, to be read once."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    @property
    def values(self) -> Iterator[Values]:
        """The rows, each in the order of the columns."""
        ...


OpenRows = Callable[[], AbstractContextManager[Rows]]


@dataclass(slots=True)
class Keyed:
    """A row with its key's digest, not prepared yet.

    :param number: which row of the source it is, from 1 on.
    :param digest: of its key; None when it has no usable key, which preparing it explains.
    :param values: in the order of the columns.
    :param known: the ledger knows something of its ticket, which only a request decides about.
    """

    number: int
    digest: str | None
    values: Values = field(repr=False)
    known: bool = False


class Source:
    """The source of a batch.

    Everything touches the database in one and the same thread, because the cursors of many databases want that.

    :param rows: opens the source, which is read once.
    :param prepare: makes keys and requests of rows.
    """

    def __init__(self, rows: OpenRows, prepare: Preparer) -> None:
        self.exhausted = False
        self.any_rows = False
        self._open, self._prepare = rows, prepare
        self._stack = ExitStack()
        self._values: Iterator[Values] | None = None
        self._count = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vambe-source")

    async def next_chunk(self) -> list[Keyed]:
        """Return the next rows of this run's share, with their keys."""
        return await self._in_thread(self._next_chunk)

    async def prepare(self, rows: Sequence[Keyed]) -> list[Work | Unsendable]:
        """Return the requests of some rows, or why they cannot be sent."""
        return await self._in_thread(lambda: [self._prepare(row.values, number=row.number) for row in rows])

    async def close(self) -> None:
        """End the source, also when it was not read to its end."""
        await self._in_thread(self._stack.close)
        self._thread.shutdown(wait=False)

    def _next_chunk(self) -> list[Keyed]:
        values = self._next_values()
        first, self._count = self._count + 1, self._count + len(values)
        self.any_rows = self.any_rows or bool(values)
        if len(values) < CHUNK:
            self.exhausted = True
            self._stack.close()  # the source's transaction must not outlive its reading
        digests = self._prepare.digests(values)
        mine = self._prepare.is_mine
        return [
            Keyed(number, digest, row)
            for number, digest, row in zip(itertools.count(first), digests, values, strict=False)
            if digest is None or mine is None or mine(digest)
        ]

    def _next_values(self) -> list[Values]:
        if self._values is not None:
            return list(itertools.islice(self._values, CHUNK))
        rows = self._stack.enter_context(self._open())
        self._values = rows.values
        if rows.columns:
            self._prepare.bind(rows.columns)
        values = list(itertools.islice(self._values, CHUNK))
        if values and not rows.columns:  # a list without rows has no columns, and one with rows has to have some
            self._prepare.bind(())
        return values

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


class ListedRows:
    """Rows that are in memory already, as dicts; a column that a row lacks is null in it.

    :param rows: the dicts.
    """

    def __init__(self, rows: Sequence[Mapping[str, object]]) -> None:
        self.columns = tuple(dict.fromkeys(str(name) for row in rows for name in row))
        self._rows = rows

    @property
    def values(self) -> Iterator[Values]:
        """The rows in the order of the columns."""
        return (tuple(row.get(name) for name in self.columns) for row in self._rows)
