"""No finding is wrong in any world: a small Vambe lives through made-up histories, and the judge sees what it shows.

What may happen: earlier and later tickets of our own ledger and of another one, a customer who writes, a person who
closes tickets, an API that treats an active ticket in one of five ways, hides marks or times, or stamps wrong times.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from hypothesis import event, given, settings
from hypothesis import strategies as st

from vambe_provider.api.contact_info import ContactInfo, Ticket
from vambe_provider.delivery.attempt.evidence import judge
from vambe_provider.delivery.attempt.facts import Clock, Finding, Looks, Said, Sight, Witness
from vambe_provider.delivery.model import Attempt, Reason, Sent

NOW = 1_800_000_000.0
YOUNG, PATIENCE = 6 * 3600.0, 80.0

Existing = Literal["new_ticket", "move", "keep", "ignore", "conflict"]


@dataclass(frozen=True)
class Api:
    """How the API behaves."""

    existing: Existing
    marks: bool
    ticket_times: bool
    ticket_updates: bool
    bumps: bool
    stamps: float
    offset_known: bool


@dataclass
class Kept:
    """One ticket of the made-up Vambe."""

    id: str
    created: float
    updated: float
    mark: str | None
    closed: float | None = None


@dataclass
class Person:
    """One contact of the made-up Vambe, and all that ever happened to it."""

    api: Api
    name: str
    created: float | None = None
    updated: float = 0.0
    active: Kept | None = None
    last_closed: Kept | None = None
    messages: list[Said] = field(default_factory=list)
    count: int = 0

    def post(self, at: float, mark: str | None, text: str | None) -> bool:
        """Carry out a request; return whether it had an effect that a customer or a reader could notice."""
        busy = self.active is not None
        if busy and self.api.existing in ("ignore", "conflict"):
            return False
        self._touch(at)
        if not busy or self.api.existing == "new_ticket":
            self.active = self._ticket(at, mark)
        elif self.api.existing == "move" and self.active is not None:
            self.active.mark, self.active.updated = mark or self.active.mark, at
        if text is not None:
            self._say(at, text, outbound=True)
        return not (busy and self.api.existing == "keep" and text is None)

    def write(self, at: float) -> None:
        self._touch(at)
        self.active = self.active or self._ticket(at, None)
        self._say(at, "hello?", outbound=False)

    def close(self, at: float) -> None:
        if self.active is not None:
            self.active.closed = self.active.updated = at
            self.active, self.last_closed = None, self.active
            self._touch(at)

    def _touch(self, at: float) -> None:
        if self.created is None:
            self.created = self.updated = at
        if self.api.bumps:
            self.updated = at

    def _ticket(self, at: float, mark: str | None) -> Kept:
        self.count += 1
        return Kept(f"{self.name}-{self.count}", at, at, mark)

    def _say(self, at: float, text: str, *, outbound: bool) -> None:
        name = f"{self.name}-m{len(self.messages)}"
        self.messages.append(Said(name, outbound, text, at + self.api.stamps))

    def info(self) -> ContactInfo:
        shown = [ticket for ticket in (self.active, self.last_closed) if ticket is not None]
        return ContactInfo(
            id=self.name,
            created_at=self._stamp(self.created),
            updated_at=self._stamp(self.updated),
            last_message_at=datetime.fromtimestamp(self.messages[-1].at or 0.0, UTC) if self.messages else None,
            tickets=tuple(self._shown(ticket) for ticket in shown),
            marks=frozenset(ticket.mark for ticket in shown if ticket.mark and self.api.marks),
            shows_tickets=True,
            shows_closed_ticket=True,
        )

    def _shown(self, ticket: Kept) -> Ticket:
        return Ticket(
            id=ticket.id,
            created_at=self._stamp(ticket.created) if self.api.ticket_times else None,
            updated_at=self._stamp(ticket.updated) if self.api.ticket_updates else None,
            closed_at=self._stamp(ticket.closed),
            is_open=ticket.closed is None,
            is_active=ticket.closed is None,
            marks=frozenset({ticket.mark}) if ticket.mark and self.api.marks else frozenset(),
            shows_metadata=self.api.marks,
        )

    def _stamp(self, at: float | None) -> datetime | None:
        return None if at is None else datetime.fromtimestamp(at + self.api.stamps, UTC)


@dataclass(frozen=True)
class Step:
    """Something that happens to a person.

    :param who: our ledger, another one, the customer, or a person who closes the ticket.
    :param answered: for our ledger: whether a reply came.
    """

    at: float
    who: Literal["ours", "theirs", "customer", "close"]
    text: str | None = None
    answered: bool = True
    carried_out: bool = True


@dataclass
class Told:
    """A person's history as the made-up Vambe and our ledger have it."""

    person: Person
    attempts: list[Attempt] = field(default_factory=list)
    effects: dict[str, bool] = field(default_factory=dict)


def tell(api: Api, name: str, steps: list[Step], until: float) -> Told:
    told = Told(Person(api, name))
    for number, step in enumerate(sorted(steps, key=lambda step: step.at)):
        if step.at > until:
            break
        match step.who:
            case "customer":
                told.person.write(step.at)
            case "close":
                told.person.close(step.at)
            case "theirs":
                told.person.post(step.at, f"theirs-{name}-{number}", step.text)
            case "ours":
                _attempt(told, step, f"ours-{name}-{number}")
    return told


def _attempt(told: Told, step: Step, mark: str) -> None:
    effect = told.person.post(step.at, mark, step.text) if step.carried_out else False
    answered = step.answered and step.carried_out
    told.effects[mark] = effect
    told.attempts.append(
        Attempt(
            ticket_key=mark, namespace="", account="", number=1, generation=0, reason=Reason.FIRST,
            person=told.person.name, fingerprint="", message_hash=step.text, started=step.at - 0.2, ended=step.at + 0.3,
            sent=Sent.YES if answered else Sent.MAYBE, ai_contact_id=told.person.name if answered else None,
        )
    )  # fmt: skip


texts = st.sampled_from([None, "generic", "order 1", "order 2"])
apis = st.builds(
    Api,
    existing=st.sampled_from(["new_ticket", "move", "keep", "ignore", "conflict"]),
    marks=st.booleans(),
    ticket_times=st.sampled_from([True, True, False]),
    ticket_updates=st.booleans(),
    bumps=st.sampled_from([True, True, False]),
    stamps=st.sampled_from([0.0, 0.0, 0.0, 300.0, -300.0]),
    offset_known=st.sampled_from([True, True, False]),
)
moments = st.sampled_from(
    [-90000.0, -3700.0, -310.0, -300.0, -290.0, -60.0, -5.0, -1.0, 0.5, 3.0, 60.0, 299.5, 300.5, 900.0]
)
# What another ledger sends within the same seconds cannot be told from ours where marks are hidden.
apart = moments.filter(lambda at: abs(at) >= 5.0)
others = st.one_of(
    st.builds(Step, at=moments, who=st.sampled_from(["customer", "close"])),
    st.builds(Step, at=apart, who=st.just("theirs"), text=st.sampled_from([None, "theirs"])),
)
own = st.builds(
    Step, at=st.sampled_from([-90000.0, -3700.0, -60.0, -5.0, 60.0, 900.0]), who=st.just("ours"), text=texts,
    answered=st.booleans(),
)  # fmt: skip
histories = st.tuples(st.lists(others, max_size=3), st.lists(own, max_size=2, unique_by=lambda step: step.at))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Looks, Attempt, bool]:
    """Return what the looks show of an attempt at second 0, and whether it had an effect."""
    api, at = draw(apis), draw(st.sampled_from([1.0, 40.0, 700.0, 4000.0]))
    foreign, mine = draw(histories)
    doubt = Step(0.0, "ours", draw(texts), answered=False, carried_out=draw(st.booleans()))
    told = tell(api, "person", _shifted([*foreign, *mine, doubt]), NOW + at)
    [attempt] = [made for made in told.attempts if made.started == NOW - 0.2]
    witnesses = []
    for number in range(draw(st.integers(0, 3))):
        foreign, mine = draw(histories)
        step = Step(draw(st.sampled_from([-90001.0, -30.0, -2.0, 2.0, 30.0])), "ours", draw(texts))
        other = tell(api, f"witness{number}", _shifted([*foreign, *mine, step]), NOW + at)
        witnesses += _witnesses(other, api, NOW + step.at, NOW + at)
    return _looks(told, attempt, witnesses, api, NOW + at), attempt, told.effects[attempt.mark]


def _shifted(steps: list[Step]) -> list[Step]:
    return [replace(step, at=NOW + step.at) for step in steps]


def _witnesses(told: Told, api: Api, posted: float, at: float) -> list[Witness]:
    # A conflict is answered, and not with ok.
    sure = [
        attempt
        for attempt in told.attempts
        if attempt.sent == Sent.YES
        and attempt.started == posted - 0.2
        and (told.effects[attempt.mark] or api.existing != "conflict")
    ]
    info, clock = told.person.info(), Clock(0.0 if api.offset_known else None)
    return [
        Witness(
            attempt,
            info,
            shown_at=at if attempt.mark in info.marks else None,
            heard_at=at if _is_heard(attempt, told.person, clock) else None,
            found_at=at,
            searched=True,
            messages=tuple(told.person.messages),
            siblings=tuple(other for other in told.attempts if other is not attempt),
        )
        for attempt in sure
    ]


def _is_heard(attempt: Attempt, person: Person, clock: Clock) -> bool:
    return any(said.is_text(attempt.message_hash) and said.at in clock.span(attempt) for said in person.messages)


def _looks(told: Told, attempt: Attempt, witnesses: list[Witness], api: Api, at: float) -> Looks:
    info = told.person.info()
    tickets = info.tickets
    seen = [Sight(info, "same", tickets, info.marks, tuple(told.person.messages))]
    return Looks(
        at=at,
        read_at=at + 0.1,
        clock=Clock(0.0 if api.offset_known else None),
        sights=tuple(seen) if told.person.created is not None else (),
        siblings=tuple(other for other in told.attempts if other is not attempt),
        witnesses=tuple(witnesses),
    )


@settings(max_examples=400)
@given(worlds())
def test_no_finding_is_wrong(world: tuple[Looks, Attempt, bool]) -> None:
    looks, attempt, effect = world
    finding: Finding = judge(attempt, looks, young=YOUNG, patience=PATIENCE)
    event(f"{finding.verdict} {finding.evidence}")
    wrong: Any = "not_created" if effect else "created"
    assert finding.verdict != wrong, finding
