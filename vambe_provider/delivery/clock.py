"""The two clocks of a delivery."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Return seconds of a clock that never jumps, and that runs on while the machine is suspended.

    A lease is measured with it: a worker that slept through its lease has to notice. CLOCK_MONOTONIC stands still in
    a suspended Linux machine, CLOCK_BOOTTIME does not.
    """
    return time.clock_gettime(_CLOCK)


def utc() -> float:
    """Return seconds since 1970 on this machine's clock."""
    return time.time()
