from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from vambe_provider.api.texts import formatted, mapping_from, metadata_texts, readable, value_text


class NumpyLike:
    """What numpy's scalars have in common."""

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        return self.value


class NAType:
    """What pandas uses for null in typed columns; to compare it with anything gives itself, and it is no boolean."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


class PandasNull:
    def isoformat(self) -> str:
        return "NaT"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (10**18, "1000000000000000000"),
        (1.5, "1.5"),
        (3.0, "3.0"),
        (1e16, "10000000000000000"),
        (1e-7, "0.0000001"),
        (1e300, "1e+300"),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("-Infinity"), None),
        (Decimal("0E-8"), "0.00000000"),
        ("ñandú".encode(), "ñandú"),
        (memoryview(b"Ana"), "Ana"),
        ({"b", "a"}, '["a", "b"]'),
        (NAType(), None),
        (NumpyLike(float("nan")), None),
        (Decimal("1E+2"), "100"),
        (Decimal("10.50"), "10.50"),
        (Decimal("-0.000001"), "-0.000001"),
        (Decimal("1E+1000000"), "1E+1000000"),
        (Decimal("NaN"), None),
        (Fraction(1, 4), "0.25"),
        (date(2026, 11, 22), "2026-11-22"),
        (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), "2026-11-22T09:30:00+00:00"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=26), "1 day, 2:00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (None, None),
        ([1, None, "ñ"], '[1, null, "ñ"]'),
        ((Decimal("1.10"), date(2026, 1, 1)), '["1.10", "2026-01-01"]'),
        ({"a": {"b": float("nan")}, 1: True}, '{"a": {"b": null}, "1": true}'),
        ([], "[]"),
        (NumpyLike(7), "7"),
        (PandasNull(), None),
    ],
)
def test_what_a_value_becomes(value: object, text: str | None) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("value", [b"\xff\xfe", object(), [object()], {"a": {1, b"\xff"}}, NumpyLike(object())])
def test_a_value_that_has_no_text(value: object) -> None:
    with pytest.raises(ValueError, match=r"^some key: "):
        metadata_texts({"some key": value})


def test_nulls_are_left_out_and_keys_become_text() -> None:
    assert metadata_texts({"a": None, 7: 1, " b ": 2}) == {"7": "1", "b": "2"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ana", "Ana"),
        (b"Ana", "Ana"),
        (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), "2026-11-22 09:30:00+00:00"),
        (date(2026, 11, 22), "2026-11-22"),
        (Decimal("1E+2"), "100"),
        (1e16, "10000000000000000"),
        ({"k": Decimal("1.10")}, '{"k": "1.10"}'),
        (["a"], '["a"]'),
        (float("nan"), None),
    ],
)
def test_how_a_value_reads_in_a_message(value: object, text: str | None) -> None:
    assert readable(value) == text


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [(Decimal("12345.6"), ",.2f", "12,345.60"), (date(2026, 11, 22), "%d.%m.", "22.11."), ("x", ">3", "  x"),
     (b"x", ">3", "  x"), (7, "03d", "007"), (float("nan"), ",.0f", None)],
)  # fmt: skip
def test_a_format_is_pythons(value: object, spec: str, text: str | None) -> None:
    assert formatted(value, spec) == text


@pytest.mark.parametrize("value", [{"k": 1}, object(), ["a"]])
def test_a_type_without_formats_refuses_one(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        formatted(value, ">10")


@pytest.mark.parametrize("key", [None, "", " "])
def test_a_key_is_needed(key: Any) -> None:
    with pytest.raises(ValueError, match="a key is empty"):
        metadata_texts({key: 1})


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ('{"a": null}', {"a": None}),
        ("{'a': None}", {"a": None}),
        (" {} ", {}),
        ("{1, 2}", "{1, 2}"),
        ("{name}", "{name}"),
        ("{'a': open('x')}", "{'a': open('x')}"),
        ("{" * 5000, "{" * 5000),
        (7, 7),
    ],
)
def test_what_a_rendered_template_means(value: object, meant: object) -> None:
    assert mapping_from(value) == meant
