from __future__ import annotations

import hashlib
import re

import pytest

from vambe_provider.delivery.person import Persons

CHILEAN = "+56961234567"


@pytest.mark.parametrize("persons", [Persons("secret"), Persons(None)])
def test_a_person_is_a_hash_that_tells_numbers_apart(persons: Persons) -> None:
    assert re.fullmatch("[0-9a-f]{32}", persons.of(CHILEAN))
    assert persons.of(CHILEAN) == persons.of("56961234567") == persons.of("+56 9 6123 4567")
    assert persons.of(CHILEAN) != persons.of("+56961234568")


def test_the_hash_depends_on_the_secret() -> None:
    assert len({Persons(secret).of(CHILEAN) for secret in ("secret", "other", None)}) == 3


def test_who_has_no_secret_cannot_compute_the_hash() -> None:
    """A plain hash of a phone number is reversed by trying all numbers."""
    plain = {hashlib.sha256(text.encode()).hexdigest()[:32] for text in (CHILEAN, CHILEAN[1:], f"person{CHILEAN}")}
    assert Persons("secret").of(CHILEAN) not in plain | {Persons(None).of(CHILEAN)}


def test_the_check_tells_secrets_apart_and_is_nobody() -> None:
    checks = {Persons(secret).check() for secret in ("secret", "other", None)}
    assert len(checks) == 3
    assert Persons("secret").check() == Persons("secret").check() != Persons("secret").of(CHILEAN)


def test_an_empty_secret_is_none() -> None:
    assert Persons("").check() == Persons(None).check()


@pytest.mark.parametrize("spelling", ["5215512345678", "+52 55 1234 5678", "525512345678"])
def test_a_person_is_found_under_every_spelling_of_the_number(spelling: str) -> None:
    persons = Persons("secret")
    found = persons.any_of(spelling)
    assert persons.of("+525512345678") in found
    assert persons.of("+5215512345678") in found
