from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from vambe_provider.contact_policy import ContactPolicy, Facts
from vambe_provider.contact_policy.suppression import Suppressed
from vambe_provider.delivery.model import Outcome
from vambe_provider.delivery.permission import Permission, Ruling, check_served
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError, VambeValidationError

CHILE = "+56961234567"
NIGHT = datetime.fromisoformat("2026-11-25T05:00:00+00:00")
NOON = datetime.fromisoformat("2026-11-25T15:00:00+00:00")
OPENS = datetime.fromisoformat("2026-11-25T11:00:00+00:00")
COURTESY = {"windows": [{"days": "daily", "start": "08:00", "end": "20:00", "holidays": True}]}


def ruled(
    fields: Mapping[str, object],
    now: datetime = NIGHT,
    *,
    number: str | PhoneNumberError = CHILE,
    row: dict[str, object] | None = None,
    suppressed: tuple[Suppressed, ...] | None = (),
    override: str | None = None,
) -> Ruling | None:
    permission = Permission(ContactPolicy(**fields), timeout=30.0, override=override)  # type: ignore[arg-type]
    subject = permission.subject(number, row, first_seen=now)
    return permission.ruling(permission.decide(subject, now, Facts(suppressed=suppressed)))


def test_a_ticket_outside_its_window_is_postponed_until_it_opens() -> None:
    found = ruled(COURTESY)
    assert found is not None
    assert (found.outcome, found.due, found.reason) == (Outcome.POSTPONED, OPENS, "outside_window")
    assert ruled(COURTESY, NOON) is None


@pytest.mark.parametrize(("on_closed", "outcome"), [("skip", Outcome.SKIPPED), ("fail", Outcome.FAILED)])
def test_on_closed_says_what_becomes_of_it(on_closed: str, outcome: Outcome) -> None:
    found = ruled({**COURTESY, "on_closed": on_closed})
    assert found is not None
    assert (found.outcome, found.due) == (outcome, None)


def test_a_list_that_could_not_be_read_fails_whatever_on_closed_says() -> None:
    for on_closed in ("postpone", "skip", "fail"):
        found = ruled({"on_closed": on_closed}, suppressed=None)
        assert found is not None
        assert (found.outcome, found.reason) == (Outcome.FAILED, "suppression_unavailable")


def test_the_column_of_opt_outs_leaves_a_person_out_unless_it_is_clearly_a_no() -> None:
    fields: dict[str, object] = {"suppression": {"column": "stop"}}
    for value in (True, 1, "yes", "TRUE", "sí", "2026-01-01"):
        found = ruled(fields, row={"stop": value})
        assert found is not None
        assert found.outcome == Outcome.SUPPRESSED
    for no in (None, False, 0, "", "no", "False ", float("nan")):
        assert ruled(fields, row={"stop": no}) is None


def test_the_column_of_zones_wins_over_the_number() -> None:
    fields: dict[str, object] = {**COURTESY, "timezone": "zone"}
    morning = OPENS + timedelta(minutes=5)
    assert ruled(fields, morning) is None
    found = ruled(fields, morning, row={"zone": "Pacific/Easter"})
    assert found is not None
    assert found.due == OPENS + timedelta(hours=2)
    assert (unknown := ruled(fields, morning, row={"zone": "Chile"})) is not None
    assert (unknown.outcome, unknown.reason) == (Outcome.REJECTED, "unknown_zone")


def test_a_row_that_would_be_too_late_when_its_window_opens_is_left_out_at_once() -> None:
    found = ruled({**COURTESY, "expires": "ends"}, row={"ends": "2026-11-25T07:00:00-03:00"})
    assert found is not None
    assert (found.outcome, found.reason) == (Outcome.SUPPRESSED, "expired")
    with pytest.raises(VambeValidationError, match="ends: is not a time"):
        ruled({"expires": "ends"}, row={"ends": "soon"})


def test_a_refused_number_is_rejected_with_its_reason() -> None:
    found = ruled({}, number=PhoneNumberError(["to_phone_number: is a landline"], reason="landline"))
    assert found is not None
    assert (found.outcome, found.reason) == (Outcome.REJECTED, "landline")


def test_an_override_opens_a_window_and_no_opt_out() -> None:
    assert ruled(COURTESY, override="recall of a product") is None
    assert (found := ruled(COURTESY, override="recall", suppressed=(Suppressed(),))) is not None
    assert found.outcome == Outcome.SUPPRESSED


def test_the_text_names_the_rule_and_the_preset_and_no_number() -> None:
    permission = Permission(ContactPolicy.from_preset("service"), timeout=30.0)
    decision = permission.decide(permission.subject(CHILE, first_seen=NIGHT), NIGHT, Facts(suppressed=()))
    found = permission.ruling(decision)
    assert found is not None
    text = str(found.error("Ticket order_id=7"))
    assert "window: no window is open" in text
    assert "service@" in text
    assert CHILE[-4:] not in text
    assert found.error("x").kind == "outside_window"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"suppression": {"sql": "SELECT phone FROM stop"}}, "suppression.sql"),
        ({"suppression": {"max_list_age": "30 days"}}, "max_list_age"),
        ({"caps": [{"n": 1}]}, "caps"),
        ({"windows": "preset", "purpose": "debt"}, "caps"),
        ({"new_people": {}}, "new_people"),
    ],
)
def test_what_nobody_can_look_up_is_refused(fields: dict[str, object], field: str) -> None:
    policy = ContactPolicy(**fields)  # type: ignore[arg-type]
    with pytest.raises(VambeConfigError, match=field):
        check_served(policy, remembers=False)
    check_served(policy, lists=True)


def test_caps_need_a_ledger() -> None:
    with pytest.raises(VambeConfigError, match="ledger_conn_id"):
        check_served(ContactPolicy(caps=[{"n": 1}]), remembers=False)
