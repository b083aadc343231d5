from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.delivery import RUN, options, preparer, row
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.ledger.decide import Known, decide, resend_token
from vambe_provider.delivery.model import State, Verdict, Work

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ME, OTHER = "me", "other"
MADE = preparer(ConnectionSettings(api_key="k", phone_id="p"), lambda name: "stage")(row(1))
assert isinstance(MADE, Work)
WORK: Work = MADE


def known(state: State, **changes: Any) -> Known:
    base = Known(state=state, generation=0, attempts=1, run="another run", owner=f"{OTHER}.1",
                 fingerprint=WORK.fingerprint)  # fmt: skip
    return base._replace(**changes)


def verdict(row: Known | None, **given: Any) -> Verdict:
    return decide(row, WORK, options(**given), me=ME, now=NOW).verdict


LATER, BEFORE = NOW + timedelta(seconds=30), NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("row", "given", "expected"),
    [
        (None, {}, Verdict.SEND),
        (known(State.OPENED), {}, Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), {}, Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), {"on_change": "open_again"}, Verdict.SEND),
        (known(State.OPENED), {"on_change": "open_again"}, Verdict.OPENED),
        (known(State.OPENED, fingerprint="x", run=RUN), {"on_change": "open_again"}, Verdict.OPENED),
        (known(State.OPENED, owner=f"{ME}.1"), {}, Verdict.DUPLICATE),
        (known(State.OPENED, owner=f"{ME}.1", fingerprint="x"), {}, Verdict.CONFLICT),
        (known(State.OPENED, owner=f"{ME}.1", fingerprint="x"), {"on_change": "open_again"}, Verdict.CONFLICT),
        (known(State.OPENED), {"resend": True}, Verdict.SEND),
        (known(State.OPENED, resent_by=resend_token(options(resend=True))), {"resend": True}, Verdict.OPENED),
        (known(State.OPENED, resent_by="another run's"), {"resend": True}, Verdict.SEND),
        (known(State.SENDING, lease_until=LATER), {}, Verdict.HELD),
        (known(State.SENDING, lease_until=LATER, run=RUN), {}, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER, run=RUN, owner=f"{ME}.1"), {}, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER), {"resend": True}, Verdict.HELD),
        (known(State.SENDING, lease_until=BEFORE), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=NOW), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=None), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=BEFORE, fingerprint="x"), {"resend": True}, Verdict.CHECK),
        (known(State.REJECTED), {}, Verdict.REJECTED),
        (known(State.REJECTED), {"resend": True}, Verdict.REJECTED),
        (known(State.REJECTED, fingerprint="x"), {}, Verdict.SEND),
        (known(State.REJECTED, owner=f"{ME}.r"), {}, Verdict.DUPLICATE),
        (known(State.REJECTED, owner=f"{ME}.r", fingerprint="x"), {}, Verdict.CONFLICT),
        (known(State.FAILED), {}, Verdict.SEND),
        (known(State.FAILED, owner=f"{ME}.1"), {}, Verdict.SEND),
        (known(State.UNKNOWN), {}, Verdict.UNKNOWN),
        (known(State.UNKNOWN), {"resend": True}, Verdict.UNKNOWN),
        (known(State.UNKNOWN), {"on_unknown": "resend"}, Verdict.CHECK),
        (known(State.UNKNOWN, owner=f"{ME}.1"), {"on_unknown": "resend"}, Verdict.UNKNOWN),
        (known(State.POSTPONED, due_at=LATER), {}, Verdict.HELD),
        (known(State.POSTPONED, due_at=BEFORE), {}, Verdict.SEND),
        (known(State.SUPPRESSED), {}, Verdict.SEND),
    ],
)
def test_what_may_be_done(row: Known | None, given: dict[str, Any], expected: Verdict) -> None:
    assert verdict(row, **given) == expected


def test_what_is_sent_again_on_purpose_is_another_generation() -> None:
    opened = known(State.OPENED, generation=2, fingerprint="x")
    assert decide(opened, WORK, options(resend=True), me=ME, now=NOW).generation == 3
    assert decide(opened, WORK, options(on_change="open_again"), me=ME, now=NOW).generation == 3
    for state in (State.FAILED, State.SENDING, State.UNKNOWN):
        row = known(state, generation=2)
        assert decide(row, WORK, options(on_unknown="resend"), me=ME, now=NOW).generation == 2


def test_how_long_to_wait() -> None:
    assert decide(known(State.SENDING, lease_until=LATER), WORK, options(), me=ME, now=NOW).wait == 30.0


def test_a_long_run_name_is_the_same_run_when_it_comes_back_from_the_ledger() -> None:
    long = "dag/" + "x" * 300
    stored = known(State.SENDING, lease_until=LATER, run=options(run=long).run)
    assert len(stored.run) <= 250
    assert verdict(stored, run=long) == Verdict.WAIT


def test_a_resend_is_told_by_its_run() -> None:
    assert resend_token(options()) is None
    assert resend_token(options(resend=True)) == resend_token(options(resend=True))
    assert resend_token(options(resend=True)) != resend_token(options(resend=True, run="x"))
