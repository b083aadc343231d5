"""The parts of a contact policy: windows, caps, the limit for new people, and where opt-outs are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Literal, cast

from vambe_provider.contact_policy.fields import (
    check_text,
    check_whole,
    clock,
    countries_of,
    duration,
    minutes_of,
    one_of,
    set_field,
    texts,
    weekdays_of,
)
from vambe_provider.exceptions import VambeConfigError

SCOPES = {"person": ("ledger", "namespace"), "sender": ("sender", "account")}
"""What a cap counts over; the first is the default."""


@dataclass(frozen=True, slots=True)
class ContactWindow:
    """Days and hours at which people may be contacted, in their own time.

    :param days: ``mon-fri``, ``mon-sat,sun``, ``sat`` or ``daily``; a list of such texts is possible too.
    :param start: the first minute, such as ``09:00``.
    :param end: the minute at which the window is closed again. One that is not later than ``start`` is on the next
        day; the night then belongs to the day on which it begins. ``24:00`` is midnight.
    :param holidays: whether the window is open on holidays of the contact's country too.
    :param countries: two-letter countries, or states such as ``BR-SP``, in which the window holds; None for all. The
        windows of a state replace those of its country, and these replace the windows for all.
    :raises VambeConfigError: names the field and what it may be.
    """

    days: str | Sequence[str] = "mon-fri"
    start: str | time = "09:00"
    end: str | time = "20:00"
    holidays: bool = False
    countries: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        days = ",".join(texts(self.days, "days"))
        set_field(self, "days", days)
        weekdays_of(days)
        for name in ("start", "end"):
            set_field(self, name, clock(getattr(self, name), name))
        if self.start == "24:00":
            raise VambeConfigError("start: 24:00 is the end of a day", fix="Write 00:00.")
        if not isinstance(self.holidays, bool):
            raise VambeConfigError("holidays: has to be true or false")
        if self.countries is not None:
            set_field(self, "countries", countries_of(self.countries, "countries"))

    @property
    def weekdays(self) -> frozenset[int]:
        """The days on which the window begins; Monday is 0."""
        return weekdays_of(cast("str", self.days))

    @property
    def minutes(self) -> tuple[int, int]:
        """Start and end in minutes since midnight; an end on the next day is above 1440."""
        start, end = (minutes_of(cast("str", text)) for text in (self.start, self.end))
        return start, end if end > start else end + 1440


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many tickets in a time.

    Attempts are counted that may have reached somebody (sending, opened, reconciled, unknown), whatever their purpose.

    :param n: how many.
    :param per: ``person``: to one number; ``sender``: by one sender.
    :param period: a time that moves along, such as ``7 days``; or ``day``, the calendar day in the contact's zone, for
        a sender in the policy's ``sender_timezone``.
    :param min_gap: time that has to pass between two tickets to one person; None for no such rule.
    :param scope: for a person ``ledger`` (all Dags, senders and namespaces; the default) or ``namespace``; for a sender
        ``sender`` (the default) or ``account``, which is all senders of the account together.
    :raises VambeConfigError: names the field and what it may be.
    """

    n: int
    per: Literal["person", "sender"] = "person"
    period: timedelta | str = "7 days"
    min_gap: timedelta | str | None = None
    scope: str | None = None

    def __post_init__(self) -> None:
        check_whole(self.n, "n", least=1)
        one_of(self.per, "per", tuple(SCOPES))
        if self.period != "day":
            set_field(self, "period", duration(self.period, "period", more=" Or write day for the calendar day."))
        if self.min_gap is not None:
            if self.per != "person":
                raise VambeConfigError(
                    'min_gap: belongs to a cap with per="person"', fix="A sender is paced by the connection's rate."
                )
            set_field(self, "min_gap", duration(self.min_gap, "min_gap"))
        if self.scope is None:
            set_field(self, "scope", SCOPES[self.per][0])
        one_of(self.scope, "scope", SCOPES[self.per])

    @property
    def rolling(self) -> timedelta | None:
        """The time that moves along; None for a calendar day."""
        return self.period if isinstance(self.period, timedelta) else None

    @property
    def gap(self) -> timedelta | None:
        """The time between two tickets to one person."""
        return cast("timedelta | None", self.min_gap)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How many people a sender may write to who never heard from the account: more on each day since its first ticket.

    :param first_day: so many on the first day.
    :param step: so many more on each day after it.
    :param ceiling: never more than this on one day.
    :raises VambeConfigError: names the field and what it may be.
    """

    first_day: int = 10
    step: int = 5
    ceiling: int = 40

    def __post_init__(self) -> None:
        check_whole(self.first_day, "first_day", least=1)
        check_whole(self.step, "step", least=0)
        check_whole(self.ceiling, "ceiling", least=1)
        if self.ceiling < self.first_day:
            raise VambeConfigError("ceiling: is below first_day")

    def on_day(self, number: int) -> int:
        """Return how many new people are allowed on a day.

        :param number: 1 for the day of the first ticket.
        """
        return min(self.ceiling, self.first_day + self.step * (max(1, number) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Where opt-outs are found, besides the ledger's own list, which is always asked.

    :param sql: a query whose first column holds numbers of people who must not be contacted.
    :param conn_id: the Airflow connection of that query; None means the ledger's.
    :param column: a column of the row that is true for such people.
    :param max_age: how old an answer of the query may be when a ticket is sent.
    :param max_list_age: how old an imported list may be; nothing is sent with an older one. None only warns after 30
        days.
    :raises VambeConfigError: names the field and what it may be.
    """

    sql: str | None = None
    conn_id: str | None = None
    column: str | None = None
    max_age: timedelta | str = "60s"
    max_list_age: timedelta | str | None = None

    def __post_init__(self) -> None:
        for name in ("sql", "conn_id", "column"):
            check_text(getattr(self, name), name)
        if self.conn_id is not None and self.sql is None:
            raise VambeConfigError("conn_id: there is no sql to run on it", fix="Add sql, or leave conn_id out.")
        set_field(self, "max_age", duration(self.max_age, "max_age"))
        if self.max_list_age is not None:
            set_field(self, "max_list_age", duration(self.max_list_age, "max_list_age"))

    @property
    def list_age(self) -> timedelta | None:
        """How old an imported list may be."""
        return cast("timedelta | None", self.max_list_age)
