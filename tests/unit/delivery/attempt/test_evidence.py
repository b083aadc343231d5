"""What the looks prove, without an API: one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vambe_provider.api.contact_info import ContactInfo, Ticket
from vambe_provider.delivery.attempt.evidence import Finding, judge, proof
from vambe_provider.delivery.attempt.facts import Clock, Looks, Said, Sight, Witness
from vambe_provider.delivery.model import Attempt, Evidence, Reason, Sent

START, SKEW = 1_000_000.0, 2.0
YOUNG, PATIENCE = 3600.0, 80.0


def when(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def attempt(
    started: float = 0.0, mark: str = "mark", *, lasts: float = 0.5, sent: Sent = Sent.MAYBE, **more: Any
) -> Attempt:
    given: dict[str, Any] = {"person": "p", "message_hash": "hash", "ai_contact_id": None, "evidence_id": None, **more}
    return Attempt(
        ticket_key=mark, namespace="", account="", number=1, generation=0, reason=Reason.FIRST, fingerprint="",
        started=START + started, ended=START + started + lasts, sent=sent, **given,
    )  # fmt: skip


OURS = attempt()


def sibling(started: float, mark: str = "other", *, sent: Sent = Sent.YES, **more: Any) -> Attempt:
    return attempt(started, mark, sent=sent, **{"message_hash": "x", "ai_contact_id": "c", **more})


def ticket(identity: str = "t", created: float | None = 0.2, *, mark: str | None = None, **more: Any) -> Ticket:
    return Ticket(
        id=identity,
        created_at=None if created is None else when(created),
        marks=frozenset({mark} if mark else ()),
        is_active=True,
        **more,
    )


def message(at: float | None = 0.3, *, text: str = "hash", outbound: bool = True, identity: str | None = None) -> Said:
    return Said(identity or f"m{at}", outbound, text, None if at is None else START + at)


def sight(*tickets: Ticket, created: float | None = -5000.0, messages: tuple[Said, ...] = (), **more: Any) -> Sight:
    info = ContactInfo(
        id="c",
        created_at=None if created is None else when(created),
        tickets=tickets,
        marks=frozenset(mark for item in tickets for mark in item.marks),
        **{"shows_tickets": True, "shows_closed_ticket": True, **more},
    )
    return Sight(info, "same", tickets, info.marks, messages)


def witness(started: float = 5.0, *, shows: bool = True, created: float | None = None, **more: Any) -> Witness:
    """Return a ticket to a new contact, whose times are within its attempt."""
    made = attempt(started, "theirs", sent=Sent.YES, person="w", ai_contact_id="w", message_hash="w")
    opened = when(started + 0.2 if created is None else created)
    shown = Ticket(id="tw", created_at=opened, marks=frozenset({"theirs"} if shows else ()), is_active=True)
    info = ContactInfo(
        id="w", created_at=opened, tickets=(shown,), marks=shown.marks, shows_tickets=True, shows_closed_ticket=True
    )
    seen = made.ended + 1.0
    facts: dict[str, Any] = {"info": info, "shown_at": seen if shows else None, "found_at": seen, "searched": True}
    return Witness(made, **{**facts, "messages": (), **more})


def looks(*sights: Sight, at: float = 40.0, **more: Any) -> Looks:
    given: dict[str, Any] = {"clock": Clock(0.0), "witnesses": (witness(),), **more}
    return Looks(at=START + at, read_at=START + at + 1.0, sights=sights, **given)


def judged(seen: Looks, ours: Attempt = OURS) -> tuple[str, Evidence]:
    finding = judge(ours, seen, young=YOUNG, patience=PATIENCE)
    return finding.verdict, finding.evidence


HIDDEN: dict[str, Any] = {"witnesses": (witness(shows=False),)}

# --- presence ---


def test_a_mark_proves_whenever_its_ticket_was_created() -> None:
    seen = looks(sight(ticket(created=-900.0, mark="mark")), witnesses=())
    found = proof(OURS, seen, last=False)
    assert found == Finding("created", Evidence.MARK, "c", "t", START - 900.0)


@pytest.mark.parametrize("whose", ["unclear", "other"])
def test_a_mark_proves_on_any_contact(whose: Any) -> None:
    seen = looks(replace(sight(ticket(mark="mark")), whose=whose))
    assert judged(seen) == ("created", Evidence.MARK)


@pytest.mark.parametrize("mark", ["mark.1", "xmark", "mar"])
def test_another_mark_is_not_ours(mark: str) -> None:
    assert judged(looks(sight(ticket(mark=mark)))) == ("cannot_tell", Evidence.NO_TRACE)


@pytest.mark.parametrize("created", [-SKEW - 0.1, -4000.0, 0.5 + SKEW + 0.1, 72000.0, None])
def test_a_ticket_outside_of_the_attempt_is_no_proof(created: float | None) -> None:
    seen = looks(sight(ticket(created=created)), at=80000.0, **HIDDEN)
    assert judged(seen)[0] == "cannot_tell"


def test_a_new_ticket_proves_where_marks_are_hidden_and_clocks_agree() -> None:
    seen = looks(sight(ticket(), messages=()), **HIDDEN)
    assert judged(seen) == ("created", Evidence.TICKET)
    assert proof(OURS, seen, last=False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"witnesses": ()},
        {"witnesses": (witness(),)},  # marks are shown, so a ticket without one is none of ours
        {"witnesses": (witness(shows=False, created=305.0),)},
        {"witnesses": (witness(shows=False, created=-295.0),)},
        {"clock": Clock(None), **HIDDEN},
    ],
)
def test_a_new_ticket_proves_nothing_otherwise(changes: dict[str, Any]) -> None:
    assert judged(looks(sight(ticket(), messages=()), **changes))[0] == "cannot_tell"


@pytest.mark.parametrize(
    ("wrote", "proves"), [(-0.5, False), (-50.0, False), (4.0, False), (-70.0, True), (30.0, True)]
)
def test_a_ticket_that_the_customers_words_explain_is_no_proof(wrote: float, proves: bool) -> None:
    seen = looks(sight(ticket(), messages=(message(wrote, outbound=False),)), **HIDDEN)
    assert (judged(seen)[0] == "created") == proves


def test_a_ticket_is_no_proof_where_the_customers_words_were_not_read() -> None:
    assert judged(looks(replace(sight(ticket()), messages=None), **HIDDEN))[0] == "cannot_tell"
    late = sight(ticket(), last_message_at=when(30.0))
    assert judged(looks(late, **HIDDEN))[0] == "cannot_tell"


def test_a_ticket_that_was_attributed_is_no_proof() -> None:
    seen = looks(sight(ticket("t"), ticket("u")), **HIDDEN)
    one = replace(seen, siblings=(sibling(-60, evidence_id="t"),))
    assert judge(OURS, one, young=YOUNG, patience=PATIENCE).evidence_id == "u"
    both = replace(seen, siblings=(sibling(-60, "a", evidence_id="t"), sibling(-30, "b", evidence_id="u")))
    assert judged(both)[0] == "cannot_tell"


@pytest.mark.parametrize(
    ("other", "proves"),
    [
        (sibling(-2.0), False),  # it ended less than the clocks' difference before the ticket was created
        (sibling(-3.0), True),
        (sibling(-60.0), True),
        (sibling(-60.0, lasts=120.0), False),
        (sibling(-60.0, lasts=120.0, sent=Sent.MAYBE), False),
        (sibling(-60.0, lasts=120.0, sent=Sent.NO), True),
        (sibling(-60.0, lasts=120.0, evidence_id="m1"), False),  # found by its message, so its ticket is not known
    ],
)
def test_a_ticket_that_another_attempt_may_have_made_is_no_proof(other: Attempt, proves: bool) -> None:
    seen = looks(sight(ticket()), siblings=(other,), **HIDDEN)
    assert (judged(seen)[0] == "created") == proves


def test_a_new_contact_proves_where_it_shows_nothing_of_tickets() -> None:
    seen = looks(sight(created=0.1, shows_tickets=False, shows_closed_ticket=False), **HIDDEN)
    assert judged(seen) == ("created", Evidence.CONTACT)
    assert judged(looks(sight(created=0.1), **HIDDEN)) == ("cannot_tell", Evidence.NO_TRACE)


def test_a_message_of_ours_proves() -> None:
    seen = looks(sight(messages=(message(-3000.0, text="x"), message())), witnesses=())
    found = proof(OURS, seen, last=False)
    assert found == Finding("created", Evidence.MESSAGE, "c", "m0.3", START + 0.3)


@pytest.mark.parametrize(
    "other",
    [
        message(outbound=False),
        message(text="x"),
        message(-SKEW - 1),
        message(0.5 + SKEW + 1),
        message(None),
    ],
)
def test_another_message_is_no_proof(other: Said) -> None:
    assert judged(looks(sight(messages=(other,)), witnesses=()))[0] == "cannot_tell"


def test_without_a_text_no_message_is_a_proof() -> None:
    silent = attempt(message_hash=None)
    assert judged(looks(sight(messages=(message(),)), witnesses=()), silent)[0] == "cannot_tell"


def test_messages_of_other_attempts_with_the_same_text_are_counted() -> None:
    def finding(other: Attempt, *messages: Said) -> str:
        return judged(looks(sight(messages=messages), siblings=(other,), witnesses=()))[0]

    wide = sibling(-60, message_hash="hash", lasts=120.0)
    assert finding(wide, message(0.1)) == "cannot_tell"
    assert finding(wide, message(-59.0), message(0.1)) == "created"
    assert finding(wide, message(-59.0), message(-58.0), message(0.1)) == "cannot_tell"
    narrow = sibling(-60, message_hash="hash")
    assert finding(narrow, message(0.1)) == "created"
    assert finding(sibling(-60, message_hash="hash", evidence_id="m0.1", lasts=120.0), message(0.1)) == "cannot_tell"
    assert finding(sibling(-60, message_hash="x", lasts=120.0), message(0.1)) == "created"


def test_a_time_that_lies_in_the_future_forbids_every_proof_by_time() -> None:
    seen = sight(ticket(), messages=(message(),), updated_at=when(300.0))
    assert judged(looks(seen, **HIDDEN))[0] == "cannot_tell"


# --- absence ---


def test_a_person_whom_nothing_knows_has_no_ticket() -> None:
    assert judged(looks()) == ("not_created", Evidence.NO_CONTACT)
    assert judged(looks(witnesses=())) == ("not_created", Evidence.NO_CONTACT)


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        ({"complete": False}, Evidence.LOOK_FAILED),
        ({"unclear": True}, Evidence.UNREADABLE_CONTACT),
        ({"full": True}, Evidence.SEARCH_FULL),
        ({"gone": frozenset({"c"})}, Evidence.CONTACT_KNOWN),
        ({"at": 3601.0}, Evidence.TOO_OLD),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_forbids_to_believe_in_absence(changes: dict[str, Any], evidence: Evidence, known: bool) -> None:
    assert judged(looks(*([sight()] if known else []), **changes)) == ("cannot_tell", evidence)


@pytest.mark.parametrize(
    "changes",
    [
        {"witnesses": (witness(found_at=None),)},
        {"witnesses": (witness(info=None, found_at=None),)},
        {"witnesses": (witness(searched=False, found_at=None),)},
        {"witnesses": (), "by_number": False},
    ],
)
def test_a_witness_that_was_not_found_forbids_to_believe_that_nobody_is_there(changes: dict[str, Any]) -> None:
    assert judged(looks(**changes)) == ("cannot_tell", Evidence.NO_WITNESS)


def test_a_contact_that_has_another_number_now_is_not_absent() -> None:
    assert judged(looks(replace(sight(), whose="other"))) == ("cannot_tell", Evidence.CONTACT_KNOWN)


def test_a_recent_ticket_that_is_not_found_outweighs_an_old_one_that_is() -> None:
    old, recent = witness(-2000.0, found_at=START + 41.0), witness(-3.0, found_at=None)
    assert judged(looks(witnesses=(old, recent))) == ("cannot_tell", Evidence.NO_WITNESS)
    assert judged(looks(witnesses=(old, witness(-1000.0, found_at=None))))[0] == "not_created"
    quick = witness(0.0, found_at=START + 20.0)
    assert judged(looks(witnesses=(quick, recent)))[0] == "not_created"


def test_a_contact_without_our_mark_beside_one_with_its_own_has_no_ticket() -> None:
    assert judged(looks(sight())) == ("not_created", Evidence.WITNESS)
    assert judged(looks(sight(), witnesses=())) == ("cannot_tell", Evidence.NO_TRACE)
    assert judged(looks(sight(), **HIDDEN)) == ("cannot_tell", Evidence.NO_TRACE)


def test_a_mark_that_shows_late_has_to_be_waited_for() -> None:
    slow = witness(-100.0, shown_at=START + 1.0)
    finding = judge(OURS, looks(sight(), witnesses=(slow,)), young=YOUNG, patience=PATIENCE)
    assert (finding.verdict, finding.again_at) == ("cannot_tell", OURS.ended + PATIENCE)
    assert judged(looks(sight(), witnesses=(slow,), at=81.0)) == ("not_created", Evidence.WITNESS)
    missed = replace(witness(-3.0, shows=False), attempt=attempt(-3.0, "b", sent=Sent.YES, person="b"))
    assert judged(looks(sight(), witnesses=(slow, missed), at=81.0)) == ("cannot_tell", Evidence.NO_TRACE)


def test_a_request_that_may_still_run_has_to_be_waited_for() -> None:
    running = attempt(lasts=60.0)
    finding = judge(running, looks(sight()), young=YOUNG, patience=PATIENCE)
    assert finding.verdict == "cannot_tell"
    assert finding.again_at is not None
    assert finding.again_at >= running.ended


def test_what_came_after_the_attempt_may_hide_it() -> None:
    later = sibling(60.0)
    assert judged(looks(sight(), siblings=(later,))) == ("cannot_tell", Evidence.NO_TRACE)
    assert judged(looks(sight(ticket(created=60.0)), at=100.0)) == ("cannot_tell", Evidence.NO_TRACE)
    theirs = sight(ticket(created=-900.0, mark="of another ledger"))
    assert judged(looks(theirs)) == ("cannot_tell", Evidence.NO_TRACE)


@pytest.mark.parametrize(
    ("later", "is_sent", "verdict"),
    [(9.0, Sent.YES, "not_created"), (1.0, Sent.YES, "cannot_tell"), (9.0, Sent.NO, "cannot_tell")],
    ids=["later", "earlier", "not-sent"],
)
def test_a_witness_whose_mark_gave_way_to_a_later_ticket_was_not_missed(
    later: float, is_sent: Sent, verdict: str
) -> None:
    hidden = witness(5.0, shows=False)
    assert hidden.info is not None
    hidden = replace(
        hidden,
        attempt=attempt(5.0, "hidden", sent=Sent.YES, person="v", ai_contact_id="v", message_hash="v"),
        info=replace(hidden.info, marks=frozenset({"after"})),
        siblings=(sibling(later, "after", sent=is_sent, person="v", ai_contact_id="v"),),
    )
    slow = witness(-100.0, shown_at=START + 1.0)
    assert judged(looks(sight(), witnesses=(slow, hidden), at=81.0))[0] == verdict


def active_witness(**more: Any) -> Witness:
    """Return a ticket to a contact that had one already, which was replaced."""
    made = witness(**more)
    earlier = sibling(-900.0, "w0", person="w", ai_contact_id="w")
    return replace(made, info=replace(made.info, created_at=when(-900.0)), siblings=(earlier,))  # type: ignore[type-var]


@pytest.mark.parametrize("text", ["hash", None])
def test_a_contact_with_an_active_ticket_needs_a_witness_that_had_one(text: str | None) -> None:
    ours = attempt(message_hash=text)
    seen = sight(ticket(created=-900.0, mark="other"))
    siblings = (sibling(-900.0),)
    assert judged(looks(seen, siblings=siblings), ours) == ("cannot_tell", Evidence.NO_TRACE)
    assert judged(looks(seen, siblings=siblings, witnesses=(active_witness(),)), ours)[0] == "not_created"


def test_where_no_witness_had_an_active_ticket_the_missing_message_tells() -> None:
    seen, siblings = sight(ticket(created=-900.0, mark="other")), (sibling(-900.0),)
    said = (Said("mw", True, "w", START + 5.3),)
    heard = witness(heard_at=START + 6.0, messages=said)
    assert judged(looks(seen, siblings=siblings, witnesses=(heard,))) == ("not_created", Evidence.WITNESS)
    silent = attempt(message_hash=None)
    assert judged(looks(seen, siblings=siblings, witnesses=(heard,)), silent)[0] == "cannot_tell"
    unread = replace(seen, info=replace(seen.info, last_message_at=when(-10.0)))
    assert judged(looks(unread, siblings=siblings, witnesses=(heard,)))[0] == "cannot_tell"


def test_somebody_who_wrote_to_the_customer_in_the_same_seconds_forbids_absence() -> None:
    assert judged(looks(sight(messages=(message(text="x"),)))) == ("cannot_tell", Evidence.NO_TRACE)
    answer = sight(messages=(message(-60.0, outbound=False), message(text="x")))
    assert judged(looks(answer)) == ("not_created", Evidence.WITNESS)


def test_nothing_personal_is_in_a_repr() -> None:
    info = ContactInfo(id="c", phone="+56961234567")
    shown = repr(looks(Sight(info, messages=(message(text="secret"),))))
    assert not any(part in shown for part in ("secret", "61234567"))
