"""What a contact policy costs a fresh row, in CPU microseconds: ``python -m tests.benchmarks.policy``.

A batch reads the number once, and asks the policy three times: when the row is taken in, before it is claimed, and
right before its request leaves.
"""

from __future__ import annotations

import json
import statistics
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.contact_policy import canonical_number, read_policy
from vambe_provider.delivery.optouts import OptOuts
from vambe_provider.delivery.permission import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

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
POLICIES: dict[str, Any] = {
    "no limits": {},
    "by country": {"windows": "preset", "purpose": "debt"},
    "by country, with a list": {"windows": "preset", "purpose": "debt", "expires": "2 days"},
}
TIMES = 3
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def measure(rows: int) -> dict[str, dict[str, float]]:
    """Return the median CPU microseconds of reading a number, and of that and the policy, for each policy."""
    found = {}
    for name, fields in POLICIES.items():
        policy = read_policy(fields)
        assert policy is not None
        opt_outs = OptOuts(_listed, max_age=1e6, canonical=str)
        opt_outs.refresh()
        permission = Permission(policy, timeout=30.0, opt_outs=opt_outs if policy.lifetime else None)
        for number, region in NUMBERS:  # loads the libraries and the tables
            _row(number, region, permission)
        chosen = (NUMBERS[row % len(NUMBERS)] for row in range(rows))
        costs = [_row(number, region, permission) for number, region in chosen]
        found[name] = {
            "number": statistics.median(number for number, _ in costs),
            "number and policy": statistics.median(both for _, both in costs),
        }
    return found


@contextmanager
def _listed() -> Iterator[list[object]]:
    yield [f"+5697{number:07d}" for number in range(100_000)]


def _row(number: object, region: str | None, permission: Permission) -> tuple[float, float]:
    before = time.thread_time_ns()
    canonical = canonical_number(number, default_region=region)
    read = time.thread_time_ns()
    subject = permission.subject(canonical, first_seen=NOW)
    for _ in range(TIMES):
        permission.ruling(permission.decide(subject, NOW, permission.known(canonical, NOW)))
    decided = time.thread_time_ns()
    return (read - before) / 1000, (decided - before) / 1000


if __name__ == "__main__":
    print(json.dumps(measure(20_000), indent=2))
