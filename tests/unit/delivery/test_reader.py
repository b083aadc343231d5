from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.delivery import preparer, row, rows
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.reader import Reader

PREPARE = preparer(ConnectionSettings(api_key="k", phone_id="p"), lambda name: "stage")


async def test_it_reads_a_chunk_at_a_time() -> None:
    read: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for data in rows(5):
            read.append(data["id"])
            yield data

    reader = Reader(source(), PREPARE, chunk=2)
    works, unsendable, count = await reader.next_chunk()
    assert ([work.key.text for work in works], unsendable, count, read) == (["id=1", "id=2"], [], 2, [1, 2])
    await reader.next_chunk()
    assert not reader.exhausted
    assert (await reader.next_chunk())[2] == 1
    assert reader.exhausted
    await reader.close()


async def test_rows_of_other_shards_are_not_counted() -> None:
    reader = Reader(rows(6), lambda data: PREPARE(data) if data["id"] in (1, 2) else None)
    works, unsendable, count = await reader.next_chunk()
    assert (len(works), len(unsendable), count) == (2, 0, 2)
    await reader.close()


async def test_rows_that_cannot_be_sent() -> None:
    reader = Reader([row(1, phone="x"), row(2)], PREPARE)
    works, unsendable, count = await reader.next_chunk()
    assert (len(works), len(unsendable), count) == (1, 1, 2)
    await reader.close()


async def test_everything_happens_in_one_thread_and_the_source_is_closed() -> None:
    """The cursors of many databases belong to the thread that opened them."""
    seen: set[int] = set()
    closed: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        try:
            for data in rows(10):
                seen.add(threading.get_ident())
                yield data
        finally:
            closed.append(threading.get_ident())

    reader = Reader(source(), PREPARE, chunk=3)
    await reader.next_chunk()
    await reader.next_chunk()
    await reader.close()
    assert closed == list(seen)
    assert threading.get_ident() not in seen


async def test_a_source_that_fails() -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield row(1)
        raise LookupError("the warehouse is gone")

    reader = Reader(source(), PREPARE)
    with pytest.raises(LookupError):
        await reader.next_chunk()
    await reader.close()


async def test_closing_what_was_never_read() -> None:
    await Reader([], PREPARE).close()
