"""What is looked at once, when a run starts: rules that could never be met, and data that has grown old."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.holiday_calendar import old_library
from vambe_provider.contact_policy.presets import preset_named, preset_names
from vambe_provider.contact_policy.rules import rules_for
from vambe_provider.contact_policy.windows import UnknownHolidaysError, opening
from vambe_provider.contact_policy.zones import places_in
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.contact_policy.policy import ContactPolicy

_OLD = timedelta(days=365)


def check_policy(policy: ContactPolicy, now: datetime) -> None:
    """Refuse windows that are never open for the countries that they name, so that no row is postponed for ever.

    :param now: the present moment.
    :raises VambeConfigError: names the country, and the zones that are never open at the same time.
    """
    if isinstance(policy.windows, str):
        return
    named = sorted({place for window in policy.window_list for place in window.countries or ()})
    for place in (place for name in named for place in places_in(name)):
        zones = (policy.zone,) if policy.zone is not None else place.zones
        schedule = rules_for(policy, policy.purpose, place.country, place.area).schedule(zones)
        if schedule is None or not schedule.windows:
            continue
        try:
            opens = opening(schedule, now.timestamp(), guard=0.0)
        except UnknownHolidaysError:
            raise VambeConfigError(
                f"contact_policy: the holidays of {place.area or place.country} are not known",
                fix="Correct holiday_regions, or set holidays=True in the windows.",
            ) from None
        if opens is None:
            raise VambeConfigError(
                f"contact_policy.windows: no window of {place.area or place.country} opens within 31 days "
                f"({', '.join(zones)} have to be open together)",
                fix="Widen the window, or name the timezone.",
            )


def policy_warnings(policy: ContactPolicy, now: datetime) -> list[str]:
    """Return what a person should know before a run: an old library of holidays, an old preset.

    :param now: the present moment.
    """
    found: list[str] = []
    if policy.windows != "any":
        found += filter(None, [old_library(now)])
    for label in _presets(policy):
        name, _, read = label.partition("@")
        if now.date() - date.fromisoformat(read) > _OLD:
            found.append(
                f"The source of the preset {name} was read on {read}, over a year ago: look whether it changed."
            )
    return found


def _presets(policy: ContactPolicy) -> list[str]:
    if policy.preset is not None:
        return [policy.preset]
    if policy.windows != "preset":
        return []
    presets = [preset_named(name) for name in preset_names()]
    return [preset.label for preset in presets if preset.purpose == policy.purpose]
