"""What the API's answers prove, without an API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vambe_provider.delivery.evidence import SEARCH_CAP, Finding, Seen, Sought, judge, same_person
from vambe_provider.delivery.model import Sibling, State

START, SKEW = 1_000_000.0, 2.0


def at(seconds: float) -> str:
    """Return a time that many seconds after the start, as the API writes it."""
    return datetime.fromtimestamp(START + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sought(*siblings: Sibling, content: str | None = "Hello") -> Sought:
    return Sought(
        marker="mark", content=content, message_hash="hash", numbers=frozenset({"56961234567"}),
        since=START - SKEW, after=START + SKEW, siblings=siblings,
    )  # fmt: skip


def sibling(
    started: float,
    state: State = State.OPENED,
    *,
    evidence: str | None = None,
    contact: str | None = "c",
    text: str = "x",
) -> Sibling:
    return Sibling("c", evidence, START + started, state, text)


def ticket(identity: str = "t", created: float | None = 1.0, **more: Any) -> dict[str, Any]:
    return {"id": identity, **({} if created is None else {"created_at": at(created)}), **more}


def contact(*, created: float = -5000.0, **more: Any) -> dict[str, Any]:
    return {"id": "c", "phone": "+56961234567", "created_at": at(created), **more}


def message(created: float = 1.0, *, body: str = "Hello", direction: str = "OUTBOUND", **more: Any) -> dict[str, Any]:
    return {"id": f"m{created}", "body": body, "direction": direction, "created_at": at(created), **more}


def look(info: dict[str, Any], *messages: dict[str, Any]) -> Seen:
    return Seen(capped=False, contacts=[(info, messages)])


def verdict(found: Finding) -> tuple[str, str]:
    return found.verdict, found.check


def test_nobody_with_the_number() -> None:
    assert verdict(judge(sought(), Seen(capped=False, contacts=[]))) == ("not_created", "no_contact")


def test_a_full_page_proves_no_absence() -> None:
    assert SEARCH_CAP == 50
    assert verdict(judge(sought(), Seen(capped=True, contacts=[]))) == ("cannot_tell", "search_full")


def test_a_contact_without_a_trace() -> None:
    found = judge(sought(), look(contact()))
    assert verdict(found) == ("cannot_tell", "no_trace")
    assert found.ai_contact_id == "c"


@pytest.mark.parametrize(
    "info",
    [
        {"active_ticket": ticket(metadata={"airflow_ticket_key": "mark"}, created=-900)},
        {"lastClosedTicket": {"custom": [{"key": "airflow_ticket_key", "value": "mark"}]}},
        {"metadata": {"deep": [{"x": ["mark"]}]}},
    ],
)
def test_our_mark_anywhere(info: dict[str, Any]) -> None:
    assert verdict(judge(sought(), look(contact(**info)))) == ("created", "ticket_key")


@pytest.mark.parametrize("value", ["mark.1", "xmark", "mar", None, 1])
def test_another_mark_is_not_ours(value: object) -> None:
    seen = look(contact(active_ticket=ticket(created=-900, metadata={"airflow_ticket_key": value})))
    assert verdict(judge(sought(), seen)) == ("cannot_tell", "no_trace")


@pytest.mark.parametrize("name", ["active_ticket", "activeTicket", "active_ticket_v2", "last_closed_ticket"])
def test_a_new_ticket(name: str) -> None:
    found = judge(sought(), look(contact(**dict[str, Any]({name: ticket()}))))
    assert (verdict(found), found.evidence_id) == (("created", "new_ticket"), "t")


@pytest.mark.parametrize("created", [-SKEW - 0.1, -4000.0, None])
def test_an_old_ticket_is_no_proof(created: float | None) -> None:
    assert verdict(judge(sought(), look(contact(active_ticket=ticket(created=created)))))[0] == "cannot_tell"


def test_a_ticket_that_was_attributed_is_no_proof() -> None:
    seen = look(contact(active_ticket=ticket("t"), last_closed_ticket=ticket("u", 1.5)))
    assert judge(sought(sibling(-60, evidence="t")), seen).evidence_id == "u"
    assert judge(sought(sibling(-60, evidence="t"), sibling(-30, evidence="u")), seen).verdict == "cannot_tell"


@pytest.mark.parametrize(
    ("other", "created", "proves"),
    [
        (sibling(-10), 1.0, False),  # within what the clocks may differ: it may be that one's
        (sibling(-10), SKEW + 0.1, True),
        (sibling(5.0), SKEW + 0.1, True),
        (sibling(5.0), 3.1, False),
        (sibling(5.0), 30.0, False),
        (sibling(-10, State.SENDING), 30.0, False),
        (sibling(-10, State.UNKNOWN), 30.0, False),
        (sibling(-10, State.FAILED), 1.0, True),
        (sibling(-10, State.REJECTED), 1.0, True),
        (sibling(-4000.0), 1.0, True),  # so long ago that nothing of it is among what is new
        (sibling(-10, evidence="m1"), 1.0, False),  # found by its message, so its ticket is not known
    ],
)
def test_what_another_row_may_have_made_is_no_proof(other: Sibling, created: float, proves: bool) -> None:
    found = judge(sought(other), look(contact(active_ticket=ticket(created=created))))
    assert (found.verdict == "created") == proves


@pytest.mark.parametrize(
    "metadata",
    [{"airflow_ticket_key": "other"}, {"airflow_ticket_key": "mark.1", "order_id": "mar"},
     [{"key": "order_id", "value": "1"}, {"key": "airflow_ticket_key", "value": "other"}]],
)  # fmt: skip
def test_a_ticket_with_another_mark_of_ours_is_no_proof(metadata: object) -> None:
    """Also when the other row is in no ledger that this delivery can see."""
    for created in (-5000.0, 1.0):
        info = contact(created=created, active_ticket=ticket(metadata=metadata), last_closed_ticket=None)
        assert verdict(judge(sought(), look(info))) == ("cannot_tell", "no_trace")


def test_a_new_contact_that_shows_nothing_of_tickets() -> None:
    found = judge(sought(), look(contact(created=1.0)))
    assert (verdict(found), found.evidence_id) == (("created", "new_contact"), "c")
    assert judge(sought(sibling(-1, evidence="x")), look(contact(created=1.0))).verdict == "cannot_tell"


def test_a_new_contact_that_shows_that_it_has_no_ticket() -> None:
    seen = look(contact(created=1.0, active_ticket=None, last_closed_ticket=None))
    assert verdict(judge(sought(), seen)) == ("cannot_tell", "no_trace")


def test_our_message() -> None:
    found = judge(sought(), look(contact(), message(-3000.0), message(1.0, body=" Hello \n")))
    assert (verdict(found), found.evidence_id) == (("created", "message"), "m1.0")


@pytest.mark.parametrize(
    "other",
    [
        message(direction="INBOUND"),
        message(body="Hello!"),
        message(-SKEW - 1),
        {**message(), "created_at": None},
        {**message(), "created_at": "yesterday"},
        {**message(), "body": None},
    ],
)
def test_no_message_of_ours(other: dict[str, Any]) -> None:
    assert judge(sought(), look(contact(), other)).verdict == "cannot_tell"


def test_a_template_has_no_text_to_look_for() -> None:
    assert judge(sought(content=None), look(contact(), message())).verdict == "cannot_tell"


def test_messages_of_other_rows_with_the_same_text_are_counted() -> None:
    other = sibling(-60, text="hash")
    assert judge(sought(other), look(contact(), message(-59.0))).verdict == "cannot_tell"
    assert judge(sought(other), look(contact(), message(-59.0), message(1.0))).check == "message"
    attributed = sibling(-60, text="hash", evidence="m1.0")
    assert judge(sought(attributed), look(contact(), message(1.0))).verdict == "cannot_tell"
    by_ticket = sibling(-60, text="hash", evidence="t")
    assert judge(sought(by_ticket), look(contact(), message(1.0))).verdict == "cannot_tell"
    other_text = sibling(-60, text="another")
    assert judge(sought(other_text), look(contact(), message(1.0))).check == "message"


def test_messages_without_ids_at_the_same_moment() -> None:
    one, two = message(1.0), {**message(1.0), "id": None}
    assert judge(sought(), look(contact(), one, two)).check == "message"


def test_times_without_a_zone_are_utc() -> None:
    naive = at(1.0).removesuffix("Z")
    found = judge(sought(), look(contact(active_ticket={"id": "t", "createdAt": naive})))
    assert found.check == "new_ticket"
    moment = datetime.fromtimestamp(START + 1, UTC)
    assert judge(sought(), look(contact(active_ticket={"id": "t", "created_at": moment}))).check == "new_ticket"


def test_the_strongest_proof_of_all_contacts_counts() -> None:
    other = {**contact(active_ticket=ticket("u")), "id": "d"}
    ours = contact(active_ticket=ticket(metadata={"k": "mark"}, created=-9000))
    found = judge(sought(), Seen(capped=True, contacts=[(other, []), (ours, [])]))
    assert (found.check, found.ai_contact_id) == ("ticket_key", "c")


@pytest.mark.parametrize(
    ("phone", "same"),
    [("+56961234567", True), ("56 9 6123 4567", True), ("+5411961234567", False), ("61234567", False), (None, False)],
)
def test_the_same_person(phone: str | None, same: bool) -> None:
    assert same_person({"phone": phone}, frozenset({"56961234567"})) == same


def test_a_repr_shows_nothing_of_the_person() -> None:
    shown = repr(sought()) + repr(look(contact(name="Ana"), message()))
    for part in ("Hello", "56961234567", "Ana"):
        assert part not in shown
