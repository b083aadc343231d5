"""Windows and caps by country and purpose, as data.

They are no legal advice. Each file names its source, and the day on which it was read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vambe_provider.contact_policy.parts import Cap, ContactWindow
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.contact_policy.policy import Purpose

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One preset.

    :param name: what a policy calls it.
    :param purpose: the purpose that it is for.
    :param country: two-letter country; None for the courtesy hours of countries without a rule.
    :param basis: ``law``, or ``courtesy`` where no law sets hours.
    :param source: the law, and where its text or a report of it was read.
    :param read: when it was read.
    :param confidence: ``high``, ``medium`` or ``low``, as far as the source was seen.
    :param advice: ``none``: it is no legal advice.
    :param notes: what the windows and caps cannot say.
    :param keep_records: how long a record has to be kept, where a source says so.
    """

    name: str
    purpose: Purpose
    country: str | None = None
    basis: str
    source: str
    read: date
    confidence: str
    advice: str
    notes: str = ""
    keep_records: str | None = None
    windows: tuple[ContactWindow, ...]
    caps: tuple[Cap, ...] = field(default=())

    @property
    def label(self) -> str:
        """The name with the version, which is the day on which the source was read."""
        return f"{self.name}@{self.read.isoformat()}"


@lru_cache(maxsize=1)
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@lru_cache(maxsize=64)
def preset_named(name: str) -> Preset:
    """Return a preset.

    :raises VambeConfigError: when there is none of that name; names those that there are.
    """
    if name not in preset_names():
        raise VambeConfigError("preset: there is no preset of that name", fix=f"There are {', '.join(preset_names())}.")
    data: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    windows = tuple(ContactWindow(**window) for window in data.pop("windows"))
    caps = tuple(Cap(**cap) for cap in data.pop("caps", ()))
    read = date.fromisoformat(data.pop("read"))
    return Preset(name=name, read=read, windows=windows, caps=caps, **data)


def preset_for(country: str | None, purpose: str) -> Preset | None:
    """Return the preset of a country and a purpose, or the courtesy hours of the purpose.

    :return: None when there is neither, which is so for debts in a country whose rule is not known.
    """
    for name in (f"{country or ''}-{purpose}".lower(), purpose):
        if name in preset_names():
            return preset_named(name)
    return None
