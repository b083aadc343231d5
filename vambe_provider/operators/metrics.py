"""What Airflow's metrics are told of tickets."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "vambe.tickets"


def count_outcomes(counts: Mapping[str, int]) -> None:
    """Add to the counters ``vambe.tickets.<outcome>``; an outcome that did not happen is not sent.

    Nothing is told of a Dag or a person.
    """
    from vambe_provider.compat import Stats

    for outcome, count in counts.items():
        if count:
            Stats.incr(f"{PREFIX}.{outcome}", count)
