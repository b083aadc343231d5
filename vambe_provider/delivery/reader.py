"""Read and prepare the rows of a batch in a thread of its own, a chunk at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from vambe_provider.delivery.model import Unsendable, Work

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Row

CHUNK = 500


class Reader:
    """The source of a batch.

    Everything touches the source in one and the same thread, because the cursors of many databases want that.

    :param rows: the source, read once.
    :param prepare: from a row to work, to the reason why it cannot be sent, or to None when it is not this run's.
    :param chunk: rows that are read at once at most.
    """

    def __init__(
        self, rows: Iterable[Row], prepare: Callable[[Row], Work | Unsendable | None], *, chunk: int = CHUNK
    ) -> None:
        self.chunk = chunk
        self.exhausted = False
        self._rows, self._prepare = rows, prepare
        self._iterator: Iterator[Row] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vambe-source")

    async def next_chunk(self, size: int | None = None) -> tuple[list[Work], list[Unsendable], int]:
        """Return the next rows, ready or refused, and how many of them are this run's.

        :param size: rows that are read; default a whole chunk.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._next_chunk, size or self.chunk)

    async def close(self) -> None:
        """End the source, also when it was not read to its end."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _next_chunk(self, size: int) -> tuple[list[Work], list[Unsendable], int]:
        if self._iterator is None:
            self._iterator = iter(self._rows)
        works: list[Work] = []
        unsendable: list[Unsendable] = []
        rows = list(itertools.islice(self._iterator, size))
        self.exhausted = len(rows) < size
        for row in rows:
            item = self._prepare(row)
            if isinstance(item, Work):
                works.append(item)
            elif item is not None:
                unsendable.append(item)
        return works, unsendable, len(works) + len(unsendable)

    def _close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
