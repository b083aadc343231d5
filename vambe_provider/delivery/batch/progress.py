"""What a batch says of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.decide import outside_courtesy_hours, person_of
from vambe_provider.delivery import clock
from vambe_provider.delivery.pace.rate import duration

if TYPE_CHECKING:
    from datetime import datetime

    from vambe_provider.delivery.batch.report import Report

EVERY = 5.0
"""Seconds between two lines of progress."""


class Progress:
    """What a long run says of itself: one line every few seconds, never a name and never a number of a person.

    :param report: what is counted.
    :param log: takes a line.
    :param total: number of rows, when it is known.
    :param warn: takes a line that somebody should act on.
    """

    def __init__(
        self,
        report: Report,
        log: Callable[[str], None],
        total: int | None,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._report, self._log, self._total, self._warn = report, log, total, warn
        self._began = self._last = clock.now()
        self._looked = False
        self._warned = False

    def first_look(self, report: Report) -> None:
        """Say once, at the start, what the first look into the ledger shows of other accounts and Dags."""
        if self._looked:
            return
        self._looked = True
        for account, rows in report.elsewhere.items():
            self._log(
                f"{rows:,} of the first rows are open in the account {account}; they are not open in this account, "
                "and are sent"
            )
        for dag, rows in report.dags.items():
            self._log(f"{rows:,} of the first rows were opened by the Dag {dag}; they are left alone")

    def before_sending(self, numbers: Sequence[str], now: datetime) -> None:
        """Warn once when people would be messaged at hours at which nobody wants to be.

        :param numbers: of the next people, in E.164 form.
        """
        if self._warned:
            return
        outside = sum(outside_courtesy_hours(person_of(number), now) for number in numbers)
        if outside:
            self._warned = True
            self._warn(
                f"For {outside:,} of the next {len(numbers):,} tickets it is not between 8:00 and 21:00 where the "
                "number belongs, or nobody knows; they are not held back. Move the schedule, or restrict the query"
            )

    def tick(self) -> None:
        """Write a line when the last one is a few seconds old."""
        if clock.now() - self._last >= EVERY:
            self._last = clock.now()
            self._log(self.line())

    def note(self, what: str) -> None:
        """Write why the run does something out of the ordinary."""
        self._log(what)

    def end(self) -> None:
        """Write the last lines."""
        self._log(f"{self._report.summary()} in {duration(clock.now() - self._began)}")
        if self._report.policy:
            reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in self._report.policy.most_common())
            due = self._report.next_due
            first = f"; the first may be sent at {due:%Y-%m-%d %H:%M:%S} UTC" if due is not None else ""
            self._log(f"Held back by the contact policy: {reasons}{first}")
        for dag, rows in self._report.dags.items():
            self._log(f"{rows:,} tickets were opened by the Dag {dag} before; nothing was sent for them")
        if self._report.changed:
            self._log(
                f"{self._report.changed:,} open tickets have rows with other content now; nothing was sent for them"
            )

    def line(self) -> str:
        """Return where the run stands: done of total, rate, what went wrong, time left."""
        done, seconds = self._report.done, max(clock.now() - self._began, 1e-9)
        parts = [
            f"{done:,} of {self._total:,} rows" if self._total else f"{done:,} rows",
            f"{done / seconds:,.1f} rows/s",
        ]
        parts.append(self._report.summary())
        if self._total and done:
            parts.append(f"{duration(max(0, self._total - done) * seconds / done)} left")
        return " · ".join(parts)
