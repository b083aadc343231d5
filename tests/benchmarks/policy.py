"""What a contact policy costs a fresh row, in CPU microseconds: ``python -m tests.benchmarks.policy``."""

from __future__ import annotations

import json
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.contact_policy import Facts, canonical_number, person_of, read_policy
from vambe_provider.contact_policy.decide import decide

if TYPE_CHECKING:
    from vambe_provider.contact_policy.policy import ContactPolicy

NUMBERS: tuple[tuple[object, str | None], ...] = (
    ("+56 9 6123 4567", None),
    ("961234567", "CL"),
    (56961234567, "CL"),
    ("+52 55 4163 7145", None),
    ("5215541637145", None),
    ("11 5874 9895", "AR"),
    ("+54 9 11 5874 9895", None),
    ("(11) 98765-4321", "BR"),
    ("300 123 4567", "CO"),
    ("987 654 321", "PE"),
    ("+1 415 555 2671", None),
)
"""As warehouses hold them, with the region of the connection."""
POLICIES: dict[str, Any] = {"no limits": {}, "by country": {"windows": "preset", "purpose": "debt"}}
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def measure(rows: int) -> dict[str, dict[str, float]]:
    """Return the median CPU microseconds of reading a number, and of that and the decision, for each policy."""
    found = {}
    for name, fields in POLICIES.items():
        policy = read_policy(fields)
        assert policy is not None
        facts = Facts.of_a_stranger(policy)
        for number, region in NUMBERS:  # loads the libraries and the tables
            _row(number, region, policy, facts)
        chosen = (NUMBERS[row % len(NUMBERS)] for row in range(rows))
        costs = [_row(number, region, policy, facts) for number, region in chosen]
        found[name] = {
            "number": statistics.median(number for number, _ in costs),
            "number and decision": statistics.median(both for _, both in costs),
        }
    return found


def _row(number: object, region: str | None, policy: ContactPolicy, facts: Facts) -> tuple[float, float]:
    before = time.thread_time_ns()
    canonical = canonical_number(number, default_region=region)
    read = time.thread_time_ns()
    decide(person_of(canonical, policy=policy), None, NOW, facts, policy)
    decided = time.thread_time_ns()
    return (read - before) / 1000, (decided - before) / 1000


if __name__ == "__main__":
    print(json.dumps(measure(20_000), indent=2))
