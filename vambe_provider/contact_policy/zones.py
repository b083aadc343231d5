"""Where somebody lives, as far as the number says it: country, state and time zones.

The table ``places.toml`` answers for Latin America, Spain and Portugal; the library of numbers answers for the rest,
which includes all of +1. A number that nobody knows has no zones, and then no window is open.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vambe_provider.api.numbers import is_null

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_UNKNOWN = "Etc/Unknown"
_LONGEST_NAME = 64


class Place(NamedTuple):
    """Where a number belongs.

    :param country: two-letter country; None when nobody knows it.
    :param area: the state with its country, such as ``BR-SP``; None where no rule asks for it.
    :param zones: the IANA time zones that are possible; none when nobody knows them.
    """

    country: str | None
    area: str | None
    zones: tuple[str, ...]


NOWHERE = Place(None, None, ())


def place_of(number: str) -> Place:
    """Return where a number belongs.

    :param number: in E.164 form, with the plus sign.
    """
    table, longest, _ = _table()
    for length in range(longest, 1, -1):
        if (place := table.get(number[:length])) is not None:
            return place
    return _in_north_america(number[:8]) if number.startswith("+1") else _elsewhere(number)


def places_in(name: str) -> list[Place]:
    """Return the places of a country or a state that differ; none when the table does not know it.

    :param name: a two-letter country, or a state such as ``BR-SP``.
    """
    return sorted({place for place in _table()[0].values() if name in (place.country, place.area)}, key=repr)


def zone_named(name: str) -> ZoneInfo | None:
    """Return a time zone, or None when there is none of that name.

    :param name: an IANA name with its area, such as ``America/Santiago``, or ``UTC``. Abbreviations and offsets say
        nothing about summer time and are no names.
    """
    return _zone(name) if name == "UTC" or "/" in name else None


def zones_named(value: object) -> tuple[str, ...] | None:
    """Return the time zone that a column names; None when it holds nothing, and no zone when the name is unknown.

    :param value: what the column holds.
    """
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        return None
    name = str(getattr(value, "key", value)).strip()
    return (name,) if zone_named(name) is not None else ()


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo

    if len(name) > _LONGEST_NAME:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):  # a name may also be that of a folder
        return None


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, Place], int, dict[str, str]]:
    """Return the places by the start of a number, the length of the longest start, and the states of +1."""
    import tomllib

    data: dict[str, Any] = tomllib.loads(Path(__file__).with_name("places.toml").read_text("utf-8"))
    table: dict[str, Place] = {}
    for country in data["country"]:
        name, start = country["name"], f"+{country['code']}"
        table[start] = Place(name, None, tuple(country["zones"]))
        for part in country.get("part", ()):
            area = f"{name}-{part['area']}" if "area" in part else None
            place = Place(name, area, tuple(part.get("zones", country["zones"])))
            table |= {f"{start}{prefix}": place for prefix in part["prefixes"]}
    states = {f"+{start}": f"US-{state}" for start, state in data["states"]["US"].items()}
    return table, max(map(len, table)), states


@lru_cache(maxsize=16_384)
def _in_north_america(start: str) -> Place:
    """Return the place of the numbers that start with +1, an area code and an exchange, which tell all there is."""
    from phonenumbers import parse, region_code_for_number
    from phonenumbers.timezone import time_zones_for_geographical_number

    number = parse(f"{start}2345")
    zones = time_zones_for_geographical_number(number)
    return Place(_country(region_code_for_number(number)), _table()[2].get(start[:5]), _known(zones))


def _elsewhere(number: str) -> Place:
    from phonenumbers import parse, region_code_for_number
    from phonenumbers.timezone import time_zones_for_number

    parsed = parse(number)
    return Place(_country(region_code_for_number(parsed)), None, _known(time_zones_for_number(parsed)))


def _country(region: str | None) -> str | None:
    return region if region and region.isalpha() else None  # 001 is the whole world


def _known(zones: tuple[str, ...]) -> tuple[str, ...]:
    return () if _UNKNOWN in zones or any(zone_named(zone) is None for zone in zones) else tuple(zones)
