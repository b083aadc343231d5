"""Whose number a contact shows, and when that cannot be told."""

from __future__ import annotations

import pytest

from vambe_provider.contact_policy.numbers import number_aliases
from vambe_provider.delivery.attempt.numbers import is_elsewhere, whose_number

CHILE, MEXICO, ARGENTINA, BRAZIL = "+56961234567", "+525512345678", "+5491158749895", "+5511987654321"


def whose(shown: str | None, ours: str = CHILE, *, known: bool = True) -> str:
    spellings = number_aliases(ours)
    return whose_number(shown, is_ours=spellings.__contains__, spellings=spellings if known else frozenset())


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        (CHILE, "+56961234567"),
        (CHILE, "56961234567"),
        (CHILE, "0056 9 6123 4567"),
        (CHILE, " +56 (9) 6123-45.67 "),
        (MEXICO, "5215512345678"),
        (ARGENTINA, "+541158749895"),
        (BRAZIL, "551187654321"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_whole_number_in_any_spelling_is_the_persons(ours: str, shown: str, known: bool) -> None:
    assert whose(shown, ours, known=known) == "same"


@pytest.mark.parametrize(
    "shown", ["+5491161234567", "5491161234567", "+14155550123", "+4791234567", "5215587654321", "+56961234568"]
)
@pytest.mark.parametrize("known", [True, False])
def test_another_whole_number_is_somebody_elses(shown: str, known: bool) -> None:
    assert whose(shown, known=known) == "other"


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        (CHILE, None),
        (CHILE, ""),
        (CHILE, "961234567"),
        (CHILE, "9 6123 4567"),
        (CHILE, "09 6123 4567"),
        (CHILE, "61234567"),
        (CHILE, "+56*****4567"),
        (CHILE, "******567"),
        (CHILE, "56961234567@s.whatsapp.net"),
        (CHILE, "56961234567:12@c.us"),
        (CHILE, "123456789012345@lid"),
        (CHILE, "123456789012345"),
        (CHILE, "+56961234567 ext. 5"),
        (CHILE, "+56961234567;12"),
        (CHILE, "+56961234567 12"),
        (CHILE, "+56 9 6123 4567/68"),
        (CHILE, "５６９６１２３４５６７"),  # noqa: RUF001
        (MEXICO, "15512345678"),
        (MEXICO, "5512345678"),
        (MEXICO, "044 55 1234 5678"),
        (ARGENTINA, "011 15-5874-9895"),
        (ARGENTINA, "15 5874 9895"),
        (ARGENTINA, "1158749895"),
        (BRAZIL, "11 98765-4321"),
        (BRAZIL, "1187654321"),
    ],
)
def test_what_may_be_the_number_in_another_form_is_not_ruled_out(ours: str, shown: str | None) -> None:
    assert whose(shown, ours) == "unclear"


@pytest.mark.parametrize("shown", [None, "+56*****4567", "961234567", "56961234567@c.us", "123456789012345"])
def test_without_the_number_only_whole_numbers_can_be_compared(shown: str | None) -> None:
    assert whose(shown, known=False) == "unclear"


@pytest.mark.parametrize(
    ("platform", "elsewhere"),
    [
        ("instagram", True),
        (" Webchat ", True),
        ("web-whatsapp", False),
        ("whatsapp", False),
        (None, False),
        ("x", False),
    ],
)
def test_a_contact_of_another_channel_is_nobody_we_write_to(platform: str | None, elsewhere: bool) -> None:
    assert is_elsewhere(platform) == elsewhere
