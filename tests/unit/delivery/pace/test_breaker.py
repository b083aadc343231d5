from __future__ import annotations

import random

from vambe_provider.delivery.pace.breaker import IN_A_ROW, PAUSES, WINDOW, Breaker, Rest


def answers(breaker: Breaker, *unclear: bool | None, start: int = 0) -> list[Rest]:
    found = [breaker.landed(start + number, unclear=item) for number, item in enumerate(unclear)]
    return [rest for rest in found if rest is not None]


def test_a_server_that_is_down_makes_it_rest_after_a_few_posts() -> None:
    [rest] = answers(Breaker(), *[True] * IN_A_ROW)
    assert rest == Rest(PAUSES[0], IN_A_ROW, IN_A_ROW)
    assert str(rest) == "6 of the last 6 tickets got no clear answer"


def test_failures_that_land_first_are_judged_with_the_successes_that_began_before_them() -> None:
    breaker = Breaker()
    slow = [number for number in range(WINDOW) if number % 4]
    fast = [number for number in range(WINDOW) if not number % 4]
    rests = [breaker.landed(number, unclear=True) for number in fast]
    rests += [breaker.landed(number, unclear=False) for number in slow]
    assert rests == [None] * WINDOW


def test_one_in_ten_never_makes_it_rest() -> None:
    chance = random.Random(1)
    assert answers(Breaker(), *[chance.random() < 0.1 for _ in range(20_000)]) == []


def test_six_in_ten_make_it_rest_and_it_says_how_many() -> None:
    pattern = [True, True, False, True, False] * 20
    rest = answers(Breaker(), *pattern)[0]
    assert rest.posts == WINDOW
    assert rest.unclear == 24


def test_rests_grow_and_then_the_run_stops() -> None:
    breaker = Breaker()
    answers(breaker, *[True] * IN_A_ROW)
    rests = answers(breaker, *[True] * len(PAUSES), start=IN_A_ROW)
    assert [rest.seconds for rest in rests] == [*PAUSES[1:], None]


def test_one_clear_answer_ends_the_probing_and_a_good_window_the_series() -> None:
    breaker = Breaker()
    answers(breaker, *[True] * IN_A_ROW)
    assert breaker.probing
    answers(breaker, False, start=IN_A_ROW)
    assert not breaker.probing
    assert breaker.rests == 1
    answers(breaker, *[False] * WINDOW, start=IN_A_ROW + 1)
    assert breaker.rests == 0


def test_a_sender_that_fails_again_soon_rests_longer() -> None:
    breaker = Breaker()
    answers(breaker, *[True] * IN_A_ROW, False, False)
    [rest] = answers(breaker, *[True] * IN_A_ROW, start=IN_A_ROW + 2)
    assert rest.seconds == PAUSES[1]


def test_posts_that_never_reached_vambe_say_nothing() -> None:
    assert answers(Breaker(), *[None] * 100) == []
    assert len(answers(Breaker(), None, True, None, *[True] * (IN_A_ROW - 1))) == 1
