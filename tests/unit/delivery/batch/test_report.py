from __future__ import annotations

import json

import pytest

from vambe_provider.delivery.batch.report import MAX_CONTACTS, MAX_ERRORS, Report, allowed
from vambe_provider.delivery.key import named_key
from vambe_provider.delivery.model import Outcome
from vambe_provider.exceptions import (
    VambeConfigError,
    VambeDeliveryError,
    VambeRefusedError,
    VambeUnknownOutcomeError,
    VambeValidationError,
)


def _report(**counts: int) -> Report:
    report = Report(rows=sum(counts.values()))
    for name, count in counts.items():
        for number in range(count):
            error = VambeRefusedError("no", status=400) if name in ("rejected", "failed", "unknown") else None
            report.add(Outcome(name), key=named_key("n", f"id={number}"), error=error, ai_contact_id=f"{name}{number}")
    return report


def test_it_is_plain_json_with_every_outcome() -> None:
    report = _report(opened=2, reconciled=1, rejected=1)
    report.elapsed = 2.0
    plain = report.to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain["counts"]) == {outcome.value for outcome in Outcome}
    assert plain["counts"]["opened"] == 2
    assert plain["rows"] == report.done == 4
    assert (plain["rows_per_second"], plain["tickets_per_second"]) == (2.0, 1.5)
    assert plain["ai_contact_ids"] == ["opened0", "opened1", "reconciled0"]
    assert plain["errors"] == [{
        "row": 0, "key": "id=0", "ticket_key": named_key("n", "id=0").digest, "outcome": "rejected",
        "kind": "refused_400",
        "reason": "no. Nothing was sent.",
    }]  # fmt: skip
    assert Report().to_json()["rows_per_second"] == 0.0


def test_it_does_not_grow_with_the_rows() -> None:
    report = _report(opened=MAX_CONTACTS + 5, rejected=MAX_ERRORS + 5)
    plain = report.to_json()
    assert len(plain["errors"]) == MAX_ERRORS
    assert len(plain["ai_contact_ids"]) == MAX_CONTACTS
    assert plain["error_kinds"] == {"refused_400": MAX_ERRORS + 5}


def test_rows_without_a_key() -> None:
    report = Report()
    report.add(Outcome.REJECTED, error=VambeValidationError(["key column id: is null"], where="a row"))
    assert report.to_json()["errors"][0]["key"] == ""


def test_the_summary() -> None:
    assert Report().summary() == "no rows"
    assert _report(opened=1500, already_opened=2).summary() == "1,500 opened, 2 already opened"


@pytest.mark.parametrize("outcome", ["opened", "already_opened", "reconciled", "skipped", "duplicate", "still_rejected",
                                     "postponed", "suppressed", "left", "seeded", "dry_run"])  # fmt: skip
def test_a_task_succeeds_with(outcome: str) -> None:
    assert _report(**{outcome: 3}).verdict() is None


def test_a_task_with_held_rows_is_retried() -> None:
    held = _report(opened=3, held=1).verdict(max_rejected="100%")
    assert isinstance(held, VambeDeliveryError)
    assert not held.permanent
    assert "1 rows are held by another task" in str(held)


def test_conflicts_count_as_rejected_rows() -> None:
    conflict = _report(opened=3, conflict=2).verdict(max_rejected=1)
    assert isinstance(conflict, VambeDeliveryError)
    assert conflict.permanent
    assert _report(opened=3, conflict=2).verdict(max_rejected=2) is None


def test_what_is_one() -> None:
    failed = _report(opened=1, failed=2, unknown=1, rejected=1).verdict()
    assert isinstance(failed, VambeDeliveryError)
    assert "2 rows could not be sent" in str(failed)
    assert not failed.permanent
    unknown = _report(opened=1, unknown=1, rejected=1).verdict()
    assert isinstance(unknown, VambeUnknownOutcomeError)
    assert unknown.permanent
    assert "ledger resolve" in str(unknown)
    rejected = _report(opened=1, rejected=1).verdict()
    assert isinstance(rejected, VambeDeliveryError)
    assert rejected.permanent
    assert "max_rejected is 0" in str(rejected)


def test_a_run_that_was_stopped() -> None:
    report = _report(opened=1)
    report.stopped = "the sender is not connected in Vambe"
    error = report.verdict(max_rejected="100%")
    assert error is not None
    assert "the sender is not connected" in str(error)


@pytest.mark.parametrize(
    ("limit", "fails"), [(0, True), (9, True), (10, False), ("9", True), ("10", False), ("9%", True), ("10%", False),
                         (" 10 % ", False), (10.0, False)],
)  # fmt: skip
def test_how_many_may_be_rejected(limit: str | float, fails: bool) -> None:
    assert (_report(opened=90, rejected=10).verdict(limit) is not None) == fails


@pytest.mark.parametrize("limit", ["many", "-1", "", "101%", "nan", -1, "5%%"])
def test_a_limit_that_is_none(limit: str | float) -> None:
    with pytest.raises(VambeConfigError, match="max_rejected"):
        allowed(limit, 100)
