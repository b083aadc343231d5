"""A row that is odd is refused with its reason, and stops no other row; whatever a warehouse or an API may hold."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import TICKET, Deliveries, row, rows, sql_ledger
from vambe_provider.delivery.model import Evidence, Outcome, Settlement
from vambe_provider.exceptions import VambeMaybeSentError, VambeNotSentError

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

ODD_KEYS: dict[str, tuple[Any, Outcome]] = {
    "null": (None, Outcome.REJECTED),
    "not-a-number": (float("nan"), Outcome.REJECTED),
    "infinite": (float("inf"), Outcome.REJECTED),
    "signalling": (Decimal("sNaN"), Outcome.REJECTED),
    "list": ([1], Outcome.REJECTED),
    "dict": ({"a": 1}, Outcome.REJECTED),
    "endless": (10**5000, Outcome.REJECTED),
    "zero-byte": ("a\0b", Outcome.OPENED),
    "half-a-character": ("a\ud800b", Outcome.OPENED),
    "line-breaks": ("a\r\nb\tc", Outcome.OPENED),
    "emoji": ("🛒 1", Outcome.OPENED),
    "long": ("x" * 100_000, Outcome.OPENED),
    "empty": ("", Outcome.REJECTED),
    "percent-and-quotes": ("100 % 'a' \"b\" :c {d} \\", Outcome.OPENED),
}


@pytest.mark.parametrize("name", ODD_KEYS)
def test_keys(everywhere: Deliveries, name: str) -> None:
    value, outcome = ODD_KEYS[name]
    ticket = {**TICKET, "message": "Hello", "ticket_metadata": {"order_id": "{order}"}}
    data = [row(1, order=1), row(2, id=value, order=2), row(3, order=3)]
    report = everywhere.many(data, ticket=ticket)
    assert report.counts[outcome] >= 1
    assert report.counts[Outcome.OPENED] == (3 if outcome == Outcome.OPENED else 2)
    again = everywhere.many(data, ticket=ticket)
    assert again.counts[Outcome.OPENED] == 0
    assert set(everywhere.tickets().values()) == {1}
    report.to_json()


ODD_ROWS: dict[str, dict[str, Any]] = {
    "no-phone": {"phone": None},
    "bad-phone": {"phone": "not a number"},
    "null-in-text": {"name": None},
    "number-for-a-character": {"code": 10**30},
    "text-for-a-number": {"total": "twelve"},
    "number-too-large-for-a-float": {"total": 10**400},
    "lone-surrogate": {"name": "a\ud800b"},
    "zero-byte": {"name": "a\0b"},
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_values(everywhere: Deliveries, name: str) -> None:
    ticket = {**TICKET, "message": "Hello {name}, {total:,.2f}, {code:c}"}
    data = [row(number, total=1.5, code=65) for number in range(1, 4)]
    data[1] |= ODD_ROWS[name]
    report = everywhere.many(data, ticket=ticket)
    assert report.counts[Outcome.OPENED] >= 2
    assert report.counts[Outcome.OPENED] + report.counts[Outcome.REJECTED] == 3
    for error in report.errors:
        assert error["key"] == "id=2"
        assert "cannot be sent" in error["reason"]


@pytest.mark.parametrize("missing", ["phone", "id"])
def test_a_row_without_a_column(deliveries: Deliveries, missing: str) -> None:
    """Rows of a list need not have the same columns."""
    data = rows(3)
    del data[1][missing]
    report = deliveries.many(data)
    assert report.counts == {Outcome.OPENED: 2, Outcome.REJECTED: 1}
    assert missing in report.errors[0]["reason"]


def test_a_ticket_function_that_fails(deliveries: Deliveries) -> None:
    def ticket(data: dict[str, Any]) -> Any:
        if data["id"] == 1:
            raise KeyError(data["phone"])
        if data["id"] == 2:
            return ["no", "dict"]
        if data["id"] == 3:
            return None
        return {"to_phone_number": data["phone"], "stage": "Support / New", "ticket_metadata": {"order_id": data["id"]}}

    report = deliveries.many(rows(5), ticket=ticket)
    assert report.counts == {Outcome.REJECTED: 2, Outcome.SKIPPED: 1, Outcome.OPENED: 2}
    assert "KeyError" in report.errors[0]["reason"]
    assert row(1)["phone"] not in str(report.to_json())


def test_an_id_of_the_api_that_is_too_long_is_no_reason_to_lose_the_outcome(everywhere: Deliveries) -> None:
    with sql_ledger(everywhere.url) as ledger:
        from tests.support.delivery import claim_of, options

        claim = claim_of(ledger, everywhere.work(1))
        opened = Settlement(claim, Outcome.OPENED, Evidence.REPLY, "c" * 300, "e" * 300)
        ledger.exchange([opened], [], options(), 60.0)
    assert everywhere.states() == {"id=1": "opened"}


def test_nor_is_an_error_text_with_odd_characters(everywhere: Deliveries, vambe_sandbox: Sandbox) -> None:
    with sql_ledger(everywhere.url) as ledger:
        from tests.support.delivery import claim_of, options

        for error in (VambeNotSentError("a\0b\ud800c"), VambeMaybeSentError("x", said="\0" * 3000)):
            claim = claim_of(ledger, everywhere.work(1))
            failed = Settlement(claim, Outcome.FAILED, Evidence.NOT_SENT, error=error)
            ledger.exchange([failed], [], options(), 60.0)
            assert everywhere.states() == {"id=1": "failed"}
