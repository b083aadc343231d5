from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

import pytest

from tests.unit.contact_policy.asked import ask, utc
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.contact_policy.suppression import (
    Suppressed,
    old_list_warning,
    opted_out_purposes,
    person_keys,
    stopping,
)

NOW = utc("2026-11-25T15:00")
EVERY = ("service", "marketing", "debt")


@pytest.mark.parametrize(
    "message",
    [
        "STOP",
        "stop",
        " Stop. ",
        "¡BAJA!",
        "Dar de baja",
        "dar  de\nbaja",
        "NO MOLESTAR!!",
        "\uff33\uff34\uff2f\uff30",
        "Sair",
        "STOP 🙏",
    ],
)
def test_a_message_that_is_such_a_word_opts_out_of_everything(message: str) -> None:
    assert opted_out_purposes(message) == EVERY


@pytest.mark.parametrize(
    "message",
    [
        "quiero parar mi pedido",
        "no quiero la baja",
        "stop it please",
        "alto",
        "ALTA",
        "START",
        "",
        "...",
        "bajar",
        "🙏",
    ],
)
def test_another_message_opts_out_of_nothing(message: str) -> None:
    assert opted_out_purposes(message) is None


def test_a_word_of_daily_use_stops_marketing_only() -> None:
    assert opted_out_purposes("Cancelar.") == ("marketing",)


def test_other_words_can_be_given() -> None:
    words = {"Chau, no más": ("service",)}
    assert opted_out_purposes("CHAU NO MAS", words) == ("service",)
    assert opted_out_purposes("stop", words) is None


def test_an_entry_stops_its_purpose_or_all() -> None:
    marketing, everything = Suppressed(purpose="marketing"), Suppressed(reason="unreachable")
    assert stopping([marketing], "debt") is None
    assert stopping([marketing], "marketing") is marketing
    assert stopping([marketing, everything], "debt") is everything
    assert ask(ContactPolicy(), NOW, suppressed=[everything]).reason == "unreachable"


def test_a_person_is_found_under_every_spelling_of_the_number() -> None:
    def key_of(number: str) -> str:
        return hmac.new(b"secret", number.encode(), hashlib.sha256).hexdigest()

    keys = person_keys("+525541637145", key_of)
    assert keys[0] == key_of("+525541637145")
    assert set(keys) == {key_of("+525541637145"), key_of("+5215541637145")}
    assert person_keys("+56961234567", key_of) == (key_of("+56961234567"),)


def test_an_old_list_is_warned_about_and_refused_where_the_policy_says_so() -> None:
    old, fresh = NOW - timedelta(days=31), NOW - timedelta(days=30)
    assert old_list_warning(None, NOW) is None
    assert old_list_warning(fresh, NOW) is None
    assert "31 days" in (old_list_warning(old, NOW) or "")
    strict = ContactPolicy(purpose="marketing", suppression={"max_list_age": "30 days"})
    assert ask(ContactPolicy(), NOW, list_imported=old).decision == "send"
    assert ask(strict, NOW, list_imported=fresh).decision == "send"
    for imported in (old, None):
        decision = ask(strict, NOW, list_imported=imported)
        assert (decision.decision, decision.reason) == ("postpone", "suppression_list_old")
