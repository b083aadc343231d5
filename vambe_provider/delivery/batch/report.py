"""What became of a batch: counted while it runs, said while it runs, returned to XCom at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.api.texts import iso_utc
from vambe_provider.delivery.batch.preview import preview
from vambe_provider.delivery.model import Outcome, Verdict, Withheld
from vambe_provider.delivery.rules import error_of, outcome_of
from vambe_provider.exceptions import (
    VambeConfigError,
    VambeDeliveryError,
    VambeError,
    VambeRefusedError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from vambe_provider.delivery.batch.sift import Sifted
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.model import Claim, Unsendable, Work
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.permission import Ruling

SCHEMA_VERSION = 2
MAX_ERRORS = 20
MAX_CONTACTS = 1000
MAX_PREVIEW = 20
_OPEN = (Outcome.OPENED, Outcome.RECONCILED, Outcome.ALREADY_OPENED)


@dataclass(slots=True)
class Report:
    """Counts and the first errors of one run; its size does not grow with the rows.

    :param rows: rows read from the source.
    :param counts: rows by outcome; their sum is ``rows`` unless the run was stopped.
    :param errors: the first 20 rows that were not opened, with key, kind and reason.
    :param error_kinds: how many rows failed for which kind of reason.
    :param any_rows: the source had rows, whichever share they belong to.
    :param opened_before: tickets that this Dag run opened before this try.
    :param dags: how many of the open tickets each other Dag opened.
    :param elsewhere: how many rows are open in each other account, and not in this one.
    :param policy: how many rows the contact policy held back, by reason.
    :param next_due: when the first postponed row may be sent, in UTC.
    :param preview: the first 20 rows of a dry run that the ledger would give out.
    :param changed: open tickets whose rows have other content now.
    :param contacts: the first 1,000 contacts whose tickets this run opened, in this try or an earlier one.
    :param elapsed: seconds of work; the time that a task was deferred is not in it.
    :param stopped: why the run ended before its last row; None when it did not.
    :param resume_in: seconds after which a deferrable run goes on; None at the end.
    :param waits_for_policy: it goes on when the contact policy allows the next row.
    """

    rows: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)
    errors: list[dict[str, Any]] = field(default_factory=list)
    error_kinds: Counter[str] = field(default_factory=Counter)
    any_rows: bool = False
    opened_before: int = 0
    dags: Counter[str] = field(default_factory=Counter)
    elsewhere: Counter[str] = field(default_factory=Counter)
    policy: Counter[str] = field(default_factory=Counter)
    next_due: datetime | None = None
    preview: list[dict[str, Any]] = field(default_factory=list)
    changed: int = 0
    contacts: dict[str, None] = field(default_factory=dict)
    elapsed: float = 0.0
    stopped: str | None = None
    resume_in: float | None = None
    waits_for_policy: bool = False

    def add(
        self,
        outcome: Outcome,
        *,
        key: TicketKey | None = None,
        error: VambeError | None = None,
        ai_contact_id: str | None = None,
        number: int = 0,
    ) -> None:
        """Count one row.

        :param number: which row of the source it is; 0 when that is not known.
        """
        self.counts[outcome] += 1
        if ai_contact_id and outcome in _OPEN and len(self.contacts) < MAX_CONTACTS:
            self.contacts[ai_contact_id] = None
        if error is not None:
            self.error_kinds[error.kind] += 1
            if len(self.errors) < MAX_ERRORS:
                self.errors.append({
                    "row": number,
                    "key": key.text if key else "",
                    "ticket_key": key.digest if key else "",
                    "outcome": outcome.value,
                    "kind": error.kind,
                    "reason": str(error),
                })  # fmt: skip

    def count(self, outcome: Outcome, rows: int) -> None:
        """Count rows; nothing else is to be said of them."""
        if rows:
            self.counts[outcome] += rows

    def add_rehearsed(self, work: Work, ruling: Ruling | None, *, judged: bool) -> None:
        """Count one row of a dry run that the ledger would give out.

        :param ruling: why the contact policy would hold it back.
        :param judged: whether there is a policy.
        """
        outcome = Outcome.DRY_RUN if ruling is None else ruling.outcome
        if len(self.preview) < MAX_PREVIEW:
            self.preview.append(preview(work, outcome, ruling, judged=judged))
        if ruling is None:
            self.count(outcome, 1)
        else:
            self.add_withheld(Withheld(work, ruling))

    def add_withheld(self, item: Withheld) -> None:
        """Count one row that the contact policy does not let go now."""
        ruling, key = item.ruling, item.work.key
        self.policy[ruling.reason] += 1
        if ruling.due is not None:
            self.next_due = ruling.due if self.next_due is None else min(self.next_due, ruling.due)
        told = ruling.outcome in (Outcome.REJECTED, Outcome.FAILED)
        error = ruling.error(f"Ticket {key.text}") if told else None
        self.add(ruling.outcome, key=key, error=error, number=item.work.number)

    def close(self, claim: Claim, options: DeliveryOptions) -> None:
        """Count a row that the ledger does not give out."""
        if claim.ruling is not None:
            self.add_withheld(Withheld(claim.work, claim.ruling))
            return
        contact = claim.ai_contact_id if claim.same_run else None
        end, error = outcome_of(claim.verdict), error_of(claim, options)
        self.add(end, key=claim.work.key, error=error, ai_contact_id=contact, number=claim.work.number)
        self.note_open(claim)

    def add_known(self, found: Sifted, key: Callable[[Sequence[object]], TicketKey]) -> None:
        """Count the rows of a chunk that the ledger decides.

        :param key: returns the key of a row, for those that are named.
        """
        for row, verdict in found.refused:
            found.known[verdict] -= 1
            self.add(outcome_of(verdict), key=key(row.values), error=_REFUSED_BEFORE, number=row.number)
        for verdict, rows in found.known.items():
            self.count(outcome_of(verdict), rows)
        self.opened_before += len(found.here)
        self.dags.update(found.dags)
        self.elsewhere.update(found.elsewhere)

    @property
    def room_for_contacts(self) -> int:
        """How many more contacts the report takes."""
        return MAX_CONTACTS - len(self.contacts)

    def add_contacts(self, contacts: Sequence[str]) -> None:
        """Note contacts whose tickets an earlier try of this run opened."""
        self.contacts.update(dict.fromkeys(contacts))

    def add_refused(self, row: Unsendable, verdict: Verdict) -> None:
        """Count a row that validation refused, by what the ledger says of its ticket."""
        if verdict == Verdict.OPENED:
            self.add(Outcome.ALREADY_OPENED, key=row.key)
            return
        self.add(outcome_of(verdict), key=row.key, error=row.error, number=row.number)

    def note_open(self, claim: Claim) -> None:
        """Note what is worth saying about a ticket that was open before."""
        if claim.verdict != Verdict.OPENED:
            return
        self.opened_before += claim.same_run
        self.changed += claim.changed
        if claim.dag and not claim.same_run:
            self.dags[claim.dag] += 1

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return sum(self.counts.values())

    def merge(self, earlier: dict[str, Any] | None) -> None:
        """Add the numbers of an earlier part of the same run, as :meth:`to_json` gave them before a deferral.

        This part read the source from its beginning, so it has met the rows of the earlier one again: those that were
        opened then as already open, as it has the copies of them that were doubles then. Each is counted once, under
        what happened to it first.

        :param earlier: that part, itself merged with those before it; None when there was none.
        """
        if not earlier:
            return
        before = Counter({Outcome(name): count for name, count in earlier["counts"].items()})
        for outcome in (Outcome.OPENED, Outcome.RECONCILED):
            # A row that the source no longer returns was a row of this run all the same.
            self.rows += before[outcome] - self._take(before[outcome])
            self.counts[outcome] += before[outcome]
        for outcome in (Outcome.DUPLICATE, Outcome.CONFLICT):
            self.counts[outcome] += self._take(before[outcome] - self.counts[outcome])
        # Of a row that was refused in the earlier part, this one knows only that it was.
        reasons = {(error["ticket_key"], error["outcome"]): error for error in earlier["errors"] if error["ticket_key"]}
        self.errors = [reasons.get((error["ticket_key"], error["outcome"]), error) for error in self.errors]
        self.contacts = dict.fromkeys([*earlier["ai_contact_ids"], *self.contacts][:MAX_CONTACTS])
        self.elapsed += earlier["elapsed_seconds"]

    def _take(self, wanted: int) -> int:
        """Take rows out of those that were open already, and return how many there were to take."""
        taken = max(0, min(wanted, self.counts[Outcome.ALREADY_OPENED]))
        self.counts[Outcome.ALREADY_OPENED] -= taken
        return taken

    def advanced(self, earlier: dict[str, Any] | None) -> bool:
        """Say whether this part of a run came further than the one before it; to be asked before :meth:`merge`."""
        refused = earlier["counts"][Outcome.REJECTED] if earlier else 0
        opened = self.counts[Outcome.OPENED] + self.counts[Outcome.RECONCILED]
        return opened > 0 or self.counts[Outcome.REJECTED] > refused

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, with all outcomes present."""
        sent = self.counts[Outcome.OPENED] + self.counts[Outcome.RECONCILED]
        return {
            "schema_version": SCHEMA_VERSION,
            "rows": self.rows,
            "counts": {outcome.value: self.counts[outcome] for outcome in Outcome},
            "errors": list(self.errors),
            "opened_by_other_dags": dict(self.dags),
            "open_in_other_accounts": dict(self.elsewhere),
            "policy": dict(self.policy),
            "next_due": iso_utc(self.next_due) if self.next_due is not None else None,
            "preview": list(self.preview),
            "error_kinds": dict(self.error_kinds),
            "ai_contact_ids": list(self.contacts),
            "elapsed_seconds": round(self.elapsed, 3),
            "rows_per_second": round(self.done / self.elapsed, 2) if self.elapsed else 0.0,
            "tickets_per_second": round(sent / self.elapsed, 2) if self.elapsed else 0.0,
            "stopped": self.stopped,
        }

    def summary(self) -> str:
        """Return the counts in one line, without those that are zero."""
        parts = [
            f"{self.counts[outcome]:,} {outcome.value.replace('_', ' ')}" for outcome in Outcome if self.counts[outcome]
        ]
        return ", ".join(parts) or "no rows"

    def verdict(
        self, max_rejected: str | float = 0, *, conn_id: str = "CONN_ID", page: str | None = None
    ) -> VambeError | None:
        """Return why the task has to fail, or None.

        :param max_rejected: rejected rows that are tolerated: a number, or a share as ``"5%"`` of the rows.
        :param conn_id: the connection of the ledger, for commands in texts.
        :param page: the address where the unknown ones are listed; None without a page.
        :return: an error that is ``permanent`` when a task retry could not change anything.
        """
        unknown, failed, held = (self.counts[o] for o in (Outcome.UNKNOWN, Outcome.FAILED, Outcome.HELD))
        rejected = self.counts[Outcome.REJECTED] + self.counts[Outcome.CONFLICT]
        if self.stopped or failed or held:
            what = f"{failed:,} rows could not be sent" if failed else f"{held:,} rows are held by another task"
            return VambeDeliveryError(
                f"{self.stopped or what} ({self.summary()})",
                said=self._first(Outcome.FAILED),
                fix="Nothing is lost: the next try goes on with the rows that are left.",
            )
        if unknown:
            return VambeUnknownOutcomeError(
                f"{unknown:,} tickets may exist, and no check could tell ({self.summary()})",
                fix=f"Decide {f'at {page} or ' if page else ''}with `python -m vambe_provider ledger list --conn-id "
                f"{conn_id} --state unknown`, then `ledger resolve --conn-id {conn_id} KEY --sent` or `--not-sent`.",
            )
        if rejected > allowed(max_rejected, self.rows):
            error = VambeDeliveryError(
                f"{rejected:,} rows were rejected or in conflict, max_rejected is {max_rejected} ({self.summary()}); "
                f"first: {self._first(Outcome.REJECTED) or self._first(Outcome.CONFLICT) or 'no reason'}",
                fix="Correct the data; rejected rows are tried again when they change. All other rows are done.",
            )
            error.permanent = True
            return error
        return None

    def _first(self, outcome: Outcome) -> str | None:
        return next((error["reason"] for error in self.errors if error["outcome"] == outcome.value), None)


def allowed(max_rejected: str | float, rows: int) -> float:
    """Return how many rows may be rejected.

    :raises VambeConfigError: when the value is neither a number nor a percentage.
    """
    text = str(max_rejected).strip()
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not value >= 0 or (text.endswith("%") and value > 100):
        raise VambeConfigError(
            f"max_rejected: {text[:20]!r} is neither a number nor a percentage", fix='Write 20 or "5%".'
        )
    return value / 100 * rows if text.endswith("%") else value


_REFUSED_BEFORE = VambeRefusedError("It was refused before and has not changed since")
