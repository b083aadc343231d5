from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.contact_policy.asked import policy_of, utc
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.contact_policy.approval import Approval, approval_hash
from vambe_provider.contact_policy.checks import check_policy, policy_warnings
from vambe_provider.contact_policy.holiday_calendar import KNOWN_RELEASE, old_library
from vambe_provider.contact_policy.presets import preset_names
from vambe_provider.exceptions import VambeConfigError

WINTER = utc("2026-05-10T15:00")
NOW = utc("2026-11-25T15:00")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_opens_for_its_country(name: str) -> None:
    for month in range(1, 13):
        check_policy(policy_of(name), NOW.replace(year=2027, month=month))


def test_a_window_that_its_countrys_zones_never_share_is_refused_at_the_start() -> None:
    policy = ContactPolicy(windows=[{"start": "08:00", "end": "08:30", "countries": "CL"}])
    with pytest.raises(VambeConfigError, match=r"windows: no window of CL .*Santiago, America/Punta_Arenas"):
        check_policy(policy, WINTER)
    check_policy(policy_of({"windows": policy.window_list, "timezone": "America/Santiago"}), WINTER)


def test_a_region_whose_holidays_nobody_knows_is_refused_at_the_start() -> None:
    policy = ContactPolicy(windows=[{"countries": "CL"}], holiday_regions=["CL-ZZ"])
    with pytest.raises(VambeConfigError, match="holidays of CL are not known"):
        check_policy(policy, NOW)


def test_policies_that_name_no_country_are_fine() -> None:
    for policy in (ContactPolicy(), ContactPolicy(windows="preset"), ContactPolicy(windows=[{}])):
        check_policy(policy, NOW)


def test_old_data_is_warned_about() -> None:
    later = NOW + timedelta(days=366)
    assert policy_warnings(policy_of("cl-debt"), NOW) == []
    assert any("preset cl-debt was read on 2026-11-25" in text for text in policy_warnings(policy_of("cl-debt"), later))
    by_country = policy_warnings(ContactPolicy(windows="preset", purpose="marketing"), later)
    assert any("co-marketing" in text for text in by_country)
    assert not any("cl-debt" in text for text in by_country)
    assert policy_warnings(ContactPolicy(), later) == []


def test_an_old_library_of_holidays_is_warned_about() -> None:
    released = utc(f"{KNOWN_RELEASE}T12:00")
    assert old_library(released) is None
    assert "pip install --upgrade holidays" in (old_library(released + timedelta(days=3660)) or "")


# --- Approval --------------------------------------------------------------------------------------------------------


def test_exactly_what_was_approved_is_allowed_until_the_approval_ends() -> None:
    request = {"message": "Hola", "stage_id": "s1"}
    seen = approval_hash("order=1", "+56961234567", request)
    approval = Approval(frozenset({seen}), NOW)
    before = NOW - timedelta(seconds=1)
    assert approval.allows(approval_hash("order=1", "+56961234567", dict(reversed(request.items()))), before)
    assert not approval.allows(seen, NOW)
    for changed in (
        approval_hash("order=2", "+56961234567", request),
        approval_hash("order=1", "+56961234568", request),
        approval_hash("order=1", "+56961234567", request | {"message": "Hola!"}),
    ):
        assert not approval.allows(changed, before)
