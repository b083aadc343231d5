"""When windows are open: wall-clock times in the contact's zones become moments, and back to the next opening.

A window is half-open: at 20:00 sharp it is closed. Arithmetic is done in UTC, because two wall-clock times of one zone
do not subtract as time does when a clock changes between them. Where a clock change makes a time twofold, the stricter
one counts: a window opens at the second and closes at the first.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.holiday_calendar import Calendar, is_holiday
from vambe_provider.contact_policy.zones import zone_named

if TYPE_CHECKING:
    from vambe_provider.contact_policy.parts import ContactWindow

LOOK_AHEAD = timedelta(days=31)
"""How far an opening is looked for; a window that is not open within it never is."""
_DAY = 86_400
_EPOCH = date(1970, 1, 1)

Interval = tuple[int, int]
"""From a second since 1970 to another, which does not belong to it."""
OpenTimes = tuple[list[int], list[int]]
"""The starts of intervals, and their ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """All that says when somebody may be contacted.

    :param windows: the windows; open is where one of them is.
    :param zones: the contact's possible zones; open is where all of them are.
    :param calendar: the holidays.
    """

    windows: tuple[ContactWindow, ...]
    zones: tuple[str, ...]
    calendar: Calendar
    known: dict[int, OpenTimes] = field(default_factory=dict, init=False, repr=False)
    """The open times around each day that was asked for, worked out once."""


class UnknownHolidaysError(Exception):
    """A window is closed on holidays, and nobody knows those of the country."""


def opening(schedule: Schedule, moment: float, *, guard: float) -> float | None:
    """Return the first moment at which a schedule is open: the given one when it is open then, else a later one.

    :param moment: seconds since 1970.
    :param guard: seconds before its end at which a window counts as closed, since a request takes time.
    :return: seconds since 1970; None when nothing opens within 31 days.
    :raises UnknownHolidaysError: when the holidays that the windows ask for are not known.
    """
    day = int(moment // _DAY)
    times = schedule.known.get(day)
    if times is None:
        times = schedule.known[day] = _open_times(schedule, day)
    starts, ends = times
    place = max(0, bisect_right(starts, moment) - 1)
    for start, end in zip(starts[place:], ends[place:], strict=True):
        if start > moment + LOOK_AHEAD.total_seconds():
            break
        if max(start, moment) + guard < end:
            return max(start, moment)
    return None


def midnight(day: date, zone: tzinfo, *, later: bool = False) -> datetime:
    """Return the moment at which a date begins in a zone, in UTC.

    :param later: which one when the clock shows midnight twice.
    """
    return datetime.fromtimestamp(_at(zone, day, 0, later=later), UTC)


def _open_times(schedule: Schedule, day: int) -> OpenTimes:
    """Return when a schedule opens and closes around a day, counted from 1970 in UTC."""
    first = _EPOCH + timedelta(days=day - 2)
    days = [first + timedelta(days=number) for number in range(LOOK_AHEAD.days + 5)]
    found: list[Interval] | None = None
    for name in schedule.zones:
        zone = zone_named(name)
        intervals = [] if zone is None else _merged(_in_zone(schedule, zone, days))
        found = intervals if found is None else _common(found, intervals)
    return [start for start, _ in found or ()], [end for _, end in found or ()]


def _in_zone(schedule: Schedule, zone: tzinfo, days: list[date]) -> list[Interval]:
    found = []
    for window in schedule.windows:
        first, last = window.minutes
        for day in days:
            if day.weekday() not in window.weekdays or _is_closed(schedule, window, day):
                continue
            end = _at(zone, day, last, later=False)
            if last > _DAY // 60 and _is_closed(schedule, window, day + timedelta(days=1)):
                end = min(end, _at(zone, day, _DAY // 60, later=False))
            start = _at(zone, day, first, later=True)
            if start < end:
                found.append((start, end))
    return sorted(found)


def _is_closed(schedule: Schedule, window: ContactWindow, day: date) -> bool:
    if window.holidays:
        return False
    holiday = is_holiday(schedule.calendar, day)
    if holiday is None:
        raise UnknownHolidaysError
    return holiday


def _at(zone: tzinfo, day: date, minute: int, *, later: bool) -> int:
    """Return the moment of a wall-clock time, in seconds since 1970.

    :param minute: minutes since the midnight at which the day begins; from 1440 on, of the next day.
    :param later: which one when the clock shows the time twice. A time that it skips is the moment of the change.
    """
    days, minute = divmod(minute, _DAY // 60)
    local = datetime.combine(day + timedelta(days=days), time(minute // 60, minute % 60), zone)
    moments = [int(local.replace(fold=fold).timestamp()) for fold in (0, 1)]
    if moments[0] > moments[1]:  # skipped: the first reading lies after the change, the second before it
        return _change_between(zone, moments[1], moments[0])
    return moments[1] if later else moments[0]


def _change_between(zone: tzinfo, before: int, after: int) -> int:
    offset = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _merged(intervals: list[Interval]) -> list[Interval]:
    """Return sorted intervals with those joined that touch, so that a guard stands at true ends only."""
    found: list[Interval] = []
    for start, end in intervals:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _common(one: list[Interval], other: list[Interval]) -> list[Interval]:
    """Return the time that lies in both of two sorted lists."""
    found: list[Interval] = []
    left = right = 0
    while left < len(one) and right < len(other):
        start = max(one[left][0], other[right][0])
        end = min(one[left][1], other[right][1])
        if start < end:
            found.append((start, end))
        if one[left][1] <= other[right][1]:
            left += 1
        else:
            right += 1
    return found
