"""What a long run says of itself: one line every few seconds, never a name and never a number of a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.pacing import duration

if TYPE_CHECKING:
    from vambe_provider.delivery.report import Report

EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Writes lines about a run.

    :param report: what is counted.
    :param log: takes a line.
    :param total: number of rows, when it is known.
    """

    def __init__(self, report: Report, log: Callable[[str], None], total: int | None) -> None:
        self._report, self._log, self._total = report, log, total
        self._began = self._last = clock.now()

    def tick(self) -> None:
        """Write a line when the last one is a few seconds old."""
        if clock.now() - self._last >= EVERY:
            self._last = clock.now()
            self._log(self.line())

    def note(self, what: str) -> None:
        """Write why the run does something out of the ordinary."""
        self._log(what)

    def end(self) -> None:
        """Write the last line."""
        self._log(f"{self._report.summary()} in {duration(clock.now() - self._began)}")

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
