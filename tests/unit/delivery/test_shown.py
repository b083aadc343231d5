from __future__ import annotations

import pytest

from vambe_provider.delivery.shown import name_is_readable, printable, readable, shown_hash, shown_name, shown_values


@pytest.mark.parametrize(
    "text",
    [
        "1042", "0", "-17", "5.5", "999999", "ORD-1042", "CL/A-17", "v2", "CL", "true", "false", "2026-11-26",
        "2026-11-26T01:02:03.5", "a0b1c2d3-e4f5-a6b7-c8d9-e0f1a2b3c4d5", "2026-W48", "A:1:2",
    ],
)  # fmt: skip
def test_what_is_surely_not_personal_is_readable_in_any_column(text: str) -> None:
    assert readable(text, "customer")


@pytest.mark.parametrize(
    "text",
    [
        "1234567", "56961234567", "+56961234567", "569-612-345", "12.345.678-5", "Ana", "ANA", "Jo", "ana", "ana84",
        "Ana1", "ana@x.cl", "Ana Pérez", "A-1\n", "", "²³1", "٣٤٥", "x" * 41, "PEGA840101AB1", "a b", "1,5", "#1",
    ],
)  # fmt: skip
def test_what_may_be_personal_is_not_readable(text: str) -> None:
    assert not readable(text, "customer")


@pytest.mark.parametrize(
    "column", ["order_id", "ORDER_ID", "invoice", "id_pedido", "crm_order_number", "sku", "orderid"]
)
def test_the_codes_of_a_thing_may_be_long(column: str) -> None:
    assert readable("10234567", column)
    assert readable("late-1023456789", column)
    assert not readable("1" * 21, column)
    assert not readable("ana@example.com1", column)
    assert not readable("Ana", column)


@pytest.mark.parametrize(
    "column", ["id", "customer_id", "order_phone", "national_id", "phone", "ordered_by", "border", ""]
)
def test_the_numbers_of_others_may_not(column: str) -> None:
    assert not readable("10234567", column)


def test_a_thing_s_code_that_holds_the_row_s_number_is_not_readable() -> None:
    assert not readable("56961234567", "order_id", ["+56 9 6123 4567"])


def test_a_hash_with_a_secret_is_another_one() -> None:
    shown = [shown_hash("56961234567", secret) for secret in (None, "", "one", "two")]
    assert shown[0] == shown[1]
    assert len(set(shown)) == 3
    assert all(text.startswith("#") and len(text) == 13 for text in shown)
    assert shown_hash("\ud800", "one") != shown_hash("\ud801", "one")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("order_id", "order_id"), ("año", "año"), ("order id", "'order id'"), ("\ufeffid", r"'\ufeffid'"),
        ("id\xa0", r"'id\xa0'"), ("", "''"), ("a\nb", r"'a\nb'"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_in_a_name_is_escaped(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_what_no_terminal_shows_is_replaced() -> None:
    assert printable("a\x1b[31mb\u202e\ud800") == "a\ufffd[31mb\ufffd\ufffd"
    assert printable("José 1042") == "José 1042"


def test_a_number_that_is_spread_over_columns_is_not_readable() -> None:
    assert "56961" not in shown_values({"area": "56961", "rest": "23456"})
    assert shown_values({"branch": "12", "line": "34567"}) == "branch=12, line=34567"
    # The numbers of things, times and uuids are no parts of a phone.
    many = {"order_id": "10234567", "day": "2026-11-26", "line": "12"}
    assert shown_values(many) == "order_id=10234567, day=2026-11-26, line=12"


@pytest.mark.parametrize(
    ("text", "personal"),
    [("ana-17", "Ana Pérez"), ("PEREZ1", "Ana Pérez"), ("order-jose", "José"), ("17-56961234567", "+56 9 6123 4567")],
)
def test_a_word_of_the_person_s_name_is_not_readable(text: str, personal: str) -> None:
    assert not readable(text, "order_id", [personal])
    assert not name_is_readable(f"sales/{text}", given=False, personal=[personal])


@pytest.mark.parametrize(
    "name",
    [
        "order-late/1042",
        "sales/ask/manual__2026-11-26T01:02:03.123456+00:00/-1",
        "a0b1c2d3-e4f5-a6b7-c8d9-e0f1a2b3c4d5",
    ],
)
def test_the_name_of_a_single_ticket_is_readable(name: str) -> None:
    assert name_is_readable(name, given=True)
    assert name_is_readable(name, given=False)


@pytest.mark.parametrize("name", ["late/ana@example.com", "late/+56961234567", "late/569-612-345-67", "Ana Pérez"])
def test_a_name_that_the_user_gave_and_that_may_be_a_person_s_is_not(name: str) -> None:
    assert not name_is_readable(name, given=True)
