"""What became of a batch: counted while it runs, returned to XCom at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.delivery.model import Outcome
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeError, VambeUnknownOutcomeError

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey

SCHEMA_VERSION = 1
MAX_ERRORS = 20
MAX_CONTACTS = 1000
_OPEN = (Outcome.OPENED, Outcome.RECONCILED, Outcome.ALREADY_OPENED)


@dataclass(slots=True)
class Report:
    """Counts and the first errors of one run; its size does not grow with the rows.

    :param rows: rows read from the source.
    :param counts: rows by outcome; their sum is ``rows`` unless the run was stopped.
    :param errors: the first 20 rows that were not opened, with key, kind and reason.
    :param error_kinds: how many rows failed for which kind of reason.
    :param contacts: the first 1,000 contacts whose tickets this run opened, in this try or an earlier one.
    :param elapsed: seconds of work; the time that a task was deferred is not in it.
    :param stopped: why the run ended before its last row; None when it did not.
    :param resume_in: seconds after which a deferrable run goes on; None at the end.
    """

    rows: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)
    errors: list[dict[str, str]] = field(default_factory=list)
    error_kinds: Counter[str] = field(default_factory=Counter)
    contacts: dict[str, None] = field(default_factory=dict)
    elapsed: float = 0.0
    stopped: str | None = None
    resume_in: float | None = None

    def add(
        self,
        outcome: Outcome,
        *,
        key: TicketKey | None = None,
        error: VambeError | None = None,
        ai_contact_id: str | None = None,
    ) -> None:
        """Count one row."""
        self.counts[outcome] += 1
        if ai_contact_id and outcome in _OPEN and len(self.contacts) < MAX_CONTACTS:
            self.contacts[ai_contact_id] = None
        if error is not None:
            self.error_kinds[error.kind] += 1
            if len(self.errors) < MAX_ERRORS:
                self.errors.append({
                    "key": key.text if key else "",
                    "ticket_key": key.digest if key else "",
                    "outcome": outcome.value,
                    "kind": error.kind,
                    "reason": str(error),
                })  # fmt: skip

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

    def verdict(self, max_rejected: str | float = 0) -> VambeError | None:
        """Return why the task has to fail, or None.

        :param max_rejected: rejected rows that are tolerated: a number, or a share as ``"5%"`` of the rows.
        :return: an error that is ``permanent`` when a task retry could not change anything.
        """
        rejected, unknown, failed = (self.counts[o] for o in (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.FAILED))
        if self.stopped or failed:
            return VambeDeliveryError(
                f"{self.stopped or f'{failed:,} rows could not be sent'} ({self.summary()})",
                said=self._first(Outcome.FAILED),
                fix="Nothing is lost: the next try goes on with the rows that are left.",
            )
        if unknown:
            return VambeUnknownOutcomeError(
                f"{unknown:,} tickets may exist, and no check could tell ({self.summary()})",
                fix="Look them up with `python -m vambe_provider ledger list --state unknown`, then `ledger resolve`.",
            )
        if rejected > allowed(max_rejected, self.rows):
            error = VambeDeliveryError(
                f"{rejected:,} rows were rejected, max_rejected is {max_rejected} ({self.summary()}); "
                f"first: {self._first(Outcome.REJECTED) or 'no reason'}",
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
