from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from enum import IntEnum, StrEnum
from fractions import Fraction
from unicodedata import normalize
from uuid import UUID
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vambe_provider.delivery.key import (
    MAX_TEXT,
    NULL_TEXTS,
    canonical_value,
    check_namespace,
    fingerprint,
    key_digests,
    named_key,
    ticket_key,
)
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
SANTIAGO = ZoneInfo("America/Santiago")


class Number(IntEnum):
    FIVE = 5


class Word(StrEnum):
    LATE = "late"


def _digest(value: object) -> str:
    return ticket_key("orders", {"id": value}).digest


@pytest.mark.parametrize(
    "alike",
    [
        (5, 5.0, Decimal(5), Decimal("5.00"), Decimal("5E0"), "5", Number.FIVE, "5  "),
        (0, -0.0, Decimal("-0"), Decimal("0E-8"), Decimal("0.000"), Decimal("0E+5000")),
        (Decimal("1E+3"), 1000, 1e3),
        (10**16, 1e16, Decimal("1e16")),
        (0.1, Decimal("0.1"), Decimal("0.100")),
        (2**100, Decimal(2**100), f"{2**100}"),
        (b"\x01\xff", bytearray(b"\x01\xff"), memoryview(b"\x01\xff"), "01ff"),
        (
            UUID("a0b1c2d3-e4f5-a6b7-c8d9-e0f1a2b3c4d5"),
            "a0b1c2d3-e4f5-a6b7-c8d9-e0f1a2b3c4d5",
            "A0B1C2D3-E4F5-A6B7-C8D9-E0F1A2B3C4D5",
            "{A0B1C2D3-e4f5-A6B7-C8D9-E0F1A2B3C4D5}",
        ),
        (
            MOMENT,
            MOMENT.astimezone(SANTIAGO),
            MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45))),
            pendulum.instance(MOMENT).in_timezone("Asia/Tokyo"),
            MOMENT.replace(tzinfo=None),  # what drivers return for a column without a zone
        ),
        (date(2026, 1, 2), "2026-01-02", pendulum.date(2026, 1, 2)),
        (True, "true"),
        ("José", "Jose\u0301", "José   "),
        ("late", Word.LATE),
    ],
    ids=lambda alike: str(alike[0]),
)
def test_one_value_is_one_key(alike: tuple[object, ...]) -> None:
    assert len({_digest(value) for value in alike}) == 1


@pytest.mark.parametrize(
    "different",
    [
        ("a", "A"), ("a", " a"), ("1", "01"), (1, True), (1, "1.0"), (0.1, Decimal("0.10000000000000000555")),
        (Decimal(10**38), Decimal(10**38 + 1)), (5, -5), (date(2026, 1, 2), datetime(2026, 1, 2)),  # noqa: DTZ001
        (MOMENT, MOMENT + timedelta(microseconds=1)), (MOMENT, "2026-01-02 03:04:05.6789"),
        (UUID(int=10), UUID(int=10).hex), ("José", "Jose"), (b"\x01", b"\x02"),
    ],
    ids=str,
)  # fmt: skip
def test_different_values_are_different_keys(different: tuple[object, object]) -> None:
    assert _digest(different[0]) != _digest(different[1])


def test_a_night_of_numbers_with_38_digits_has_as_many_keys() -> None:
    assert len({_digest(Decimal(10**37 + number)) for number in range(200)}) == 200


def test_the_hour_that_comes_twice_has_two_keys() -> None:
    twice = datetime(2026, 4, 4, 23, 30, tzinfo=SANTIAGO)
    assert _digest(twice) != _digest(twice.replace(fold=1))


@given(st.integers(-(10**40), 10**40), st.integers(0, 12))
def test_a_whole_number_is_one_key_with_any_number_of_zeros_behind_the_point(number: int, zeros: int) -> None:
    decimal = Decimal(f"{number}.{'0' * zeros}" if zeros else str(number))
    with localcontext() as rounding:
        rounding.prec = 5  # what the surroundings round to must not matter
        assert canonical_value(decimal) == canonical_value(number) == str(number)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
@example(Decimal("1E-28"))
def test_a_number_keeps_its_exact_value(number: Decimal) -> None:
    text = canonical_value(number)
    assert Fraction(text) == Fraction(number)
    assert canonical_value(Decimal(text)) == text
    assert "E" not in text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200))
def test_a_float_is_the_key_of_its_shortest_text(number: float) -> None:
    assert canonical_value(number) == canonical_value(Decimal(repr(number)))
    assert float(canonical_value(number)) == number


@given(st.datetimes(timezones=st.timezones()), st.timezones())
def test_a_moment_is_one_key_in_every_zone(moment: datetime, zone: ZoneInfo) -> None:
    try:
        elsewhere = moment.astimezone(zone)
    except OverflowError:
        return
    if elsewhere.astimezone(UTC) == moment.astimezone(UTC):
        assert canonical_value(elsewhere) == canonical_value(moment)


@given(st.text(min_size=1))
def test_text_is_one_key_in_each_form_of_unicode(text: str) -> None:
    try:
        composed = canonical_value(normalize("NFC", text))
    except ValueError:
        return
    assert canonical_value(normalize("NFD", text)) == composed
    assert canonical_value(f"{text}  ") == composed


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is null"),
        (float("nan"), "is not a number"),
        (Decimal("NaN"), "is not a number"),
        (Decimal("sNaN"), "is not a number"),
        (float("-inf"), "is not a number"),
        (Decimal("Infinity"), "is not a number"),
        ("", "is blank"),
        ("   ", "is blank"),
        ("\t\n\xa0", "is blank"),
        (b"", "is blank"),
        *((text, "is the text of a null") for text in sorted(NULL_TEXTS)),
        ("nan  ", "is the text of a null"),
        ([1], "has the type list, which cannot be a key"),
        ({"a": 1}, "has the type dict, which cannot be a key"),
        (object(), "has the type object, which cannot be a key"),
        (Decimal("1E+5000"), "has more than 1000 digits"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "is a time before the year 1"),
        pytest.param(10**5000, "digits", id="digits"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_a_key_is_refused_with_the_name_of_its_column(value: object, why: str) -> None:
    with pytest.raises(VambeValidationError) as caught:
        ticket_key("n", {"order_id": value, "good": 1})
    assert caught.value.problems[0].startswith("key column order_id: ")
    assert why in caught.value.problems[0]
    assert len(caught.value.problems) == 1
    assert key_digests("n", [(value, 1)]) == [None]


def test_what_pandas_has_for_nothing_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    for value in (pandas.NaT, pandas.NA, pandas.Timestamp("NaT")):
        with pytest.raises(VambeValidationError, match="is null"):
            ticket_key("n", {"a": value})
    stamp = pandas.Timestamp("2026-01-02T03:04:05.678900", tz="UTC")
    assert canonical_value(stamp.tz_convert("Asia/Tokyo")) == canonical_value(MOMENT)
    assert canonical_value(stamp + pandas.Timedelta(1, "ns")) != canonical_value(stamp)


def test_the_scalars_of_numpy_are_those_of_python() -> None:
    numpy = pytest.importorskip("numpy")
    for scalar, plain in (
        (numpy.int64(5), 5),
        (numpy.float64(5.5), 5.5),
        (numpy.bool_(True), True),
        (numpy.str_("José"), "José"),
        (numpy.datetime64("2026-01-02T03:04:05.678900", "us"), MOMENT),
        (numpy.datetime64("2026-01-02T03:04:05.678900000", "ns"), MOMENT),
    ):
        assert canonical_value(scalar) == canonical_value(plain)
    for nothing in (numpy.datetime64("NaT"), numpy.float64("nan"), numpy.array([1])):
        with pytest.raises(ValueError, match=r"is null|is not a number|cannot be a key"):
            canonical_value(nothing)


def test_every_wrong_column_is_named() -> None:
    with pytest.raises(VambeValidationError) as caught:
        ticket_key("n", {"a": None, "b": float("nan"), "c\ufeff": [1], "d": "", "e": "fine"})
    assert len(caught.value.problems) == 4
    for name in ("a", "b", r"'c\ufeff'", "d"):
        assert f"key column {name}: " in str(caught.value)


def test_the_names_of_columns_make_no_difference_and_their_order_does() -> None:
    one = ticket_key("orders", {"id": 1, "shop": 2})
    assert ticket_key("orders", {"order_id": 1, "shop_id": 2}).digest == one.digest
    assert ticket_key("orders", {"shop": 2, "id": 1}).digest != one.digest
    assert ticket_key("late", {"id": 1, "shop": 2}).digest != one.digest


def usable(text: str) -> bool:
    return key_digests("n", [(text,)]) != [None]


_words = st.lists(st.text(min_size=1).filter(usable), min_size=1, max_size=3)


@given(_words, _words)
def test_columns_do_not_run_into_each_other(one: list[str], two: list[str]) -> None:
    first = ticket_key("n", {f"c{index}": text for index, text in enumerate(one)})
    second = ticket_key("n", {f"c{index}": text for index, text in enumerate(two)})
    assert (first.digest == second.digest) == ([*map(canonical_value, one)] == [*map(canonical_value, two)])


_values = st.one_of(
    st.text(), st.integers(), st.floats(), st.decimals(), st.datetimes(), st.uuids(), st.binary(), st.none()
)


@given(st.lists(st.tuples(_values, _values), max_size=5))
def test_the_digests_of_many_rows_are_those_of_their_keys(rows: list[tuple[object, object]]) -> None:
    for row, found in zip(rows, key_digests("orders", rows), strict=True):
        try:
            expected = ticket_key("orders", {"a": row[0], "b": row[1]}).digest
        except VambeValidationError:
            expected = None
        assert found == expected


@given(st.text().filter(usable), st.text())
def test_whatever_the_value_the_text_can_be_shown(value: str, name: str) -> None:
    for key in (ticket_key("n", {"c": value}), named_key("n", name)):
        assert len(key.text) <= MAX_TEXT
        assert key.text.isprintable()
        assert len(key.digest) == 32


@pytest.mark.parametrize(
    ("value", "personal"),
    [
        ("+56 9 6123 4567", "56961234567"),
        (56961234567, "+56961234567"),
        ("56961234567-2026", "+56961234567"),
        ("Ana.Maria@example.com", "ana.maria@example.com"),
        ("order of ana pérez", "Ana Pérez"),
        ("ANA-17", "Ana"),
        (1042, "1042"),
    ],
)
def test_nothing_personal_is_readable(value: object, personal: str) -> None:
    key = ticket_key("n", {"k": value}, personal=[personal, ""])
    assert key.text.startswith("k=#")
    assert key.digest == ticket_key("n", {"k": value}).digest
    assert ticket_key("n", {"k": "1043"}, personal=[personal]).text == "k=1043"


@pytest.mark.parametrize("column", ["phone", "email", "name", "text", "customer"])
@pytest.mark.parametrize(
    "value", ["+56961234567", 56961234567, "ana@example.com", "Ana", "Ana Pérez", "ANA", "12.345.678-5"]
)
def test_a_value_that_may_be_a_person_s_is_not_readable_although_no_field_of_the_ticket_holds_it(
    column: str, value: object
) -> None:
    plain, keyed = (ticket_key("n", {column: value}, secret=secret) for secret in (None, "s3cret"))
    assert plain.text.startswith(f"{column}=#")
    assert keyed.text.startswith(f"{column}=#")
    assert plain.text != keyed.text
    assert plain.digest == keyed.digest
    assert str(value) not in plain.text


def test_a_name_that_may_be_personal_is_not_readable_and_gives_the_same_key() -> None:
    shown = named_key("single", "late/ana@example.com", given=True, secret="s3cret")
    assert shown.text.startswith("#")
    assert shown.digest == named_key("single", "late/ana@example.com").digest
    assert named_key("single", "late/7", given=True, personal=["", "+56961234567"]).text == "late/7"


def test_a_mark_of_its_own_for_each_time_it_is_sent_on_purpose() -> None:
    key = named_key("single", "dag/task/run/-1")
    assert len({key.marker(generation) for generation in range(3)}) == 3
    assert key.marker(0) == key.digest


@pytest.mark.parametrize("name", ["", " a", "a ", "x" * 201, "\n"])
def test_a_namespace_that_databases_compare_differently_is_refused(name: str) -> None:
    with pytest.raises(VambeConfigError, match="namespace"):
        check_namespace(name)


def test_a_namespace_may_have_a_space_inside() -> None:
    assert check_namespace("late orders") == "late orders"


def test_hashes_tell_apart_contents_and_senders() -> None:
    body = {"a": 1, "b": {"c": 2, "d": 3}}
    assert fingerprint(body, "x", None) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1}, "x", None)
    assert fingerprint(body, "x", None) != fingerprint(body, None, "x")
    assert fingerprint(body, "x") != fingerprint({"a": 2}, "x")
