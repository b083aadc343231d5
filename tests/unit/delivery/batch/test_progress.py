from __future__ import annotations

from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.batch.progress import EVERY, Progress
from vambe_provider.delivery.batch.report import Report
from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    import pytest


class Watched:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int | None) -> None:
        self.now = 50.0
        monkeypatch.setattr(clock, "now", lambda: self.now)
        self.report, self.lines = Report(), list[str]()
        self.progress = Progress(self.report, self.lines.append, total)

    def opens(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.report.add(Outcome.OPENED)
        self.now += seconds
        self.progress.tick()


def test_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, total=1000)
    for _ in range(10):
        watched.opens(10, EVERY / 5)
    assert watched.lines == ["50 of 1,000 rows · 10.0 rows/s · 50 opened · 1 min 35 s left",
                             "100 of 1,000 rows · 10.0 rows/s · 100 opened · 1 min 30 s left"]  # fmt: skip


def test_without_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, total=None)
    watched.opens(50, EVERY)
    assert watched.lines == ["50 rows · 10.0 rows/s · 50 opened"]


def test_before_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, total=10)
    watched.opens(0, EVERY)
    assert watched.lines == ["0 of 10 rows · 0.0 rows/s · no rows"]


def test_notes_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, total=None)
    watched.progress.note("the sender rests for 30.0 s")
    watched.opens(1, 61.0)
    watched.progress.end()
    assert watched.lines[0] == "the sender rests for 30.0 s"
    assert watched.lines[-1] == "1 opened in 1 min 1 s"
