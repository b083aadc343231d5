from __future__ import annotations

from typing import Any

import pytest

from vambe_provider.api.contact_info import read_contact
from vambe_provider.waiting.conditions import (
    Finding,
    Wait,
    hides_messages,
    is_behind,
    is_over,
    judge,
    judge_row,
    moment,
    needs_messages,
)
from vambe_provider.waiting.tickets import LAG, Target

OPENED = "2026-03-01T10:00:00.000Z"
BEFORE = "2026-03-01T09:00:00.000Z"
LATER = "2026-03-01T11:00:00.000Z"
LATEST = "2026-03-01T12:00:00.000Z"


def when(text: str) -> float:
    at = moment(text)
    assert at is not None
    return at


NOW = when("2026-03-01T13:00:00Z")
TARGET = Target("c-1", opened_at=when(OPENED), opened_until=when(OPENED) + 1)


def contact(**fields: Any) -> dict[str, Any]:
    return {"id": "c-1", "chat_status": "UNATTENDED", "active_ticket": {"id": "t-1", "created_at": OPENED}, **fields}


def message(at: str, direction: str = "INBOUND", name: str = "m") -> dict[str, Any]:
    return {"id": f"{name}-{at}", "direction": direction, "created_at": at, "body": "private"}


def look(wait: Wait, info: dict[str, Any], messages: Any = (), *, target: Target = TARGET, now: float = NOW) -> Finding:
    return judge(wait, target, read_contact(info), messages, now=now)


REPLIED, CLOSED = Wait("replied"), Wait("closed")


class TestReplied:
    def test_a_message_of_the_customer_after_the_ticket_counts(self) -> None:
        found = look(REPLIED, contact(), [message(BEFORE), message(LATEST), message(LATER)])
        assert (found.done, found.at, found.message_id) == (True, LATER, f"m-{LATER}")

    @pytest.mark.parametrize(
        "messages",
        [
            [],
            [message(BEFORE)],
            [message(LATER, "OUTBOUND")],
            [message(LATER, "INTERNAL")],
            [message(LATER, "INBOUND_NOTE")],
            [message(LATER, "")],
            [{"direction": "INBOUND"}],
            [{"direction": "INBOUND", "created_at": "soon"}],
        ],
    )
    def test_nothing_else_does(self, messages: list[dict[str, Any]]) -> None:
        assert not look(REPLIED, contact(), messages).done

    def test_a_time_of_the_users_own_wins(self) -> None:
        assert not look(Wait("replied", since=when(LATEST)), contact(), [message(LATER)]).done
        assert look(Wait("replied", since=when(BEFORE)), contact(), [message(BEFORE)]).done

    def test_a_ticket_that_is_used_again_brings_no_message_of_before(self) -> None:
        reused = contact(active_ticket={"id": "t-0", "created_at": "2026-02-01T10:00:00Z"})
        assert not look(REPLIED, reused, [message(BEFORE)]).done
        assert look(REPLIED, reused, [message(BEFORE), message(LATER)]).at == LATER

    @pytest.mark.parametrize("tickets", [{"active_ticket": {"id": "t-1"}}, {"active_ticket": None}])
    def test_without_the_tickets_time_that_of_the_opening_counts(self, tickets: dict[str, Any]) -> None:
        assert look(REPLIED, contact(**tickets), [message(BEFORE), message(LATER)]).at == LATER
        assert not look(REPLIED, contact(**tickets), [message(BEFORE)]).done

    def test_for_a_bare_id_the_start_of_the_run_counts(self) -> None:
        wait = Wait("replied", started=when(OPENED))
        assert not look(wait, contact(active_ticket=None), [message(BEFORE)], target=Target("c-1")).done
        assert look(wait, contact(active_ticket=None), [message(LATER)], target=Target("c-1")).done

    def test_a_later_ticket_of_somebody_else_does_not_hide_the_reply(self) -> None:
        info = contact(
            active_ticket={"id": "t-2", "created_at": LATEST},
            last_closed_ticket={"id": "t-1", "created_at": OPENED, "closed_at": LATER},
        )
        found = look(REPLIED, info, [message(LATER)])
        assert (found.done, found.ticket_id) == (True, "t-1")

    @pytest.mark.parametrize(("last", "needed"), [(None, True), (LATER, True), (BEFORE, False)])
    def test_messages_are_only_read_when_they_can_matter(self, last: str | None, needed: bool) -> None:
        info = read_contact(contact(last_message_at=last))
        assert needs_messages(REPLIED, TARGET, info) is needed
        assert not needs_messages(CLOSED, TARGET, info)

    def test_messages_that_lack_the_last_one_are_behind(self) -> None:
        info = read_contact(contact(last_message_at=LATER))
        assert is_behind(info, [])
        assert is_behind(info, [message(BEFORE)])
        assert not is_behind(info, [message(LATER, "OUTBOUND")])
        assert not is_behind(read_contact(contact()), [])


class TestClosed:
    @pytest.mark.parametrize(
        "tickets",
        [
            {"last_closed_ticket": {"id": "t-1", "closed_at": LATER}},
            {"last_closed_ticket_v2": {"id": "t-1", "closedAt": LATER}},
            {"lastClosedTicket": {"id": "t-1", "closed_at": LATER}},
            {"tickets": [{"id": "t-1", "status": "CLOSED", "closed_at": LATER}]},
        ],
    )
    def test_however_the_ticket_is_named(self, tickets: dict[str, Any]) -> None:
        found = look(CLOSED, contact(active_ticket=None, **tickets))
        assert (found.done, found.at, found.ticket_id) == (True, LATER, "t-1")

    def test_an_active_ticket_is_not_closed_by_an_older_one(self) -> None:
        older = {"id": "t-0", "created_at": BEFORE, "closed_at": BEFORE}
        assert not look(CLOSED, contact(last_closed_ticket=older)).done

    def test_an_older_closed_ticket_alone_is_no_answer(self) -> None:
        older = contact(active_ticket=None, last_closed_ticket={"id": "t-0", "created_at": BEFORE, "closed_at": BEFORE})
        for now in (when(OPENED) + 1, NOW):
            found = look(CLOSED, older, now=now)
            assert (found.done, found.ticket_id) == (False, None)

    def test_the_runs_own_ticket_counts_when_a_new_one_is_open(self) -> None:
        info = contact(
            active_ticket={"id": "t-2", "created_at": LATEST},
            last_closed_ticket={"id": "t-1", "created_at": OPENED, "closed_at": LATEST},
        )
        assert (look(CLOSED, info).done, look(CLOSED, info).ticket_id) == (True, "t-1")

    def test_where_tickets_are_not_shown_the_chat_status_decides_if_it_is_not_of_before(self) -> None:
        hidden = {"id": "c-1", "chat_status": "closed"}
        assert look(CLOSED, hidden).done
        soon = when(OPENED) + 1
        found = look(CLOSED, hidden, now=soon)
        assert (found.done, found.later) == (False, True)
        assert look(CLOSED, {**hidden, "updated_at": "2026-03-01T10:00:01Z"}, now=soon).done
        assert not look(CLOSED, {"id": "c-1", "chat_status": "ATTENDED"}).done


class TestStageAndStatus:
    @pytest.mark.parametrize(
        "ticket",
        [{"current_stage_id": "S-1"}, {"stageId": "s-1"}, {"current_stage": {"id": "s-1"}}, {"stage": {"id": "s-1"}}],
    )
    def test_however_the_stage_is_named(self, ticket: dict[str, Any]) -> None:
        wait = Wait("stage", stages=frozenset({"s-1", "s-2"}))
        assert look(wait, contact(active_ticket=ticket)).done
        assert not look(Wait("stage", stages=frozenset({"s-3"})), contact(active_ticket=ticket)).done

    def test_the_stage_of_an_older_ticket_counts_only_when_that_one_is_used_again(self) -> None:
        wait = Wait("stage", stages=frozenset({"s-1"}))
        older = contact(active_ticket={"id": "t-0", "created_at": BEFORE, "stage_id": "s-1"})
        found = look(wait, older, now=when(OPENED) + 2)
        assert (found.done, found.later) == (False, True)
        assert look(wait, older, now=wait.settles_at(TARGET)).done

    def test_the_default_stage_of_the_contact_says_nothing(self) -> None:
        assert not look(Wait("stage", stages=frozenset({"s-1"})), {"id": "c", "default_stage_id": "s-1"}).done

    @pytest.mark.parametrize("status", ["ATTENDED", "attended", " Attended "])
    def test_chat_status_in_any_case(self, status: str) -> None:
        assert look(Wait("chat_status", statuses=frozenset({"attended"})), contact(chat_status=status)).done

    def test_a_status_of_before_is_no_answer(self) -> None:
        wait = Wait("chat_status", statuses=frozenset({"closed"}))
        late = {"id": "c-1", "chat_status": "CLOSED", "updated_at": BEFORE, "active_ticket": None}
        found = look(wait, late, now=when(OPENED) + 2)
        assert (found.done, found.later) == (False, True)


class TestRowsOfTheList:
    """What the list shows is enough for most of what does not need the messages."""

    BOUND = Target("c-1", opened_at=when(OPENED), ticket_id="t-1")

    def verdict(self, wait: Wait, target: Target | None = None, *, now: float = NOW, **fields: Any) -> bool | None:
        row = {"id": "c-1", "updated_at": LATER, "active_ticket_v2": {"id": "T-1", "current_stage_id": "S-1"}, **fields}
        return judge_row(wait, target or self.BOUND, read_contact(row), now=now)

    @pytest.mark.parametrize(
        ("wait", "fields", "expected"),
        [
            (CLOSED, {}, False),
            (CLOSED, {"active_ticket_v2": None, "chat_status": "CLOSED"}, True),
            (CLOSED, {"active_ticket_v2": None, "chat_status": "CLOSED", "updated_at": BEFORE}, None),
            (CLOSED, {"active_ticket_v2": None}, None),
            (CLOSED, {"active_ticket_v2": {"id": "t-2"}}, None),
            (Wait("stage", stages=frozenset({"s-1"})), {}, True),
            (Wait("stage", stages=frozenset({"s-2"})), {}, False),
            (Wait("stage", stages=frozenset({"s-1"})), {"active_ticket_v2": {"id": "t-2"}}, None),
            (Wait("chat_status", statuses=frozenset({"closed"})), {"chat_status": "CLOSED"}, True),
            (Wait("chat_status", statuses=frozenset({"closed"})), {"chat_status": "ATTENDED"}, False),
            (REPLIED, {"last_message_at": LATER}, None),
            (REPLIED, {"last_message_at": None}, None),
            (REPLIED, {"last_message_at": BEFORE}, False),
        ],
    )
    def test_yes_no_or_read_it(self, wait: Wait, fields: dict[str, Any], expected: bool | None) -> None:
        assert self.verdict(wait, **fields) is expected

    def test_a_ticket_that_no_look_has_shown_has_to_be_read(self) -> None:
        unknown = Target("c-1", opened_at=when(OPENED))
        assert self.verdict(CLOSED, unknown, active_ticket_v2=None, chat_status="CLOSED") is None
        assert self.verdict(Wait("stage", stages=frozenset({"s-1"})), unknown) is None

    def test_a_status_of_before_has_to_be_read_again(self) -> None:
        wait = Wait("chat_status", statuses=frozenset({"closed"}))
        soon = when(OPENED) + LAG / 2
        assert self.verdict(wait, now=soon, chat_status="CLOSED", updated_at=BEFORE) is None


@pytest.mark.parametrize(
    ("mode", "findings", "over"),
    [
        ("all", [True, True], True),
        ("all", [True, False], False),
        ("any", [True, False], True),
        ("any", [False, False], False),
        ("all", [], True),
        ("any", [], True),
    ],
)
def test_all_or_any(mode: str, findings: list[bool], over: bool) -> None:
    assert is_over(findings, mode) is over


@pytest.mark.parametrize(
    ("last", "updated", "hidden"),
    [
        (LATER, OPENED, True),
        (OPENED, LATER, False),
        (None, LATER, False),
        (LATER, None, False),
        ("2027-01-01T00:00:00Z", OPENED, False),
    ],
)
def test_a_message_that_did_not_mark_its_contact_as_changed(
    last: str | None, updated: str | None, hidden: bool
) -> None:
    assert hides_messages(read_contact({"last_message_at": last, "updated_at": updated}), now=NOW) is hidden


def test_a_finding_holds_nothing_personal() -> None:
    found = look(REPLIED, contact(name="Ana", phone="+56912345678"), [message(LATER)]).as_dict(seen_at=LATEST)
    assert found == {
        "ai_contact_id": "c-1",
        "until": "replied",
        "done": True,
        "at": LATER,
        "seen_at": LATEST,
        "message_id": f"m-{LATER}",
        "ticket_id": "t-1",
        "ticket_known_by": "time",
        "stage_id": None,
        "chat_status": "UNATTENDED",
    }
