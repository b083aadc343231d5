from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import opened, preparer, row, rows
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.batch import source as module
from vambe_provider.delivery.batch.source import Source
from vambe_provider.delivery.model import Unsendable, Work

if TYPE_CHECKING:
    from vambe_provider.delivery.rows.prepare import Preparer


def _preparer(**more: Any) -> Preparer:
    return preparer(ConnectionSettings(api_key="k", phone_id="p"), lambda name: "stage", **more)


def _source(data: Any, **more: Any) -> Source:
    return Source(opened(data), _preparer(**more))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)


async def test_it_reads_a_chunk_at_a_time() -> None:
    read: list[int] = []

    def data() -> Iterator[dict[str, Any]]:
        for item in rows(5):
            read.append(item["id"])
            yield item

    source = _source(data())
    chunk = await source.next_chunk()
    assert [(keyed.number, keyed.values[0]) for keyed in chunk] == [(1, 1), (2, 2)]
    assert read == [1, 2]
    await source.next_chunk()
    assert not source.exhausted
    assert [keyed.number for keyed in await source.next_chunk()] == [5]
    assert source.exhausted
    await source.close()


async def test_rows_of_other_shards_are_left_out() -> None:
    numbers = []
    for index in range(3):
        source = _source(rows(6), shard=(index, 3))
        while not source.exhausted:
            numbers += [keyed.number for keyed in await source.next_chunk()]
        assert source.any_rows
        await source.close()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


async def test_a_row_that_cannot_be_sent_says_which_it_is() -> None:
    source = _source([row(1), row(2, phone="x")])
    good, bad = await source.prepare(await source.next_chunk())
    assert isinstance(good, Work)
    assert isinstance(bad, Unsendable)
    assert (good.number, bad.number) == (1, 2)
    await source.close()


async def test_a_row_without_a_key_has_no_digest_and_is_refused() -> None:
    source = _source([row(1, id=None)])
    [keyed] = await source.next_chunk()
    assert keyed.digest is None
    [made] = await source.prepare([keyed])
    assert isinstance(made, Unsendable)
    assert "key column id: is null" in str(made.error)
    await source.close()


async def test_everything_happens_in_one_thread_and_the_source_is_closed() -> None:
    """The cursors of many databases belong to the thread that opened them."""
    seen: set[int] = set()
    closed: list[int] = []

    def data() -> Iterator[dict[str, Any]]:
        try:
            for item in rows(10):
                seen.add(threading.get_ident())
                yield item
        finally:
            closed.append(threading.get_ident())

    source = _source(data())
    await source.next_chunk()
    await source.next_chunk()
    await source.close()
    assert len(seen) == 1
    assert threading.get_ident() not in seen


async def test_the_source_is_closed_as_soon_as_it_is_read() -> None:
    """A transaction over the warehouse must not stay open while its tickets are paced for hours."""
    from contextlib import contextmanager

    from vambe_provider.delivery.batch.source import ListedRows, Rows

    closed = threading.Event()

    @contextmanager
    def open_rows() -> Iterator[Rows]:
        try:
            yield ListedRows([row(1)])
        finally:
            closed.set()

    source = Source(open_rows, _preparer())
    await source.next_chunk()
    assert closed.is_set()
    await source.close()


async def test_a_source_that_fails() -> None:
    def data() -> Iterator[dict[str, Any]]:
        yield row(1)
        raise LookupError("the warehouse is gone")

    source = _source(data())
    with pytest.raises(LookupError):
        await source.next_chunk()
    await source.close()


async def test_closing_what_was_never_read() -> None:
    await _source([]).close()
