"""Which windows and caps hold for a person: those of the policy, or of the preset of the country and the purpose."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from vambe_provider.contact_policy.holiday_calendar import Calendar
from vambe_provider.contact_policy.presets import preset_for, preset_named, preset_names
from vambe_provider.contact_policy.windows import Schedule

if TYPE_CHECKING:
    from vambe_provider.contact_policy.parts import Cap, ContactWindow
    from vambe_provider.contact_policy.policy import ContactPolicy


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What holds for the people of one country or state.

    :param windows: the windows; None when there is no limit.
    :param calendar: the holidays.
    :param caps: the caps.
    :param preset: the preset they come from, with its version.
    :param problem: why nothing may be sent; None when the rules are complete.
    """

    windows: tuple[ContactWindow, ...] | None
    calendar: Calendar
    caps: tuple[Cap, ...]
    preset: str | None
    problem: str | None = None
    schedules: dict[tuple[str, ...], Schedule] = field(default_factory=dict, init=False, repr=False)

    def schedule(self, zones: tuple[str, ...]) -> Schedule | None:
        """Return when people with some zones may be contacted; None when there is no limit."""
        if self.windows is None:
            return None
        found = self.schedules.get(zones)
        if found is None:
            found = self.schedules[zones] = Schedule(self.windows, zones, self.calendar)
        return found


@lru_cache(maxsize=4096)
def rules_for(policy: ContactPolicy, purpose: str, country: str | None, area: str | None) -> Rules:
    """Return the rules for the people of a place.

    :param purpose: the purpose of the ticket.
    :param country: two-letter country; None when it is not known.
    :param area: the state with its country, such as ``BR-SP``; None when no rule asks for it.
    """
    calendar = _calendar(policy, country, area)
    caps = policy.cap_list or ()
    if policy.windows == "any":
        return Rules(None, calendar, caps, policy.preset)
    if policy.windows == "preset":
        preset = preset_for(country, purpose)
        if preset is None:
            return Rules((), calendar, caps, None, "no_preset")
        windows, label = preset.windows, preset.label
        caps = preset.caps if policy.cap_list is None else caps
    else:
        windows, label = policy.window_list, policy.preset or ""
    chosen = _narrowest(windows, country, area)
    return Rules(chosen, calendar, caps, label or None, None if chosen else "no_window")


def all_caps(policy: ContactPolicy, purpose: str) -> tuple[Cap, ...]:
    """Return every cap that a policy may ask for, whatever country the number is of."""
    if policy.cap_list is not None or policy.windows != "preset":
        return policy.cap_list or ()
    presets = [preset_named(name) for name in preset_names()]
    chosen = [preset for preset in presets if preset == preset_for(preset.country, purpose)]
    return tuple(dict.fromkeys(cap for preset in chosen for cap in preset.caps))


def _narrowest(windows: tuple[ContactWindow, ...], country: str | None, area: str | None) -> tuple[ContactWindow, ...]:
    """Return the windows of the state, else those of the country, else those for all."""
    for place in (area, country):
        chosen = tuple(window for window in windows if place is not None and place in (window.countries or ()))
        if chosen:
            return chosen
    return tuple(window for window in windows if window.countries is None)


def _calendar(policy: ContactPolicy, country: str | None, area: str | None) -> Calendar:
    regions = [region.partition("-") for region in cast("tuple[str, ...]", policy.holiday_regions)]
    chosen = [state for name, _, state in regions if name == country]
    # The number tells the state in Brazil only; +1 names states for their windows.
    if not chosen and area is not None and country == "BR":
        chosen = [area.partition("-")[2]]
    return Calendar(country, chosen[0] if chosen else None, frozenset(policy.holiday_dates))  # type: ignore[arg-type]
