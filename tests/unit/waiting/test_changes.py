from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vambe_provider.api import AsyncVambeClient, ConnectionSettings, Contact
from vambe_provider.waiting.changes import OVERLAP, Cursor, changed_since

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

NOW = 1_780_000_000.0


def row(name: str, at: float) -> Contact:
    return Contact(id=name, updated_at=datetime.fromtimestamp(at, UTC).isoformat())


class TestCursor:
    def test_a_change_is_news_once(self) -> None:
        cursor = Cursor(NOW)
        assert [item.id for item in cursor.news([row("b", NOW + 2), row("a", NOW + 1)])] == ["a", "b"]
        assert cursor.news([row("a", NOW + 1), row("b", NOW + 2)]) == []
        assert [item.id for item in cursor.news([row("a", NOW + 3)])] == ["a"]

    def test_a_change_that_shows_up_late_is_still_news(self) -> None:
        cursor = Cursor(NOW)
        cursor.news([row("a", NOW + 20)])
        assert [item.id for item in cursor.news([row("b", NOW + 10), row("c", NOW + 20)])] == ["b", "c"]

    def test_it_remembers_no_more_than_the_overlap(self) -> None:
        cursor = Cursor(NOW)
        for second in range(1, 1000):
            cursor.news([row(f"c-{second}", NOW + second)])
        assert len(cursor.seen) <= OVERLAP
        assert cursor.news([row("c-5", NOW + 5)]) == []

    def test_a_burst_does_not_make_it_grow(self) -> None:
        cursor = Cursor(NOW)
        rows = [row(f"c-{number}", NOW + 1 + number / 1000) for number in range(5000)]
        assert len(cursor.news(rows)) == 5000
        assert len(cursor.seen) <= 400
        assert cursor.news(rows) == []

    def test_it_survives_being_written_and_read(self) -> None:
        cursor = Cursor(NOW)
        cursor.news([row("a", NOW + 1)])
        again = Cursor.from_json(cursor.to_json())
        assert again == cursor
        assert Cursor.from_json(None) is None
        assert Cursor.from_json({"floor": "x"}) is None


async def test_no_contact_is_skipped_when_one_changes_between_two_pages(vambe_sandbox: Sandbox) -> None:
    start, ids = time.time() - 1, []
    for number in range(30):
        vambe_sandbox.configure(clock_skew_seconds=number / 10)
        ids.append(vambe_sandbox.seed_contact(f"+5696111{number:04d}"))
    async with AsyncVambeClient(_settings(vambe_sandbox)) as client:
        found = []
        async for contact in changed_since(client, start, page=7):
            found.append(contact.id)
            if len(found) in (7, 14):
                # It moves from the front of the list to its end.
                vambe_sandbox.customer_replies(ids[len(found) // 7], "Hola")
    assert set(found) == set(ids)


async def test_many_changes_at_one_moment_are_all_listed(vambe_sandbox: Sandbox) -> None:
    start = time.time() - 1
    ids = {vambe_sandbox.seed_contact(f"+5696111{number:04d}") for number in range(200)}
    async with AsyncVambeClient(_settings(vambe_sandbox)) as client:
        assert {contact.id async for contact in changed_since(client, start, page=3)} == ids


def _settings(sandbox: Sandbox) -> ConnectionSettings:
    return ConnectionSettings.from_fields(host=sandbox.url, password=sandbox.api_key)
