"""The ledger in a PostgreSQL, MySQL, MariaDB or SQLite database.

The rows of the tickets in question are locked and read, :mod:`~vambe_provider.delivery.rules` says what may be done
with them and :mod:`~vambe_provider.delivery.ledger.changes` what they become, and what differs then is written. A
ticket that nobody knows has no row to lock: two rivals for it, and two tickets to one person, meet at the attempt that
is recorded before anything is sent, which only one of them can insert.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.changes import answer, refused, seeded, withheld
from vambe_provider.delivery.ledger.claiming import Terms, attempt_row
from vambe_provider.delivery.ledger.database import Database
from vambe_provider.delivery.ledger.exchange import exchange
from vambe_provider.delivery.ledger.judging import look
from vambe_provider.delivery.ledger.suppressions import read_imported, read_suppressed
from vambe_provider.delivery.ledger.tables import MAX_ACCOUNT
from vambe_provider.delivery.ledger.tickets import Tickets, begin, read_attempts, read_known, state_of, to_attempt
from vambe_provider.delivery.ledger.upgrade import ensure_tables
from vambe_provider.delivery.model import Attempt, Evidence, Reason, Sent, State, Verdict
from vambe_provider.delivery.rules import Glimpse, decide, refuse
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from vambe_provider.contact_policy.suppression import Suppressed
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.model import Claim, Settlement, Unsendable, Withheld, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons

NEIGHBOURS = 3600.0
"""Seconds before an attempt in which others to its person may explain what is found."""
MAX_SIBLINGS, MAX_BEFORE, MAX_EARLIER, MAX_WITNESSES, WITNESSES_AMONG = 1000, 20, 20, 40, 500

_WITNESSES = statements.witnesses(among=WITNESSES_AMONG, limit=MAX_WITNESSES)


class SqlLedger:
    """The ledger's tables in a database.

    :param engine: an engine of this ledger's own; its transactions become ``READ COMMITTED``, on SQLite WAL.
    :param persons: makes the hashes of persons; refused when the ledger was begun with another secret.
    :param create: make the tables when they are missing.
    :param conn_id: the connection that the engine came from, for commands in texts.
    :raises VambeLedgerError: when the database cannot be reached or cannot hold a ledger, or when the tables are
        missing and may not be made, or are of another version.
    :raises VambeConfigError: when ``person_secret`` is another one than when the ledger was begun.
    """

    def __init__(
        self, engine: sa.engine.Engine, persons: Persons, *, create: bool = True, conn_id: str | None = None
    ) -> None:
        self._database = Database(engine, conn_id)
        self._dialect = self._database.dialect
        self._me = uuid4().hex[:16]
        self._counter = itertools.count()
        self._unanswered: str | None = None
        ensure_tables(self._database, persons, create=create)

    def close(self) -> None:
        """Give the connections back."""
        self._database.engine.dispose()

    @property
    def me(self) -> str:
        """The beginning of every ``owner`` that this try writes."""
        return self._me

    @property
    def epoch(self) -> int:
        """Counts the jumps of the ledger's clock; a claim of an earlier epoch must not be posted."""
        return self._database.epoch

    def glimpses(self, namespace: str, digests: Sequence[str]) -> Mapping[str, Sequence[Glimpse]]:
        """Return what is known of these keys, in every account; unknown keys are left out.

        :param namespace: of no interest here, since a digest is made of it too.
        """

        def read(tx: Transaction) -> dict[str, list[Glimpse]]:
            found: dict[str, list[Glimpse]] = {}
            for statement in statements.glimpses(self._dialect, digests):
                for digest, account, state, owner, dag_run, row_hash in tx.connection.execute(*statement):
                    row = Glimpse(account, state_of(state), owner, dag_run, row_hash)
                    if digest in found:
                        found[digest].append(row)
                    else:
                        found[digest] = [row]
            return found

        return self._database.read(read) if digests else {}

    def look_up(self, works: Sequence[Work], options: DeliveryOptions) -> list[Claim]:
        """Say what would become of these tickets, and change nothing."""

        def read(tx: Transaction) -> list[Claim]:
            known = read_known(tx, self._dialect, sorted(work.key.digest for work in works))
            again = [work.key.digest for work in works if options.recalls and work.key.digest in known]
            made = read_attempts(tx, self._dialect, again, options)
            claims = []
            for work in works:
                rows = known.get(work.key.digest, ())
                mine = [one for one, _ in made.get(work.key.digest, ()) if one.dag_run == options.origin.dag_run]
                decision = decide(rows, work, options, me=self._me, now=tx.now, mine=mine)
                claims.append(answer(work, rows, decision, options))
            return look(tx, self._dialect, claims, options)

        return self._database.read(read) if works else []

    def exchange(
        self, settle: Sequence[Settlement], claim: Sequence[Work], options: DeliveryOptions, lease: float
    ) -> list[Claim]:
        """Record what became of earlier claims, then claim these tickets for ``lease`` seconds, in one transaction."""
        _check_account(options.account)
        # When the answer to a commit was lost, the next try must recognise its own rows: so a name is only given up
        # after a success, also when it is the caller who tries again.
        owner, self._unanswered = self._unanswered or f"{self._me}.{next(self._counter)}", None

        def write(tx: Transaction) -> list[Claim]:
            terms = Terms(options, self._me, owner, lease, tx.began + lease, self._database.epoch)
            return exchange(tx, self._dialect, settle, claim, terms)

        try:
            return self._database.write(write)
        except VambeLedgerError:
            self._unanswered = owner
            raise

    def reject(self, rows: Sequence[Unsendable], options: DeliveryOptions) -> list[Verdict]:
        """Record rows that validation refused, and say what they are; what is recorded already is not written again."""
        _check_account(options.account)
        keyed = [row for row in rows if row.key is not None]

        def judge(tx: Transaction, *, lock: bool) -> tuple[Tickets, list[Verdict], bool]:
            keys = [row.key for row in keyed if row.key is not None]
            tickets = Tickets(tx, self._dialect, keys, options.account, lock=lock)
            verdicts, changed = [], False
            for row in rows:
                known = tickets.own(row.key.digest) if row.key else None
                verdict = refuse(known, row.row_hash, options, me=self._me)
                verdicts.append(verdict)
                recorded = known is not None and known.state == State.REJECTED and known.row_hash == row.row_hash
                if row.key is not None and verdict == Verdict.REJECTED and not recorded:
                    tickets.become(row.key.digest, refused(known, row, options, owner=f"{self._me}.r"))
                    changed = True
            return tickets, verdicts, changed

        def write(tx: Transaction) -> list[Verdict]:
            tickets, verdicts, _ = judge(tx, lock=True)
            tickets.write()
            return verdicts

        if not keyed:
            return [Verdict.REJECTED for _ in rows]
        _, verdicts, changed = self._database.read(lambda tx: judge(tx, lock=False))
        return self._database.write(write) if changed else verdicts

    def withhold(self, items: Sequence[Withheld], options: DeliveryOptions) -> list[bool]:
        """Record tickets that a contact policy does not let go now, and say of each whether this try did so for the
        first time; what is recorded already is not written again.
        """
        _check_account(options.account)
        owner = f"{self._me}.p{next(self._counter)}"

        def write(tx: Transaction) -> list[bool]:
            tickets = Tickets(tx, self._dialect, [item.work.key for item in items], options.account, lock=True)
            first, seen = [], set()
            for item in items:
                digest, until = item.work.key.digest, item.ruling.decision.until
                known = tickets.own(digest)
                by_us = known is not None and (known.owner or "").startswith(f"{self._me}.p") and known.owner != owner
                first.append(digest not in seen and not by_us)
                seen.add(digest)
                due = None if until is None else tx.there(until.timestamp())
                tickets.become(digest, withheld(known, item, options, owner=owner, due=due))
            tickets.write()
            return first

        return self._database.write(write) if items else []

    def first_seen(self, digests: Sequence[str], options: DeliveryOptions) -> Mapping[str, float]:
        """Return when tickets came into this account's ledger, in seconds of this machine's UTC clock."""

        def read(tx: Transaction) -> dict[str, float]:
            found = statements.first_seen(self._dialect, sorted(digests))
            rows = [row for statement in found for row in tx.connection.execute(*statement)]
            return {digest: tx.here(created) for digest, account, created in rows if account == options.account}

        return self._database.read(read) if digests else {}

    def suppressed(self, persons: Sequence[str]) -> Mapping[str, tuple[Suppressed, ...]]:
        """Return what the ledger's own list of opt-outs holds about these persons; those who are not on it are left
        out. A claim reads it again.
        """
        return self._database.read(lambda tx: read_suppressed(tx, self._dialect, persons)) if persons else {}

    def list_imported(self) -> datetime | None:
        """Return when a list of opt-outs was imported last, with its time zone; None when none was."""
        return self._database.read(read_imported)

    def seed(self, keys: Sequence[TicketKey], options: DeliveryOptions) -> int:
        """Record tickets as open that this account does not know, send nothing, and return how many."""
        _check_account(options.account)
        given = {key.digest: key for key in keys}
        owner = f"{self._me}.s{next(self._counter)}"

        def write(tx: Transaction) -> int:
            tickets = Tickets(tx, self._dialect, list(given.values()), options.account, lock=True)
            rows = [
                attempt_row(_seed(key, options), options.origin, options.sender, owner, tx.now, tx.now)
                | {"closed_at": tx.now, "evidence": Evidence.SEEDED.value}
                for key in given.values()
                if tickets.own(key.digest) is None
            ]
            made = begin(tx, self._dialect, rows, owner)
            for digest in made:
                tickets.become(digest, seeded(options, owner=owner))
            tickets.write()
            return len(made)

        return self._database.write(write) if given else 0

    def opened(self, key: TicketKey, options: DeliveryOptions) -> Attempt | None:
        """Return the attempt that opened the newest open generation of a ticket in this account."""

        def read(tx: Transaction) -> Attempt | None:
            # Also of other Dag runs: a later one asks which ticket an earlier one has opened.
            found = statements.all_attempts_of(self._dialect, [key.digest])
            rows = [row for statement in found for row in tx.connection.execute(*statement)]
            made = [to_attempt(tx, row) for row in rows if row.account == options.account]
            sent = [attempt for attempt in made if attempt.sent == Sent.YES]
            return max(sent, key=lambda attempt: attempt.generation, default=None)

        return self._database.read(read)

    def contacts(self, namespace: str, digests: Sequence[str], options: DeliveryOptions) -> list[str]:
        """Return the contacts of open tickets in this account."""

        def read(tx: Transaction) -> list[str]:
            known = read_known(tx, self._dialect, sorted(digests))
            rows = (row for digest in digests for row in known.get(digest, ()) if row.account == options.account)
            return [row.ai_contact_id for row in rows if row.ai_contact_id]

        return self._database.read(read) if digests else []

    def siblings(self, attempt: Attempt) -> list[Attempt]:
        """Return the attempts in the attempt's account at other tickets or generations that were addressed to its
        person and surely or maybe sent: those from an hour before it until now, since what came later may hide it, and
        the last ones before that, which tell what the contact was like.
        """

        def read(tx: Transaction) -> list[Attempt]:
            given = _about(attempt) | {
                "c_ticket_key": attempt.ticket_key,
                "c_generation": attempt.generation,
                "c_earliest": tx.there(attempt.started - NEIGHBOURS),
            }
            rows = [
                *tx.connection.execute(statements.SIBLINGS_SINCE, given | {"c_limit": MAX_SIBLINGS}),
                *tx.connection.execute(statements.SIBLINGS_BEFORE, given | {"c_limit": MAX_BEFORE}),
            ]
            return [to_attempt(tx, row) for row in rows]

        return self._database.read(read)

    def witnesses(self, attempt: Attempt) -> list[Attempt]:
        """Return some of the newest attempts in the attempt's account that were surely sent by themselves to other
        persons whose contact is known; newest first, some dozens, so that some are of the attempt's kind.
        """
        return self._database.read(
            lambda tx: [to_attempt(tx, row) for row in tx.connection.execute(_WITNESSES, _about(attempt))]
        )

    def earlier(self, attempt: Attempt) -> list[str]:
        """Return the contacts that the ledger knows for the attempt's person in its account, newest first."""

        def read(tx: Transaction) -> list[str]:
            found = tx.connection.scalars(statements.EARLIER, _about(attempt) | {"c_limit": MAX_EARLIER})
            return list(dict.fromkeys(found))

        return self._database.read(read)


def _about(attempt: Attempt) -> dict[str, object]:
    return {"c_account": attempt.account, "c_person": attempt.person}


def _seed(key: TicketKey, options: DeliveryOptions) -> Attempt:
    return Attempt(
        ticket_key=key.digest,
        namespace=key.namespace,
        account=options.account,
        number=1,
        generation=0,
        reason=Reason.SEED,
        person="",
        fingerprint="",
        message_hash=None,
        started=clock.utc(),
        ended=clock.utc(),
        sent=Sent.NO,
    )


def _check_account(account: str) -> None:
    if not account or len(account) > MAX_ACCOUNT:
        raise VambeConfigError(
            f"The account of the Vambe connection has {len(account)} characters; the ledger takes 1 to {MAX_ACCOUNT}",
            fix="Shorten `account` in the connection's extra.",
        )
