from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import AsyncVambeClient, ConnectionSettings
from vambe_provider.api.retry import Retries
from vambe_provider.exceptions import VambeReadError
from vambe_provider.waiting import changes
from vambe_provider.waiting.changes import OVERLAP, ContactList, Cursor, Place, Row

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

NOW = 1_780_000_000.0


def row(name: str, at: float, **fields: Any) -> Row:
    found = Row.read({"id": name, "updated_at": datetime.fromtimestamp(at, UTC).isoformat(), **fields})
    assert found is not None
    return found


def names(rows: list[Row]) -> list[str]:
    return [item.id for item in rows]


class TestPlace:
    """It moves on only when what is late has had the time to show up."""

    def test_it_stays_until_the_overlap_is_over_and_another_look_found_nothing_more(self) -> None:
        place = Place(NOW)
        place.end(began=100.0, newest=NOW + 50)
        assert place.begin() == NOW
        place.end(began=100.0 + OVERLAP - 1, newest=NOW + 60)
        assert place.begin() == NOW
        place.end(began=100.0 + OVERLAP, newest=None)
        assert place.begin() == NOW + 50

    def test_it_gets_to_the_newest_change_so_that_a_quiet_list_is_short(self) -> None:
        place = Place(NOW)
        for second in range(0, 90, 5):
            place.end(began=100.0 + second, newest=NOW + 7 if second < 30 else None)
        assert place.begin() == NOW + 7

    def test_it_goes_back_for_one_who_joins_also_while_a_look_is_under_way(self) -> None:
        place = Place(NOW)
        place.end(began=100.0, newest=NOW + 50)
        place.begin()
        place.back_to(NOW + 20)
        place.end(began=100.0 + OVERLAP, newest=NOW + 60)
        assert place.begin() <= NOW + 20
        place.end(began=105.0 + OVERLAP, newest=None)
        assert place.begin() == NOW + 50


class TestCursor:
    def test_a_change_is_news_once(self) -> None:
        cursor = Cursor(NOW)
        assert names(cursor.news([row("b", NOW + 2), row("a", NOW + 1)])) == ["a", "b"]
        assert cursor.news([row("A", NOW + 1), row("b", NOW + 2)]) == []
        assert names(cursor.news([row("a", NOW + 3)])) == ["a"]

    def test_another_state_at_the_same_time_is_news_too(self) -> None:
        cursor = Cursor(NOW)
        cursor.news([row("a", NOW + 1, chat_status="UNATTENDED")])
        moved = row("a", NOW + 1, chat_status="UNATTENDED", active_ticket_v2={"id": "t", "current_stage_id": "s"})
        assert cursor.news([moved]) == [moved]
        assert cursor.news([moved]) == []

    def test_one_that_shows_up_late_in_a_great_burst_is_still_news(self) -> None:
        cursor = Cursor(NOW)
        burst = [row(f"c-{number}", NOW + 1 + number / 120) for number in range(1200)]
        assert len(cursor.news(burst)) == 1200
        cursor.end(began=100.0, newest=burst[-1].at)
        assert names(cursor.news([*burst, row("late", NOW + 3)])) == ["late"]

    def test_it_forgets_what_its_place_has_passed(self) -> None:
        cursor = Cursor(NOW)
        for second in range(1, 400):
            cursor.news([row(f"c-{second}", NOW + second)])
            cursor.end(began=100.0 + second, newest=NOW + second)
        assert len(json.dumps(cursor.to_json())) < 60 * OVERLAP
        assert cursor.news([row("c-5", NOW + 5)]) == []

    def test_it_survives_being_written_and_read(self) -> None:
        cursor = Cursor(NOW)
        cursor.news([row("a", NOW + 1), row("b", NOW + 2)])
        again = Cursor.from_json(json.loads(json.dumps(cursor.to_json())))
        assert again is not None
        assert names(again.news([row("a", NOW + 1), row("late", NOW + 1.5), row("b", NOW + 2)])) == ["late"]

    def test_what_is_stored_fits_into_a_column_and_loses_nothing(self) -> None:
        cursor = Cursor(NOW)
        burst = [row(f"c-{number}", NOW + 1 + number / 1000) for number in range(12_000)]
        cursor.news(burst)
        stored = json.dumps(cursor.to_json())
        assert len(stored) < 60_000
        again = Cursor.from_json(json.loads(stored))
        assert again is not None
        seen_again = {f"c-{number}" for number in range(4000)}
        assert set(names(again.news([*burst, row("new", NOW + 2)]))) == {"new"} | seen_again

    @pytest.mark.parametrize("value", [None, {}, {"at": "x"}, [1], {"at": 1, "until": 2, "seen": "%"}, "text"])
    def test_what_is_not_a_cursor_is_none(self, value: Any) -> None:
        assert Cursor.from_json(value) is None


@pytest.fixture
async def client(vambe_sandbox: Sandbox) -> AsyncIterator[AsyncVambeClient]:
    settings = ConnectionSettings.from_fields(host=vambe_sandbox.url, password=vambe_sandbox.api_key)
    async with AsyncVambeClient(settings, retries=Retries(attempts=1)) as opened:
        yield opened


def requests(sandbox: Sandbox) -> int:
    return len(sandbox.requests("list_contacts"))


class TestWhatTheListCosts:
    """A round has to stay cheap: it comes every few seconds for as long as somebody waits."""

    async def since(self, contacts: ContactList, after: float) -> list[str]:
        return [item.id async for page in contacts.since(after) for item in page]

    async def test_a_quiet_list_is_one_request(self, vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
        vambe_sandbox.seed_contact("+56961111111")
        assert await self.since(ContactList(client), time.time() + 1) == []
        assert requests(vambe_sandbox) == 1

    async def test_a_few_changes_are_one_request(self, vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
        ids = [vambe_sandbox.seed_contact(f"+5696111{number:04d}") for number in range(5)]
        assert await self.since(ContactList(client), time.time() - 60) == ids
        assert requests(vambe_sandbox) == 1

    async def test_a_page_below_what_a_server_has_given_is_the_last(
        self, vambe_sandbox: Sandbox, client: AsyncVambeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = []
        for number in range(70):  # each at a time of its own
            vambe_sandbox.configure(clock_skew_seconds=number / 100)
            ids.append(vambe_sandbox.seed_contact(f"+5696111{number:04d}"))
        monkeypatch.setattr(changes, "PAGE", 30)
        assert sorted(await self.since(ContactList(client), time.time() - 60)) == sorted(ids)
        # Each page begins with the last row of the one before.
        assert requests(vambe_sandbox) == 3


async def test_a_gateway_that_answers_every_page_with_nonsense_is_a_failed_look(
    vambe_sandbox: Sandbox, client: AsyncVambeClient
) -> None:
    contacts = ContactList(client)
    fault = vambe_sandbox.fault("list_contacts", kind="malformed", times="forever")
    with pytest.raises(VambeReadError):
        [page async for page in contacts.since(time.time())]
    assert fault.hits < 20
    vambe_sandbox.clear_faults()
    vambe_sandbox.seed_contact("+56961111111")
    assert [len(page) async for page in contacts.since(time.time() - 60)] == [1]


async def test_no_contact_is_skipped_when_one_changes_between_two_pages(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE", 12)
    start, ids = time.time() - 1, []
    for number in range(40):
        vambe_sandbox.configure(clock_skew_seconds=number / 10)
        ids.append(vambe_sandbox.seed_contact(f"+5696111{number:04d}"))
    found: list[str] = []
    async for page in ContactList(client).since(start):
        found += names(page)
        # It moves from the front of the list to its end.
        vambe_sandbox.customer_replies(ids[len(found) // 12], "Hola")
    assert set(found) == set(ids)
