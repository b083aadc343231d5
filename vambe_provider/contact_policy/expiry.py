"""The moment from which a row is not worth sending."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from vambe_provider.api.numbers import is_null
from vambe_provider.contact_policy.windows import midnight
from vambe_provider.contact_policy.zones import zone_named
from vambe_provider.exceptions import VambeValidationError

if TYPE_CHECKING:
    from vambe_provider.contact_policy.policy import ContactPolicy


def expires_at(
    policy: ContactPolicy, *, first_seen: datetime, value: object = None, zones: tuple[str, ...] = ()
) -> datetime | None:
    """Return the moment from which a row is not worth sending; None for never.

    :param policy: its ``expires`` is a length of time since the row was first seen, or a column.
    :param first_seen: when the ledger, or this run, saw the row for the first time.
    :param value: what the column holds: a time, a date (which lasts until its end), or either as ISO text. A time
        without a zone is in UTC; null means never.
    :param zones: the contact's zones, in which a date ends; the first end counts.
    :raises VambeValidationError: when the column holds something else.
    """
    if policy.lifetime is not None:
        return first_seen + policy.lifetime
    if policy.expires_column is None or is_null(value):
        return None
    moment = _parsed(value, policy.expires_column) if isinstance(value, str) else value
    if isinstance(moment, datetime):
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if not isinstance(moment, date):
        raise _unreadable(policy.expires_column)
    known = [zone for name in zones or ("UTC",) if (zone := zone_named(name)) is not None]
    return min(midnight(moment + timedelta(days=1), zone) for zone in known)


def _parsed(text: str, column: str) -> object:
    import pendulum

    try:
        return pendulum.parse(text.strip(), exact=True)
    except (ValueError, TypeError):
        raise _unreadable(column) from None


def _unreadable(column: str) -> VambeValidationError:
    return VambeValidationError([f"{column}: is not a time or a date"], fix="Write it as 2026-12-01T18:00:00-03:00.")
