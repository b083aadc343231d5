"""Which days are holidays, from the library ``holidays``, which is loaded when the first window asks for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

KNOWN_VERSION = (0, 109)
KNOWN_RELEASE = date(2026, 11, 17)
"""The newest release that this provider was tested with, and its day."""
_BETWEEN_RELEASES = timedelta(days=15)
_OLD = timedelta(days=365)


class Calendar(NamedTuple):
    """Whose holidays count.

    :param country: two-letter country.
    :param state: its state, without the country; None for the national holidays alone.
    :param more: days that count besides.
    """

    country: str | None
    state: str | None
    more: frozenset[date]


def is_holiday(calendar: Calendar, day: date) -> bool | None:
    """Return whether a day is a holiday, or None when nobody knows the holidays of the country."""
    if day in calendar.more:
        return True
    known = _holidays(calendar.country, calendar.state, day.year)
    return None if known is None else day in known


def old_library(now: datetime) -> str | None:
    """Return a warning when the library is over a year old, and so may not know a holiday that a law has added.

    :param now: the present moment.
    """
    from importlib.metadata import version as installed

    version = installed("holidays")
    parts = version.split(".")
    if not all(part.isdecimal() for part in parts[:2]) or len(parts) < 2:
        return None
    # Its releases come every two weeks, and a package does not know its own day.
    behind = KNOWN_VERSION[1] - int(parts[1]) if int(parts[0]) == KNOWN_VERSION[0] else 0
    released = KNOWN_RELEASE - behind * _BETWEEN_RELEASES
    if now.astimezone(UTC).date() - released <= _OLD:
        return None
    return (
        f"The installed library of holidays ({version}) is over a year old: a newer holiday would be a working day. "
        "Update it with: pip install --upgrade holidays"
    )


@lru_cache(maxsize=1024)
def _holidays(country: str | None, state: str | None, year: int) -> frozenset[date] | None:
    if country is None:
        return None
    import holidays

    try:
        # A plain set: the library's own objects grow when they are asked for another year.
        return frozenset(holidays.country_holidays(country, subdiv=state, years=year))
    except NotImplementedError:
        return None
