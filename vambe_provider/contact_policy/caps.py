"""How many tickets are too many: caps of a person, caps of a sender, and the limit for new people.

All of it is pure: the ledger counts, inside the transaction that claims a ticket, and hands the counts over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.windows import midnight
from vambe_provider.contact_policy.zones import zone_named

if TYPE_CHECKING:
    from vambe_provider.contact_policy.parts import Cap, WarmUp

COUNTED_STATES = ("sending", "opened", "reconciled", "unknown")
"""The attempts that count: they reached somebody, or may have."""
_DAY = timedelta(days=1)

Zones = tuple[str, ...]
Refusal = tuple[str, "datetime | None"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one cap has counted.

    :param used: attempts since :func:`counted_since`.
    :param last: the last attempt, however long ago as far as :func:`looked_at_since` goes.
    :param times: the starts of attempts, the newest first, as far as they are known; they tell when the next is
        possible.
    """

    used: int = 0
    last: datetime | None = None
    times: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, cap: Cap, times: Iterable[datetime], *, now: datetime, zones: Zones) -> Tally:
        """Return the tally of attempts that are all known.

        :param cap: the cap.
        :param times: the starts of attempts since :func:`looked_at_since`.
        :param now: the present moment.
        :param zones: as in :func:`counted_since`.
        """
        newest_first = tuple(sorted(times, reverse=True))
        since = counted_since(cap, now, zones)
        counted = tuple(time for time in newest_first if _counts(cap, time, since, zones))
        return cls(len(counted), newest_first[0] if newest_first else None, counted)


def counted_since(cap: Cap, now: datetime, zones: Zones) -> datetime:
    """Return the moment since which attempts count: later than it for a time that moves along, and from it for a day.

    :param zones: the contact's zones, or the sender's zone; without one, a day is the last 24 hours.
    """
    if cap.rolling is not None or not zones:
        return now - (cap.rolling or _DAY)
    return min(_midnights(now, zones, days=0))


def looked_at_since(cap: Cap, now: datetime, zones: Zones) -> datetime:
    """Return the moment since which the ledger has to look, for the count and for the gap."""
    since = counted_since(cap, now, zones)
    return since if cap.gap is None else min(since, now - cap.gap)


def cap_refuses(cap: Cap, tally: Tally, *, now: datetime, zones: Zones) -> Refusal | None:
    """Return why a ticket has to wait and until when, or None when the cap has room."""
    if tally.used >= cap.n:
        return ("cap_reached" if cap.per == "person" else "sender_cap_reached"), _free_at(cap, tally, now, zones)
    if cap.gap is not None and tally.last is not None and now < tally.last + cap.gap:
        return "min_gap", tally.last + cap.gap
    return None


def new_people_refuses(
    warm_up: WarmUp, tally: Tally, *, first_send: datetime | None, now: datetime, zone: str | None
) -> Refusal | None:
    """Return why a new person has to wait and until when, or None when there is room.

    :param tally: the people whom the sender wrote to for the first time today, or in the last 24 hours without a zone.
    :param first_send: when the ledger saw the sender's first ticket; None when this is the first.
    :param zone: the sender's zone.
    """
    allowed = warm_up.on_day(_day_number(first_send, now, zone))
    if tally.used < allowed:
        return None
    if zone is not None:
        return "new_people", max(_midnights(now, (zone,), days=1))
    known = tally.times[allowed - 1 : allowed]
    return "new_people", (known[0] if known else now) + _DAY


def _counts(cap: Cap, time: datetime, since: datetime, zones: Zones) -> bool:
    return time >= since if cap.rolling is None and zones else time > since


def _free_at(cap: Cap, tally: Tally, now: datetime, zones: Zones) -> datetime:
    if cap.rolling is None and zones:
        return max(_midnights(now, zones, days=1))
    known = tally.times[cap.n - 1 : cap.n]
    # Without the times nobody knows when a slot is free; the decision is taken anew whenever the row comes again.
    return (known[0] if known else now) + (cap.rolling or _DAY)


def _day_number(first_send: datetime | None, now: datetime, zone: str | None) -> int:
    if first_send is None:
        return 1
    place = zone_named(zone) if zone is not None else None
    if place is None:
        return (now - first_send) // _DAY + 1
    return (now.astimezone(place).date() - first_send.astimezone(place).date()).days + 1


def _midnights(now: datetime, zones: Zones, *, days: int) -> list[datetime]:
    """Return when today begins in each zone, or a later day."""
    known = [zone for name in zones if (zone := zone_named(name)) is not None]
    return [midnight(now.astimezone(zone).date() + timedelta(days=days), zone, later=days > 0) for zone in known]
