"""How the fields of a policy are read and checked; every error names the field and what it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from typing import Any, cast

from vambe_provider.exceptions import VambeConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "day": "d", "week": "w"}
_PART = re.compile(r"([0-9]{1,6}) *([a-z]+)[ ,]*")
_DURATION = re.compile(rf"(?:[0-9]{{1,6}} *(?:[smhdw]|(?:{'|'.join(_WORDS)})s?)[ ,]*)+")
_LONGEST = timedelta(days=3660)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_COUNTRY = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")
_DURATIONS = "Write it as 7 days, 48h or 30 minutes."


def duration(value: object, name: str, *, more: str = "") -> timedelta:
    """Return the time that a text such as ``7 days``, ``48h`` or ``1 week 2 days`` means.

    :param value: the text, or a timedelta.
    :param name: the field, for errors.
    :param more: what else the field may be.
    :raises VambeConfigError: when it is no time above zero and up to ten years.
    """
    length = value if isinstance(value, timedelta) else None
    if isinstance(value, str) and _DURATION.fullmatch(text := value.strip().lower()):
        seconds = 0
        for number, unit in _PART.findall(text):
            seconds += int(number) * _UNITS[unit if unit in _UNITS else _WORDS[unit.removesuffix("s")]]
        length = timedelta(seconds=seconds)
    if length is None or not timedelta() < length <= _LONGEST:
        raise VambeConfigError(f"{name}: is not a length of time up to ten years", fix=f"{_DURATIONS}{more}")
    return length


def is_duration(text: str) -> bool:
    """Return whether a text is a length of time, and not the name of a column."""
    return _DURATION.fullmatch(text.strip().lower()) is not None


def inside(error: VambeConfigError, name: str) -> VambeConfigError:
    """Return an error of a part as one of the whole."""
    return VambeConfigError(f"{name}.{error.message}", fix=error.fix)


def set_field(target: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass, which its ``__post_init__`` may do."""
    object.__setattr__(target, name, value)


def items(value: object, name: str) -> list[Any]:
    """Return the items of a list."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise VambeConfigError(f"{name}: has to be a list")
    return list(value)


def texts(value: object, name: str) -> list[str]:
    """Return the texts of a list, or those of one text with commas."""
    found = value.split(",") if isinstance(value, str) else items(value, name)
    if not all(isinstance(item, str) for item in found):
        raise VambeConfigError(f"{name}: has to be a text or a list of texts")
    return [item.strip() for item in found]


def weekdays_of(text: str) -> frozenset[int]:
    """Return the days that a text such as ``mon-fri,sun`` means; Monday is 0."""
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = ("mon-sun" if part.strip() == "daily" else part).partition("-")
        ends = [first.strip(), last.strip() or first.strip()]
        if not set(ends) <= set(DAYS):
            raise VambeConfigError(
                "days: there is no such day", fix=f"Write it as mon-fri, sat or daily, with {', '.join(DAYS)}."
            )
        start, end = map(DAYS.index, ends)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return frozenset(found)


def clock(value: object, name: str) -> str:
    """Return a time of day as ``09:00``."""
    if isinstance(value, time):
        value = f"{value:%H:%M}"
    if not isinstance(value, str):
        raise VambeConfigError(
            f"{name}: has to be a text such as '09:00'",
            fix="Put quotes around it: YAML reads 20:00 without quotes as the number 1200.",
        )
    match = _CLOCK.fullmatch(value.strip())
    if match is None or (match[1] == "24" and match[2] != "00"):
        raise VambeConfigError(f"{name}: is not a time of day", fix="Write it as 09:00, with 00:00 to 24:00.")
    return f"{int(match[1]):02}:{match[2]}"


def minutes_of(text: str) -> int:
    """Return the minutes since midnight of a time such as ``09:00``."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def countries_of(value: object, name: str, *, state: bool = False) -> tuple[str, ...]:
    """Return countries, or states of countries, in capitals."""
    found = tuple(text.upper() for text in texts(value, name) if text) if value else ()
    if any(not _COUNTRY.fullmatch(text) or (state and "-" not in text) for text in found):
        raise VambeConfigError(
            f"{name}: is not a list of {'states' if state else 'countries'}",
            fix=("Write them as CL-NB or ES-MD." if state else "Write them as CL or MX, and states as BR-SP."),
        )
    if not found and not state:
        raise VambeConfigError(f"{name}: is empty", fix="Leave it out for all countries.")
    return found


def day_of(value: object) -> date:
    """Return the date that a holiday is written as."""
    try:
        return value if type(value) is date else date.fromisoformat(cast("str", value))
    except (TypeError, ValueError):
        raise VambeConfigError("holiday_dates: is not a list of dates", fix="Write them as 2026-12-24.") from None


def names_a_zone(text: str) -> bool:
    """Return whether a text names a time zone, and not a column."""
    return "/" in text or text == "UTC"


def check_zone(text: str, name: str) -> None:
    """Refuse the name of a time zone that does not exist."""
    from vambe_provider.contact_policy.zones import zone_named

    if zone_named(text) is None:
        raise VambeConfigError(
            f"{name}: there is no such time zone", fix="Write it as IANA does, such as America/Santiago."
        )


def one_of(value: object, name: str, allowed: tuple[str, ...], *, more: str = "") -> str:
    """Return a text that is one of those that are allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise VambeConfigError(f"{name}: is not one of {', '.join(allowed)}{more}")
    return value


def check_whole(value: object, name: str, *, least: int) -> None:
    """Refuse what is not a whole number, or too small a one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise VambeConfigError(f"{name}: has to be a whole number from {least}")


def check_text(value: object, name: str) -> None:
    """Refuse what is given, but is not a text with something in it."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise VambeConfigError(f"{name}: has to be a text", fix="Leave it out when there is none.")
