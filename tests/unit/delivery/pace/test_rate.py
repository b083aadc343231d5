from __future__ import annotations

import itertools

import pytest

from vambe_provider.api.rate import Rate
from vambe_provider.delivery import clock
from vambe_provider.delivery.pace.rate import LocalPacer, WindowPacer, duration, expected_time, make_pacer


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clock, "now", lambda: self.now)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_no_rate_is_no_limit(time: Clock) -> None:
    pacer = LocalPacer(None)
    assert await pacer.permits(500) == 500
    assert await pacer.permits(0) == 0
    assert pacer.wait() == 0.0


async def test_tickets_are_spread_evenly(time: Clock) -> None:
    pacer = LocalPacer(Rate(10, 60))
    sent = []
    for _ in range(1201):
        if await pacer.permits(100):
            sent.append(time.now)
        time.now += 0.1
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert min(gaps) >= 6.0 - 1e-6
    assert max(gaps) <= 6.0 + 0.11
    assert len(sent) >= 20


async def test_a_fast_rate_is_reached_with_slow_turns(time: Clock) -> None:
    pacer, sent = LocalPacer(Rate(200, 1)), 0
    for _ in range(100):
        sent += await pacer.permits(1000)
        time.now += 0.05
    assert 980 <= sent <= 1000 + 25


async def test_what_was_missed_for_long_is_not_made_up_for(time: Clock) -> None:
    pacer = LocalPacer(Rate(10, 60))
    await pacer.permits(1)
    time.now += 3600
    assert await pacer.permits(100) == 1


async def test_how_long_until_the_next(time: Clock) -> None:
    pacer = LocalPacer(Rate(10, 60))
    assert pacer.wait() == 0.0
    await pacer.permits(1)
    assert pacer.wait() == pytest.approx(6.0)
    assert pacer.fresh_in() == pytest.approx(6.0)


async def test_a_pause_is_kept_and_the_longer_one_counts(time: Clock) -> None:
    for pacer in (LocalPacer(None), LocalPacer(Rate(600, 60)), WindowPacer(Rate(10, 60))):
        await pacer.pause(30)
        await pacer.pause(10)
        assert pacer.wait() == pytest.approx(30)
        assert await pacer.permits(5) == 0
        time.now += 30.1
        assert await pacer.permits(1) == 1


async def test_a_window_gives_out_all_and_then_nothing(time: Clock) -> None:
    pacer = WindowPacer(Rate(10, 60))
    assert await pacer.permits(4) == 4
    time.now += 20
    assert await pacer.permits(100) == 6
    assert await pacer.permits(100) == 0
    assert pacer.wait() == pytest.approx(60)
    assert pacer.fresh_in() == pytest.approx(60)
    time.now += 59
    assert await pacer.permits(100) == 0
    time.now += 1
    assert await pacer.permits(100) == 10


def test_which_pacer() -> None:
    assert isinstance(make_pacer(None, store=None, sender="s", burst=True), LocalPacer)
    assert isinstance(make_pacer(Rate(1, 1), store=None, sender="s", burst=True), WindowPacer)
    assert not isinstance(make_pacer(Rate(1, 1), store=None, sender="s"), WindowPacer)


def test_what_pacing_means() -> None:
    assert expected_time(10_000, Rate(10, 60)) == "10,000 rows at 10/minute take 16 h 40 min"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (3600, "1 h"), (90_061, "1 d 1 h"),
     (86_460, "1 d")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
