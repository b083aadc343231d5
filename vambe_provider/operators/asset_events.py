"""What the Dags behind an asset are told of the tickets of the task that updated it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

    from vambe_provider.compat import Context

EXTRA = "vambe_tickets"


def tell_outlets(context: Context, outlets: Iterable[object], counts: Mapping[str, int]) -> None:
    """Put the outcomes that happened into the events of the assets that the task updates.

    :param outlets: those of the task; what is not an asset is left alone.
    :param counts: tickets by outcome.
    """
    from vambe_provider.compat import Asset

    events = context.get("outlet_events")
    if events is None:
        return
    happened: JsonValue = {outcome: count for outcome, count in counts.items() if count}
    for outlet in outlets:
        if isinstance(outlet, Asset):
            events[outlet].extra[EXTRA] = happened
