"""Recording a person's decisions within one transaction: each is a row among the attempts, closes the attempt that was
in doubt, and changes the ticket's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vambe_provider.delivery.key import TicketKey, printable
from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.changes import id_of
from vambe_provider.delivery.ledger.claiming import attempt_row
from vambe_provider.delivery.ledger.decisions import PERSON, Case, Choice, check, decided, verdict_of
from vambe_provider.delivery.ledger.tables import MAX_NAME, attempts
from vambe_provider.delivery.ledger.tickets import Tickets, change, close, to_attempt
from vambe_provider.delivery.model import Attempt, Origin, Reason, Sent
from vambe_provider.exceptions import VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Database, Transaction
    from vambe_provider.delivery.ledger.entry import Entry
    from vambe_provider.delivery.rules import Known

_DOUBTED = sa.select(*(attempts.c[name] for name in statements.ATTEMPT)).where(
    attempts.c.ticket_key.in_(sa.bindparam("k_ticket_key", expanding=True)),
    attempts.c.sent != Sent.YES.value,
    # A person may have ruled a ticket out without knowing whether it exists.
    sa.or_(
        attempts.c.closed_at.is_(None),
        sa.and_(attempts.c.sent == Sent.MAYBE.value, attempts.c.evidence == PERSON),
    ),
)


def decide(
    tx: Transaction,
    database: Database,
    entries: Sequence[Entry],
    choice: Choice,
    *,
    owner: str,
    decided_by: str,
    force: bool = False,
    ai_contact_id: str | None = None,
) -> None:
    """Record a decision about tickets: about all of them or, when it does not fit to one, about none.

    :param owner: who writes it; tickets that it has written already are left as they are.
    :raises VambeLedgerError: when the decision does not fit to what is known of a ticket by now.
    """
    for account, group in _by_account(entries):
        keys = {one.ticket_key: TicketKey(one.namespace, one.ticket_key, one.key_text) for one in group}
        tickets = Tickets(tx, database.dialect, [keys[digest] for digest in sorted(keys)], account, lock=True)
        doubted = _doubted(tx, sorted(keys), account)
        closed, made = [], []
        for digest, key in keys.items():
            known = tickets.own(digest)
            if known is not None and known.owner == owner:
                continue  # by a commit whose answer was lost
            case = _case(tx, database, key, known, doubted.get(digest))
            check(case, choice, force=force)
            after = decided(case, choice, owner=owner, ai_contact_id=ai_contact_id)
            tickets.become(digest, after)
            made.append(_decision(tx, key, after, choice, decided_by, ai_contact_id))
            if case.doubted is not None:
                closed.append(_closed(tx, case.doubted, choice, ai_contact_id))
        change(tx, database.dialect, attempts, closed)
        if made:
            tx.connection.execute(*statements.add(database.dialect, attempts, made))
        tickets.write()


def recorded(tx: Transaction, database: Database, entry: Entry, choice: Choice) -> bool:
    """Say whether a decision fits to what is recorded of a ticket."""
    key = TicketKey(entry.namespace, entry.ticket_key, entry.key_text)
    known = Tickets(tx, database.dialect, [key], entry.account).own(entry.ticket_key)
    try:
        case = _case(tx, database, key, known, _doubted(tx, [entry.ticket_key], entry.account).get(entry.ticket_key))
        check(case, choice, force=True)
    except VambeLedgerError:
        return False
    return True


def _by_account(entries: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for account, group in groupby(sorted(entries, key=lambda one: one.account), key=lambda one: one.account):
        yield account, list(group)


def _case(tx: Transaction, database: Database, key: TicketKey, known: Known | None, doubted: Attempt | None) -> Case:
    if known is None:
        raise VambeLedgerError(f"{key.text} was forgotten at this moment", fix="Nothing is left to decide.")
    return Case(key.text, known, doubted, tx.now, lambda name: f"{database.command(name)} {key.digest}")


def _doubted(tx: Transaction, keys: Sequence[str], account: str) -> dict[str, Attempt]:
    found: dict[str, Attempt] = {}
    for begin in range(0, len(keys), statements.KEYS_AT_ONCE):
        given = {"k_ticket_key": list(keys[begin : begin + statements.KEYS_AT_ONCE])}
        for row in tx.connection.execute(_DOUBTED, given):
            before = found.get(row.ticket_key)
            if row.account == account and (before is None or row.number > before.number):
                found[row.ticket_key] = to_attempt(tx, row)
    return found


def _closed(tx: Transaction, attempt: Attempt, choice: Choice, ai_contact_id: str | None) -> statements.Row:
    sent = verdict_of(choice)
    contact = None if sent == Sent.NO else id_of(ai_contact_id) or attempt.ai_contact_id
    evidence_id = None if sent == Sent.NO else attempt.evidence_id
    return close(
        attempt,
        closed_at=tx.now,
        sent=sent.value,
        evidence=PERSON,
        evidence_id=evidence_id,
        ai_contact_id=contact,
    )


def _decision(
    tx: Transaction, key: TicketKey, after: Known, choice: Choice, decided_by: str, ai_contact_id: str | None
) -> statements.Row:
    dag, _, run = after.dag_run.partition("/")
    attempt = Attempt(
        ticket_key=key.digest,
        namespace=key.namespace,
        account=after.account,
        number=after.attempts,
        generation=after.generation,
        reason=Reason.DECISION,
        person="",
        fingerprint="",
        message_hash=None,
        started=tx.here(tx.now),
        ended=tx.here(tx.now),
        sent=Sent.NO,
    )
    more: dict[str, Any] = {
        "ended_at": tx.now,
        "closed_at": tx.now,
        "evidence": PERSON,
        "ai_contact_id": id_of(ai_contact_id),
        "decision": choice.value,
        "decided_by": printable(decided_by.strip())[:MAX_NAME] or None,
    }
    origin = Origin(dag, "", run, try_number=0)
    return attempt_row(attempt, origin, "", after.owner or "", tx.now, tx.now) | more
