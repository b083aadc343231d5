"""How many tickets one sender may open in a period."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vambe_provider.exceptions import VambeConfigError

UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
DEFAULT_RATES: dict[str, str | None] = {"web-whatsapp": "10/minute", "whatsapp": None}

_ALIASES = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day"}
_FORM = re.compile(r"\s*([0-9]+)\s*(?:/|per)\s*([0-9]+)?\s*([a-z]+?)s?\s*")
_OFF = frozenset({"none", "unlimited", "off"})


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` tickets in any ``seconds``.

    :param count: tickets, 1 or more.
    :param seconds: length of the period, 1 or more.
    """

    count: int
    seconds: int

    @property
    def interval(self) -> float:
        """Seconds between two tickets when they are spread evenly."""
        return self.seconds / self.count

    def __str__(self) -> str:
        for unit, seconds in UNIT_SECONDS.items():
            if seconds == self.seconds:
                return f"{self.count}/{unit}"
        return f"{self.count}/{self.seconds} seconds"


def parse_rate(text: str | None, *, field: str = "rate") -> Rate | None:
    """Return the rate that a text means, or None for no limit.

    :param text: as ``10/minute``, ``10 per minute`` or ``1/6 seconds``; ``none`` and ``unlimited`` mean no limit, and
        so does None.
    :param field: the name of the field, for the error.
    :raises VambeConfigError: when the text is anything else.
    """
    if text is None or text.strip().lower() in _OFF:
        return None
    match = _FORM.fullmatch(text.lower())
    unit = _ALIASES.get(match[3], match[3]) if match else ""
    if match is None or unit not in UNIT_SECONDS or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise VambeConfigError(
            f"{field}: not a rate",
            fix="Write it as 10/minute (second, minute, hour or day), as 1/6 seconds, or as none for no limit.",
        )
    return Rate(count=int(match[1]), seconds=int(match[2] or 1) * UNIT_SECONDS[unit])
