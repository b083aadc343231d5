"""What goes wrong on the wire, for one ticket and for a batch, on every database: how many tickets exist afterwards.

Each case says what the ledger has to say after the first run. Whatever it says, a second run must end with exactly
one ticket for each key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import Deliveries, options, row, rows
from vambe_provider.delivery.attempt import post
from vambe_provider.delivery.batch import loop
from vambe_provider.delivery.model import Outcome
from vambe_provider.delivery.pace import health

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.exceptions import VambeError

BATCH = 6
HIT = 2
"""How many of the batch's first posts a fault strikes; fewer than the engine takes for a server that is down."""


@dataclass(frozen=True)
class Case:
    """A fault of the sandbox, and what it leaves behind.

    :param fault: the rule.
    :param evidence: which checks may decide about a struck row in the same run.
    :param timeout: the request timeout of the delivery.
    """

    name: str
    fault: dict[str, Any]
    evidence: tuple[str, ...]
    switches: dict[str, Any] = field(default_factory=dict)
    timeout: float = 5.0


REPOSTED = ("reply",)
FOUND = ("mark",)


def _both(name: str, **fault: Any) -> list[Case]:
    return [
        Case(f"{name}-before", {**fault, "when": "before"}, REPOSTED),
        Case(f"{name}-after", {**fault, "when": "after"}, FOUND),
    ]


CASES = [
    *_both("500", kind="status", status=500),
    *_both("502-html", kind="status", status=502, body="html"),
    *_both("503", kind="status", status=503, body="empty"),
    *_both("504", kind="status", status=504, body="html"),
    *_both("reset", kind="drop", mode="reset"),
    *_both("closed", kind="drop", mode="close"),
    *_both("half-closed", kind="drop", mode="half_close"),
    *_both("truncated", kind="truncated"),
    *_both("malformed", kind="malformed"),
    *_both("200-success-false", kind="failure_body", failure="success"),
    *_both("200-status-error", kind="failure_body", failure="status"),
    *_both("200-ok-false", kind="failure_body", failure="ok"),
    *_both("no-contact-id", kind="missing_id"),
    *_both("status-pending", kind="bad_status"),
    *_both("huge", kind="huge", size=1_200_000),
    Case("message-fails", {"kind": "message_fails"}, FOUND),
    Case("hang-after", {"kind": "hang", "when": "after"}, FOUND, timeout=1.5),
    Case("429-seconds", {"kind": "rate_limit", "retry_after": 0.02}, REPOSTED),
    Case("429-date", {"kind": "rate_limit", "retry_after": 0, "retry_after_form": "date"}, REPOSTED),
    Case("429-bare", {"kind": "rate_limit", "retry_after_form": "none"}, REPOSTED),
    Case("307", {"kind": "redirect"}, REPOSTED),
    Case("201", {"kind": "slow", "seconds": 0.001}, REPOSTED, switches={"success_status": 201}),
    Case("closed-after-reply", {"kind": "close_after_reply"}, REPOSTED),
    Case("idle-connection-closed", {"kind": "drop", "reused": True, "mode": "close"}, REPOSTED),
]


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits as short as a test wants them; the number of tries stays."""
    monkeypatch.setattr(health, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(health, "LONGEST_RETRY", 0.1)
    monkeypatch.setattr(post, "BLIND_RATE_LIMIT", 0.05)
    monkeypatch.setattr(post, "BLIND_RETRY", 0.05)


def _exactly_one_each(deliveries: Deliveries, count: int) -> None:
    assert deliveries.tickets() == {str(number): 1 for number in range(1, count + 1)}
    assert set(deliveries.markers().values()) == {1}
    assert set(deliveries.states().values()) == {"opened"}
    assert len(deliveries.states()) == count


def _prepare(deliveries: Deliveries, case: Case) -> None:
    deliveries.settings = replace(deliveries.settings, timeout=case.timeout)
    deliveries.sandbox.configure(**case.switches)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_single(deliveries: Deliveries, case: Case) -> None:
    _prepare(deliveries, case)
    if case.fault.get("reused"):
        pytest.skip("a single ticket has no connection to reuse")
    fault = deliveries.sandbox.fault("open_ticket", **case.fault)
    result = deliveries.one(1)
    assert fault.hits == 1
    [entry] = deliveries.ledger_rows().values()
    assert entry["evidence"] in case.evidence
    assert result.outcome == (Outcome.RECONCILED if case.evidence == FOUND else Outcome.OPENED)
    _exactly_one_each(deliveries, 1)
    again = deliveries.one(1)
    assert again.error is None
    _exactly_one_each(deliveries, 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batch(deliveries: Deliveries, case: Case) -> None:
    _prepare(deliveries, case)
    fault = deliveries.sandbox.fault("open_ticket", times=HIT, **case.fault)
    report = deliveries.many(rows(BATCH), max_concurrency=2)
    assert fault.hits == HIT
    struck = HIT if case.evidence == FOUND else 0
    assert report.counts == {Outcome.OPENED: BATCH - struck, Outcome.RECONCILED: struck} or not struck
    assert report.done == BATCH
    assert report.verdict() is None
    found = [entry["evidence"] for entry in deliveries.ledger_rows().values() if entry["evidence"] != "reply"]
    # A server that closes a kept connection may do so when the next request is on it already; a check decides then.
    racing = case.name == "closed-after-reply"
    assert found == ["mark"] * (len(found) if racing else struck)
    _exactly_one_each(deliveries, BATCH)
    deliveries.sandbox.clear_faults()
    again = deliveries.many(rows(BATCH))
    assert again.verdict() is None
    _exactly_one_each(deliveries, BATCH)


# --- what never reaches Vambe ---

UNREACHABLE = {
    "dns": "https://vambe.invalid",
    "tls": "https://127.0.0.1:{port}",
    "refused": "http://127.0.0.1:1",
}


@pytest.fixture(params=UNREACHABLE)
def astray(request: pytest.FixtureRequest, deliveries: Deliveries) -> Any:
    """Return settings under which nothing gets to Vambe."""
    port = deliveries.sandbox.url.rpartition(":")[2]
    return replace(deliveries.settings, base_url=UNREACHABLE[request.param].format(port=port), timeout=2.0)


def test_single_unreachable(deliveries: Deliveries, astray: Any) -> None:
    result = deliveries.one(1, settings=astray, opts=options(retry_budget=0.3))
    assert (result.outcome, result.error.sent if result.error else None) == (Outcome.FAILED, "no")
    assert deliveries.states() == {"id=1": "failed"}
    assert deliveries.sandbox.request_count == 0
    assert deliveries.one(1).outcome == Outcome.OPENED
    _exactly_one_each(deliveries, 1)


def test_batch_unreachable(deliveries: Deliveries, astray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_TRIES", 2)
    report = deliveries.many(rows(BATCH), settings=astray)
    assert report.verdict() is not None
    assert report.counts[Outcome.OPENED] == 0
    assert set(deliveries.states().values()) <= {"failed"}
    assert deliveries.sandbox.request_count == 0
    assert deliveries.many(rows(BATCH)).verdict() is None
    _exactly_one_each(deliveries, BATCH)


# --- what the API shows afterwards ---


@dataclass(frozen=True)
class View:
    """What reads show after a post whose answer was lost.

    :param created: whether the ticket was created.
    :param evidence: which check decides.
    :param outcome: what the run says.
    :param known: whether the contact exists before.
    :param faults: what else goes wrong.
    :param seed: what is there before.
    """

    name: str
    created: bool
    evidence: str
    outcome: Outcome
    known: bool = False
    switches: dict[str, Any] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    seed: Callable[[Deliveries, int], object] | None = None
    ticket: dict[str, Any] | None = None


def _on_both_channels(deliveries: Deliveries, number: int) -> None:
    deliveries.sandbox.seed_contact(row(number)["phone"], platform="whatsapp")


def _other_country(deliveries: Deliveries, number: int) -> None:
    # The same last eight digits in another country: the partial search finds this person as well.
    deliveries.sandbox.seed_contact(f"+5411{row(number)['phone'][-8:]}")


def _talks_already(deliveries: Deliveries, number: int) -> None:
    contact = next(c["id"] for c in deliveries.sandbox.contacts() if row(number)["phone"].endswith(c["phone"]))
    deliveries.sandbox.customer_replies(contact, f"Hello Person{number}, your order {number} is late")


HIDDEN: dict[str, Any] = {"metadata_visible": "no"}
BLIND: dict[str, Any] = {"metadata_visible": "no", "ticket_created_at": False}
SILENT = {"to_phone_number": "{phone}", "stage": "Support / New", "ticket_metadata": {"order_id": "{id}"}}
SEARCH_FAILS = ({"where": "search_contacts", "kind": "status", "status": 400, "times": "forever"},)

VIEWS = [
    View("new-contact-not-created", False, "reply", Outcome.OPENED),
    View("known-contact-not-created", False, "no_trace", Outcome.UNKNOWN, known=True),
    View("known-contact-created", True, "mark", Outcome.RECONCILED, known=True),
    View("metadata-hidden", True, "message", Outcome.RECONCILED, known=True, switches=HIDDEN),
    View("metadata-hidden-not-created", False, "no_trace", Outcome.UNKNOWN, known=True, switches=HIDDEN),
    View("metadata-and-times-hidden", True, "message", Outcome.RECONCILED, known=True, switches=BLIND),
    View("customer-quotes-us", False, "no_trace", Outcome.UNKNOWN, known=True, switches=BLIND, seed=_talks_already),
    View("nothing-shows", True, "no_trace", Outcome.UNKNOWN, known=True, switches=BLIND, ticket=SILENT),
    View("new-contact-nothing-else-shows", True, "no_trace", Outcome.UNKNOWN, switches=BLIND, ticket=SILENT),
    View(
        "metadata-late", True, "mark", Outcome.RECONCILED, known=True, ticket=SILENT,
        switches={"metadata_visible": "late", "metadata_after_reads": 4, "ticket_created_at": False},
    ),
    View("everything-late", True, "mark", Outcome.RECONCILED, known=True, switches={"visible_after_reads": 1}),
    View("new-contact-late", True, "mark", Outcome.RECONCILED, switches={"visible_after_reads": 1}),
    View("metadata-as-list", True, "mark", Outcome.RECONCILED, switches={"metadata_form": "list"}),
    View("other-names", True, "mark", Outcome.RECONCILED, switches={"ticket_names": "camel"}),
    View("old-ticket-moved", True, "mark", Outcome.RECONCILED, known=True, switches={"existing_ticket": "move"}),
    View("two-contacts-not-created", False, "no_trace", Outcome.UNKNOWN, known=True, seed=_on_both_channels),
    View("two-contacts-created", True, "mark", Outcome.RECONCILED, known=True, seed=_on_both_channels),
    View("two-contacts-hidden", True, "message", Outcome.RECONCILED, switches=HIDDEN, seed=_on_both_channels),
    View("namesake-elsewhere", False, "reply", Outcome.OPENED, seed=_other_country),
    View("search-fails-created", True, "mark", Outcome.RECONCILED, faults=SEARCH_FAILS),
    View("search-fails-not-created", False, "look_failed", Outcome.UNKNOWN, faults=SEARCH_FAILS),
    View(
        "search-fails-once", True, "mark", Outcome.RECONCILED,
        faults=({"where": "search_contacts", "kind": "status", "status": 400, "times": HIT},),
    ),
    View(
        "contact-cannot-be-read", True, "contact_known", Outcome.UNKNOWN,
        faults=({"where": "get_contact", "kind": "status", "status": 404, "times": "forever"},),
    ),
    View(
        "clock-of-the-api-ahead", True, "message", Outcome.RECONCILED, known=True,
        switches={**HIDDEN, "clock_skew_seconds": 7200.0},
    ),
    View(
        "clock-of-the-api-behind", True, "no_trace", Outcome.UNKNOWN, known=True,
        switches={**HIDDEN, "clock_skew_seconds": -7200.0},
    ),
]  # fmt: skip


def _set_the_scene(deliveries: Deliveries, view: View, numbers: range) -> None:
    # Who is there before came an hour ago: what is new by a second proves something.
    deliveries.sandbox.configure(clock_skew_seconds=-3600.0)
    for number in numbers:
        if view.known:
            deliveries.sandbox.seed_contact(row(number)["phone"])
        if view.seed is not None:
            view.seed(deliveries, number)
    deliveries.sandbox.configure(**{"clock_skew_seconds": 0.0, **view.switches})
    for fault in view.faults:
        deliveries.sandbox.fault(**fault)
    when = "after" if view.created else "before"
    deliveries.sandbox.fault("open_ticket", kind="drop", when=when, times=len(numbers))


def _check(deliveries: Deliveries, view: View, number: int) -> None:
    expected = {Outcome.OPENED: "opened", Outcome.RECONCILED: "opened", Outcome.UNKNOWN: "unknown"}[view.outcome]
    entry = deliveries.ledger_rows()[f"id={number}"]
    assert (entry["state"], entry["evidence"]) == (expected, view.evidence)
    exists = view.created or view.outcome == Outcome.OPENED
    assert deliveries.tickets()[str(number)] == int(exists)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_single_reconciled(deliveries: Deliveries, view: View) -> None:
    _set_the_scene(deliveries, view, range(1, 2))
    result = deliveries.one(deliveries.work(1, view.ticket))
    assert result.outcome == view.outcome
    _check(deliveries, view, 1)
    before = deliveries.tickets()
    again = deliveries.one(deliveries.work(1, view.ticket))
    assert again.outcome == (Outcome.UNKNOWN if view.outcome == Outcome.UNKNOWN else Outcome.ALREADY_OPENED)
    assert deliveries.tickets() == before


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_batch_reconciled(deliveries: Deliveries, view: View) -> None:
    _set_the_scene(deliveries, view, range(1, HIT + 1))
    data = rows(BATCH)
    report = deliveries.many(data[:HIT], ticket=view.ticket)
    assert report.counts == {view.outcome: HIT}
    for number in range(1, HIT + 1):
        _check(deliveries, view, number)
    before = deliveries.tickets()
    deliveries.sandbox.clear_faults()
    again = deliveries.many(data, ticket=view.ticket)
    assert again.counts[Outcome.OPENED] == BATCH - HIT
    assert deliveries.tickets() - before == {str(number): 1 for number in range(HIT + 1, BATCH + 1)}
    error: VambeError | None = again.verdict()
    assert (error is not None) == (view.outcome == Outcome.UNKNOWN)


@pytest.mark.parametrize("created", [False, True])
def test_resend_when_nobody_can_tell(deliveries: Deliveries, created: bool) -> None:
    """With ``on_unknown="resend"`` the user has chosen a second message over none."""
    view = View("blind", created, "reply", Outcome.OPENED, known=True, switches=BLIND, ticket=SILENT)
    _set_the_scene(deliveries, view, range(1, 2))
    result = deliveries.one(deliveries.work(1, SILENT), opts=options(on_unknown="resend"))
    assert result.outcome == Outcome.OPENED
    assert deliveries.tickets() == {"1": 2 if created else 1}
    assert deliveries.one(deliveries.work(1, SILENT), opts=options(on_unknown="resend")).outcome == (
        Outcome.ALREADY_OPENED
    )


def test_an_unknown_row_is_looked_for_again_before_it_is_resent(deliveries: Deliveries) -> None:
    view = View("blind", True, "no_trace", Outcome.UNKNOWN, known=True, switches=BLIND, ticket=SILENT)
    _set_the_scene(deliveries, view, range(1, 2))
    assert deliveries.many(rows(1), ticket=SILENT).counts == {Outcome.UNKNOWN: 1}
    deliveries.sandbox.configure(metadata_visible="yes")
    later = deliveries.many(rows(1), ticket=SILENT, opts=options(run="the next night", on_unknown="resend"))
    assert later.counts == {Outcome.RECONCILED: 1}
    assert deliveries.tickets() == {"1": 1}
