"""What a person may decide about a ticket on the page, and having it recorded in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vambe_provider.delivery.ledger.admin import LedgerAdmin
from vambe_provider.delivery.ledger.decisions import Choice
from vambe_provider.delivery.model import Evidence, Sent, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from vambe_provider.delivery.ledger.entry import Entry, Step


@dataclass(frozen=True, slots=True)
class Words:
    """How the page words a decision.

    :param label: on its button.
    :param title: the question before it is carried out.
    :param text: what follows from it.
    :param done: what is said afterwards, behind the ticket or the number of tickets.
    """

    label: str
    title: str
    text: str
    done: str


WORDS: dict[str, Words] = {
    Choice.SENT: Words(
        "It was sent",
        "Record that it was sent?",
        "You have seen the ticket in Vambe. It counts as opened, and no run sends it again.",
        "recorded as sent",
    ),
    Choice.NOT_SENT: Words(
        "It was not sent",
        "Record that it was not sent?",
        "You have looked in Vambe, and there is no ticket. The next run that returns the row sends it. If the ticket "
        "exists after all, the person is messaged twice.",
        "recorded as not sent; the next run that returns the row sends it",
    ),
    Choice.RETRY: Words(
        "Try again",
        "Try it again?",
        "The next run that returns the row tries it again, also when its data did not change.",
        "to be tried again by the next run that returns the row",
    ),
    Choice.NEVER: Words(
        "Never again",
        "Never send it?",
        "No run sends this ticket any more, whatever the query returns. You can take this back later.",
        "never sent any more",
    ),
}

_ALLOWED: dict[str, tuple[Choice, ...]] = {
    State.UNKNOWN: (Choice.SENT, Choice.NOT_SENT, Choice.NEVER),
    State.SENDING: (Choice.SENT, Choice.NOT_SENT),
    State.REJECTED: (Choice.RETRY, Choice.NEVER),
    # It is tried again anyway.
    State.FAILED: (Choice.NEVER,),
    State.POSTPONED: (Choice.NEVER,),
    State.SUPPRESSED: (Choice.NEVER,),
    # It stays open.
    State.OPENED: (),
}
"""What may be decided in each state; the ledger itself checks it again, with all that it knows."""


def allowed(ticket: Entry, now: datetime, steps: Iterable[Step] | None = None) -> tuple[Choice, ...]:
    """Return what may be decided about a ticket.

    :param now: the ledger's clock; while a worker holds a ticket nobody decides about it.
    :param steps: its attempts. Without them nothing can be decided about a ticket that a person ruled out before.
    """
    if ticket.state == State.SENDING and ticket.lease_until is not None and ticket.lease_until > now:
        return ()
    if ticket.state == State.SUPPRESSED and ticket.evidence == Evidence.PERSON:
        if steps is None:
            return ()
        return (Choice.SENT, Choice.NOT_SENT) if any(map(_is_doubted, steps)) else (Choice.RETRY,)
    return _ALLOWED.get(ticket.state, ())


def _is_doubted(step: Step) -> bool:
    """Say whether an attempt may have created something, and nobody has found out."""
    if step.sent == Sent.YES:
        return False
    return step.closed_at is None or (step.sent == Sent.MAYBE and step.evidence == Evidence.PERSON)


def carry_out(
    engine: sa.engine.Engine,
    conn_id: str,
    choice: Choice,
    tickets: Sequence[Entry],
    *,
    decided_by: str,
    ai_contact_id: str | None = None,
) -> None:
    """Record a decision in the ledger: about all of these tickets, or about none.

    :param tickets: of one namespace and one account.
    :param decided_by: the name of who decided.
    :param ai_contact_id: the contact of a ticket that was sent, when the person knows it.
    :raises VambeError: when the ledger refuses it, since a ticket changed meanwhile.
    """
    admin = LedgerAdmin(engine, conn_id)
    keys = [ticket.ticket_key for ticket in tickets]
    namespace, account = tickets[0].namespace, tickets[0].account
    match choice:
        case Choice.SENT | Choice.NOT_SENT:
            admin.resolve(
                keys,
                sent=choice == Choice.SENT,
                decided_by=decided_by,
                namespace=namespace,
                account=account,
                ai_contact_id=ai_contact_id if choice == Choice.SENT else None,
            )
        case Choice.RETRY:
            admin.retry(keys, decided_by=decided_by, namespace=namespace, account=account)
        case Choice.NEVER:
            admin.never(keys, decided_by=decided_by, namespace=namespace, account=account)
