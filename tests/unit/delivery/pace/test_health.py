from __future__ import annotations

import pytest

from vambe_provider.api.words import sender_is_gone
from vambe_provider.delivery.pace import breaker, health
from vambe_provider.delivery.pace.health import Health
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeLeaseOverError,
    VambeMaybeSentError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeRefusedError,
)

MAYBE = VambeMaybeSentError("502", status=502)
AUTH = VambeAuthError("401", status=401)
NOT_SENT = VambeNotSentError("no connection")
GONE = VambeRefusedError("400", status=400, said="The phone is not connected")


class Sender:
    """A sender and its clock: each answer comes a second after the rest before it."""

    def __init__(self) -> None:
        self.health, self.now, self.ordinal = Health(), 0.0, -1

    def fails(self, error: VambeError, times: int = 1) -> list[float]:
        return [self._one(error) for _ in range(times)]

    def works(self) -> None:
        self._one(None)

    def _one(self, error: VambeError | None) -> float:
        began, self.now, self.ordinal = self.now, self.now + 1.0, self.ordinal + 1
        rest = self.health.landed(error, ordinal=self.ordinal, began=began, now=self.now)
        self.now += rest
        return rest


def test_a_wrong_key_stops_the_run() -> None:
    sender = Sender()
    assert sender.fails(AUTH, health.AUTH_LIMIT - 1) == [0.0] * (health.AUTH_LIMIT - 1)
    assert sender.health.stop is None
    sender.fails(AUTH)
    assert sender.health.stop is not None
    assert "API key" in sender.health.stop


def test_one_that_works_in_between_starts_the_count_anew() -> None:
    sender = Sender()
    for _ in range(5):
        sender.fails(AUTH, health.AUTH_LIMIT - 1)
        sender.works()
    assert sender.health.stop is None


def test_a_configuration_that_is_wrong_stops_at_once() -> None:
    sender = Sender()
    sender.fails(VambeConfigError("phone_id: is missing"))
    assert sender.health.stop == "phone_id: is missing"


@pytest.mark.parametrize("said", ["The phone is not connected", "Sesión desconectada", "Session closed", "Scan the QR"])
@pytest.mark.parametrize("kind", [VambeRefusedError, VambeMaybeSentError])
def test_a_sender_that_is_gone_stops_the_run(said: str, kind: type[VambeError]) -> None:
    error = kind("x", status=400, said=said)
    assert sender_is_gone(error)
    sender = Sender()
    sender.fails(error, health.SENDER_LIMIT)
    assert sender.health.stop is not None
    assert "not connected" in sender.health.stop


def test_that_is_not_said_by_chance() -> None:
    assert not sender_is_gone(VambeRefusedError("x", status=400, said="stage not found"))
    assert not sender_is_gone(VambeNotSentError("not connected", said=None))


def test_refused_rows_say_that_the_server_works() -> None:
    sender = Sender()
    sender.fails(MAYBE, breaker.IN_A_ROW - 1)
    for number in range(100):
        sender.fails(VambeRefusedError("400", status=400, said=str(number % 2), about="row"))
    assert sender.fails(MAYBE) == [0.0]
    assert sender.health.stop is None


def test_a_server_that_is_down_gets_growing_pauses_and_then_the_run_stops() -> None:
    sender = Sender()
    limit = breaker.IN_A_ROW
    assert sender.fails(MAYBE, limit) == [0.0] * (limit - 1) + [breaker.PAUSES[0]]
    assert sender.health.probing
    assert sender.fails(MAYBE, len(breaker.PAUSES) - 1) == list(breaker.PAUSES[1:])
    assert sender.health.stop is None
    sender.fails(MAYBE)
    assert sender.health.stop is not None
    assert "down" in sender.health.stop


def test_after_a_pause_one_ticket_that_gets_through_is_enough() -> None:
    sender = Sender()
    sender.fails(MAYBE, breaker.IN_A_ROW)
    sender.works()
    assert not sender.health.probing
    assert sender.fails(MAYBE) == [0.0]


def test_what_was_on_its_way_when_the_rest_began_says_nothing_new() -> None:
    state = Health()
    for number in range(breaker.IN_A_ROW):
        state.landed(MAYBE, ordinal=number, began=10.0, now=20.0)
    for number in range(50):
        assert state.landed(MAYBE, ordinal=breaker.IN_A_ROW + number, began=15.0, now=25.0) == 0.0
    assert state.breaker.rests == 1
    asked = VambeRateLimitError("429", status=429, retry_after=7.0)
    assert state.landed(asked, ordinal=breaker.IN_A_ROW + 50, began=15.0, now=25.0) == 7.0


def test_equal_refusals_in_a_row_stop_the_run() -> None:
    sender = Sender()
    refused = VambeRefusedError("400", status=400, said="stage not found", about="row")
    sender.fails(refused, health.EQUAL_LIMIT - 1)
    assert sender.health.stop is None
    sender.fails(refused)
    assert sender.health.stop is not None
    assert "same words: stage not found" in sender.health.stop


def test_refusals_with_other_words_do_not() -> None:
    sender = Sender()
    for number in range(100):
        sender.fails(VambeRefusedError("400", status=400, said=f"invalid number {number % 2}", about="row"))
    assert sender.health.stop is None


def test_no_connection_is_tried_again_with_growing_rests() -> None:
    sender = Sender()
    rests = sender.fails(NOT_SENT, health.NOT_SENT_LIMIT - 1)
    assert rests[:3] == [0.5, 1.0, 2.0]
    assert rests == sorted(rests)
    assert max(rests) <= health.LONGEST_RETRY
    assert sender.health.stop is None
    sender.fails(NOT_SENT)
    assert sender.health.stop == "Vambe cannot be reached"


def test_what_vambe_asks_for_is_done() -> None:
    sender = Sender()
    assert sender.fails(VambeRateLimitError("429", status=429, retry_after=9.0)) == [9.0]
    blind = sender.fails(VambeRateLimitError("429", status=429), 3)
    assert blind == sorted(blind)
    assert min(blind) > 0
    sender.fails(VambeRateLimitError("429", status=429, retry_after=0.1), health.RATE_LIMIT_LIMIT)
    assert sender.health.stop is not None
    assert "429" in sender.health.stop


def test_a_lease_that_ran_out_says_nothing_about_the_server() -> None:
    sender = Sender()
    assert sender.fails(VambeLeaseOverError("x"), 50) == [0.0] * 50
    assert sender.health.stop is None


def test_a_sender_that_is_gone_and_a_400_are_told_apart() -> None:
    sender = Sender()
    for _ in range(health.SENDER_LIMIT * 2):
        sender.fails(GONE)
        sender.works()
    assert sender.health.stop is None
