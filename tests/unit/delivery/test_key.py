from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.delivery.key import (
    MAX_TEXT,
    check_namespace,
    fingerprint,
    named_key,
    person_hash,
    ticket_key,
)
from vambe_provider.exceptions import VambeConfigError, VambeValidationError


def _digest(value: object) -> str:
    return ticket_key("orders", {"id": value}).digest


@pytest.mark.parametrize(
    "alike",
    [
        (5, 5.0, Decimal(5), Decimal("5.00"), Decimal("5E0"), "5"),
        (0, -0.0, Decimal("-0")),
        (Decimal("1E+3"), 1000),
        (0.1, Decimal("0.1"), Decimal("0.100")),
        (b"\x01\xff", bytearray(b"\x01\xff"), memoryview(b"\x01\xff"), "01ff"),
        (UUID(int=7), str(UUID(int=7))),
        (
            datetime(2026, 1, 2, 3, tzinfo=UTC),
            datetime(2026, 1, 2, 0, tzinfo=timezone(timedelta(hours=-3))),
            datetime(2026, 1, 2, 3),  # noqa: DTZ001 - what drivers return for a column without a zone
        ),
        (date(2026, 1, 2), "2026-01-02"),
        (True, "true"),
    ],
    ids=str,
)
def test_another_driver_gives_the_same_key(alike: tuple[object, ...]) -> None:
    assert len({_digest(value) for value in alike}) == 1


@pytest.mark.parametrize("different", [("a", "A"), ("a", "a "), ("1", "01"), (1, True), (1, "1.0"), ("", " ")], ids=str)
def test_different_values_are_different_keys(different: tuple[object, object]) -> None:
    assert _digest(different[0]) != _digest(different[1])


def test_the_names_of_columns_make_no_difference_and_their_order_does() -> None:
    one = ticket_key("orders", {"id": 1, "shop": 2})
    assert ticket_key("orders", {"order_id": 1, "shop_id": 2}).digest == one.digest
    assert ticket_key("orders", {"shop": 2, "id": 1}).digest != one.digest
    assert ticket_key("late", {"id": 1, "shop": 2}).digest != one.digest


@given(st.lists(st.text(), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=3))
def test_columns_do_not_run_into_each_other(one: list[str], two: list[str]) -> None:
    first = ticket_key("n", {f"c{index}": text for index, text in enumerate(one)})
    second = ticket_key("n", {f"c{index}": text for index, text in enumerate(two)})
    assert (first.digest == second.digest) == (one == two)


@given(st.text(), st.text())
def test_whatever_the_value_the_text_can_be_shown(value: str, name: str) -> None:
    for key in (ticket_key("n", {"c": value}), named_key("n", name)):
        assert len(key.text) <= MAX_TEXT
        assert key.text.isprintable()
        assert len(key.digest) == 32


def test_every_wrong_column_is_named() -> None:
    with pytest.raises(VambeValidationError) as caught:
        ticket_key("n", {"a": None, "b": float("nan"), "c": [1], "d": Decimal("Infinity"), "e": "fine"})
    assert len(caught.value.problems) == 4
    for name in "abcd":
        assert f"key column {name}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "personal"),
    [
        ("+56 9 6123 4567", "56961234567"),
        (56961234567, "+56961234567"),
        ("56961234567-2026", "+56961234567"),
        ("Ana.Maria@example.com", "ana.maria@example.com"),
        ("order of ana pérez", "Ana Pérez"),
    ],
)
def test_nothing_personal_is_readable(value: object, personal: str) -> None:
    key = ticket_key("n", {"k": value}, personal=[personal, ""])
    assert key.text.startswith("k=#")
    assert key.digest == ticket_key("n", {"k": value}).digest
    assert ticket_key("n", {"k": "1042"}, personal=[personal]).text == "k=1042"


def test_a_mark_of_its_own_for_each_time_it_is_sent_on_purpose() -> None:
    key = named_key("single", "dag/task/run/-1")
    assert len({key.marker(generation) for generation in range(3)}) == 3
    assert key.marker(0) == key.digest


@pytest.mark.parametrize("name", ["", " a", "a ", "x" * 201, "\n"])
def test_a_namespace_that_databases_compare_differently(name: str) -> None:
    with pytest.raises(VambeConfigError, match="namespace"):
        check_namespace(name)


def test_a_namespace() -> None:
    assert check_namespace("late orders") == "late orders"


def test_hashes_tell_apart() -> None:
    assert person_hash("+56961234567") != person_hash("+56961234568")
    body = {"a": 1, "b": {"c": 2, "d": 3}}
    assert fingerprint(body, "x", None) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1}, "x", None)
    assert fingerprint(body, "x", None) != fingerprint(body, None, "x")
    assert fingerprint(body, "x") != fingerprint({"a": 2}, "x")
