from __future__ import annotations

from typing import Any

import pytest

from vambe_provider.waiting.conditions import Wait, hides_messages, is_over, judge, moment, needs_messages

OPENED = "2026-03-01T10:00:00.000Z"
BEFORE = "2026-03-01T09:00:00.000Z"
LATER = "2026-03-01T11:00:00.000Z"
LATEST = "2026-03-01T12:00:00.000Z"


def contact(**fields: Any) -> dict[str, Any]:
    return {"id": "c-1", "chat_status": "UNATTENDED", "active_ticket": {"id": "t-1", "created_at": OPENED}, **fields}


def message(at: str, direction: str = "INBOUND", name: str = "m") -> dict[str, Any]:
    return {"id": f"{name}-{at}", "direction": direction, "created_at": at, "body": "private"}


REPLIED = Wait("replied")


class TestReplied:
    def test_a_message_of_the_customer_after_the_ticket_counts(self) -> None:
        found = judge(REPLIED, contact(), [message(BEFORE), message(LATEST), message(LATER)])
        assert (found.done, found.at, found.message_id) == (True, LATER, f"m-{LATER}")

    @pytest.mark.parametrize(
        "messages", [[], [message(BEFORE)], [message(LATER, "OUTBOUND")], [{"direction": "INBOUND"}]]
    )
    def test_nothing_else_does(self, messages: list[dict[str, Any]]) -> None:
        assert not judge(REPLIED, contact(), messages).done

    def test_a_time_of_the_users_own_wins(self) -> None:
        since = Wait("replied", since=moment(LATEST))
        assert not judge(since, contact(), [message(LATER)]).done
        assert judge(Wait("replied", since=moment(BEFORE)), contact(), [message(BEFORE)]).done

    def test_without_the_tickets_time_the_start_of_the_run_counts(self) -> None:
        wait = Wait("replied", started=moment(OPENED))
        hidden = contact(active_ticket={"id": "t-1"})
        assert judge(wait, hidden, [message(BEFORE), message(LATER)]).at == LATER
        assert not judge(wait, hidden, [message(BEFORE)]).done

    def test_a_later_ticket_of_somebody_else_does_not_hide_the_reply(self) -> None:
        wait = Wait("replied", started=moment(OPENED))
        info = contact(
            active_ticket={"id": "t-2", "created_at": LATEST},
            last_closed_ticket={"id": "t-1", "created_at": OPENED, "closed_at": LATER},
        )
        found = judge(wait, info, [message(LATER)])
        assert (found.done, found.ticket_id) == (True, "t-1")

    @pytest.mark.parametrize(("last", "needed"), [(None, True), (LATER, True), (BEFORE, False)])
    def test_messages_are_only_read_when_they_can_matter(self, last: str | None, needed: bool) -> None:
        assert needs_messages(REPLIED, contact(last_message_at=last)) is needed
        assert not needs_messages(Wait("closed"), contact(last_message_at=last))


class TestClosed:
    @pytest.mark.parametrize(
        "tickets",
        [
            {"active_ticket": None, "last_closed_ticket": {"id": "t-1", "closed_at": LATER}},
            {"active_ticket": None, "last_closed_ticket_v2": {"id": "t-1", "closedAt": LATER}},
            {"active_ticket": None, "lastClosedTicket": {"id": "t-1", "closed_at": LATER}},
            {"active_ticket": None, "tickets": [{"id": "t-1", "status": "CLOSED", "closed_at": LATER}]},
        ],
    )
    def test_however_the_ticket_is_named(self, tickets: dict[str, Any]) -> None:
        found = judge(Wait("closed"), contact(**tickets))
        assert (found.done, found.at, found.ticket_id) == (True, LATER, "t-1")

    def test_an_active_ticket_is_not_closed_by_an_older_one(self) -> None:
        info = contact(last_closed_ticket={"id": "t-0", "created_at": BEFORE, "closed_at": BEFORE})
        assert not judge(Wait("closed"), info).done

    def test_the_runs_own_ticket_counts_when_a_new_one_is_open(self) -> None:
        info = contact(
            active_ticket={"id": "t-2", "created_at": LATEST},
            last_closed_ticket={"id": "t-1", "created_at": LATER, "closed_at": LATEST},
        )
        assert judge(Wait("closed", started=moment(OPENED)), info).ticket_id == "t-1"

    def test_where_tickets_are_not_shown_the_chat_status_decides(self) -> None:
        assert judge(Wait("closed"), {"id": "c-1", "chat_status": "closed"}).done
        assert not judge(Wait("closed"), {"id": "c-1", "chat_status": "ATTENDED"}).done

    def test_what_only_sounds_like_a_ticket_is_none(self) -> None:
        info = {"id": "c-1", "ticket_metadata": {"id": "x"}, "ticket_count": 3, "closed_ticket_type": {"id": "y"}}
        assert judge(Wait("closed"), info).ticket_id is None


class TestStageAndStatus:
    @pytest.mark.parametrize(
        "ticket",
        [{"current_stage_id": "S-1"}, {"stageId": "s-1"}, {"current_stage": {"id": "s-1"}}, {"stage": {"id": "s-1"}}],
    )
    def test_however_the_stage_is_named(self, ticket: dict[str, Any]) -> None:
        wait = Wait("stage", stages=frozenset({"s-1", "s-2"}))
        assert judge(wait, contact(active_ticket=ticket)).done
        assert not judge(Wait("stage", stages=frozenset({"s-3"})), contact(active_ticket=ticket)).done

    def test_the_default_stage_of_the_contact_says_nothing(self) -> None:
        assert not judge(Wait("stage", stages=frozenset({"s-1"})), {"id": "c", "default_stage_id": "s-1"}).done

    @pytest.mark.parametrize("status", ["ATTENDED", "attended", " Attended "])
    def test_chat_status_in_any_case(self, status: str) -> None:
        assert judge(Wait("chat_status", statuses=frozenset({"attended"})), contact(chat_status=status)).done


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
    [(LATER, OPENED, True), (OPENED, LATER, False), (None, LATER, False), (LATER, None, False)],
)
def test_a_message_that_did_not_mark_its_contact_as_changed(
    last: str | None, updated: str | None, hidden: bool
) -> None:
    assert hides_messages({"last_message_at": last, "updated_at": updated}) is hidden


def test_a_finding_holds_nothing_personal() -> None:
    found = judge(REPLIED, contact(name="Ana", phone="+56912345678"), [message(LATER)]).as_dict(seen_at=LATEST)
    assert found == {
        "ai_contact_id": "c-1",
        "until": "replied",
        "done": True,
        "at": LATER,
        "seen_at": LATEST,
        "message_id": f"m-{LATER}",
        "ticket_id": "t-1",
        "stage_id": None,
        "chat_status": "UNATTENDED",
    }
