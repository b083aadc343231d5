from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import Deliveries, claim_of, options, row, sql_ledger
from vambe_provider.delivery.attempt import post
from vambe_provider.delivery.model import Outcome
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeMaybeSentError,
    VambeRateLimitError,
    VambeRefusedError,
    VambeTicketHeldError,
    VambeUnknownOutcomeError,
)

if TYPE_CHECKING:
    from vambe_provider.exceptions import VambeError


def test_an_opened_ticket(deliveries: Deliveries) -> None:
    result = deliveries.one(1)
    [ticket] = deliveries.sandbox.tickets()
    assert (result.outcome, result.ai_contact_id, result.error) == (Outcome.OPENED, ticket["ai_contact_id"], None)
    assert result.key.text == "id=1"
    assert ticket["message"]["content"] == "Hello Person1, your order 1 is late"
    assert deliveries.ledger_rows()["id=1"]["evidence"] == "reply"


def test_another_sender(deliveries: Deliveries) -> None:
    deliveries.one(1, phone_id="1951", channel="whatsapp")
    [ticket] = deliveries.sandbox.tickets()
    assert (ticket["phone_id"], ticket["channel"]) == ("1951", "whatsapp")


@pytest.mark.parametrize(
    ("status", "kind", "outcome", "state"),
    [
        (400, VambeRefusedError, Outcome.REJECTED, "rejected"),
        (404, VambeRefusedError, Outcome.REJECTED, "rejected"),
        (413, VambeRefusedError, Outcome.REJECTED, "rejected"),
        (422, VambeRefusedError, Outcome.REJECTED, "rejected"),
        (401, VambeAuthError, Outcome.FAILED, "failed"),
        (403, VambeAuthError, Outcome.FAILED, "failed"),
    ],
)
def test_a_refusal_is_final_and_a_wrong_key_is_no_fault_of_the_ticket(
    deliveries: Deliveries, status: int, kind: type[VambeError], outcome: Outcome, state: str
) -> None:
    deliveries.sandbox.fault("open_ticket", kind="status", status=status, says="stage_id is not valid")
    result = deliveries.one(1)
    assert isinstance(result.error, kind)
    assert (result.outcome, deliveries.states()) == (outcome, {"id=1": state})
    assert deliveries.posts() == 1
    again = deliveries.one(1)
    assert again.outcome == (Outcome.REJECTED if state == "rejected" else Outcome.OPENED)
    if state == "rejected":
        assert "ledger retry" in str(again.error)
        changed = deliveries.one(row(1, name="Another"))
        assert changed.outcome == Outcome.OPENED


def test_no_sender(deliveries: Deliveries) -> None:
    result = deliveries.one(1, settings=replace(deliveries.settings, phone_id=None))
    assert isinstance(result.error, VambeConfigError)
    assert deliveries.posts() == 0
    assert deliveries.one(1).outcome == Outcome.OPENED


def test_it_is_not_tried_for_ever(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "BLIND_RATE_LIMIT", 0.01)
    deliveries.sandbox.fault("open_ticket", kind="rate_limit", retry_after_form="none", times="forever")
    result = deliveries.one(1, opts=options(retry_budget=0.5))
    assert isinstance(result.error, VambeRateLimitError)
    assert (result.outcome, deliveries.states()) == (Outcome.FAILED, {"id=1": "failed"})
    assert deliveries.posts() >= 2


def test_a_wait_that_is_longer_than_its_time_is_not_begun(deliveries: Deliveries) -> None:
    deliveries.sandbox.fault("open_ticket", kind="rate_limit", retry_after=600)
    result = deliveries.one(1)
    assert isinstance(result.error, VambeRateLimitError)
    assert result.error.retry_after == 600
    assert deliveries.posts() == 1


def test_held_by_another_task_for_longer_than_it_waits(deliveries: Deliveries) -> None:
    with sql_ledger(deliveries.url) as other:
        claim_of(other, deliveries.work(1), options(run="other"), lease=3600.0)
        opts = options(lease=0.1, retry_budget=0.1)
        result = deliveries.one(1, opts=opts, settings=replace(deliveries.settings, timeout=0.1))
    assert result.outcome == Outcome.HELD
    assert isinstance(result.error, VambeTicketHeldError)
    assert deliveries.posts() == 0


def test_held_by_an_earlier_try_for_longer_than_anybody_waits(deliveries: Deliveries) -> None:
    with sql_ledger(deliveries.url) as other:
        claim_of(other, deliveries.work(1), lease=3600.0)
        opts = options(lease=0.1, retry_budget=0.1)
        result = deliveries.one(1, opts=opts, settings=replace(deliveries.settings, timeout=0.1))
    assert result.outcome == Outcome.HELD
    assert deliveries.posts() == 0


def test_unknown_says_what_to_do(deliveries: Deliveries) -> None:
    deliveries.sandbox.fault("open_ticket", kind="drop", when="after")
    for look in ("search_contacts", "list_contacts"):
        deliveries.sandbox.fault(look, kind="status", status=400, times="forever")
    first = deliveries.one(1)
    assert isinstance(first.error, VambeUnknownOutcomeError)
    assert "ledger resolve" in str(first.error)
    again = deliveries.one(1)
    assert isinstance(again.error, VambeUnknownOutcomeError)
    assert (again.outcome, deliveries.posts()) == (Outcome.UNKNOWN, 1)


def test_errors_show_nothing_of_the_person(deliveries: Deliveries) -> None:
    phone, secrets = row(1)["phone"], ["Person1", "is late", "sandbox-key", row(1)["phone"][-8:]]
    cases: list[dict[str, Any]] = [
        {"kind": "status", "status": 422},
        {"kind": "status", "status": 500, "when": "before", "times": "forever"},
        {"kind": "failure_body", "when": "before", "times": "forever"},
    ]
    for number, case in enumerate(cases):
        deliveries.sandbox.reset()
        deliveries.sandbox.fault("open_ticket", **case)
        result = deliveries.one(row(1, id=number), opts=options(retry_budget=0.1))
        assert result.error is not None
        for text in (str(result.error), repr(result), repr(result.error)):
            assert not [secret for secret in [*secrets, phone] if secret in text]
    assert not isinstance(result.error, VambeMaybeSentError)
