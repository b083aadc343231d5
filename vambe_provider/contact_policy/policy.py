"""What a contact policy says, as plain data that is checked when a Dag is parsed.

Nothing here loads a library: presets, holidays and numbers are read when a ticket is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import date, timedelta
from typing import Any, Literal, TypeVar, cast

from vambe_provider.contact_policy import PURPOSES
from vambe_provider.contact_policy.fields import (
    check_text,
    check_zone,
    countries_of,
    day_of,
    duration,
    inside,
    is_duration,
    items,
    names_a_zone,
    one_of,
    set_field,
)
from vambe_provider.contact_policy.parts import Cap, ContactWindow, Suppression, WarmUp
from vambe_provider.exceptions import VambeConfigError

Purpose = Literal["service", "marketing", "debt"]
OnClosed = Literal["postpone", "skip", "fail"]

ON_CLOSED = ("postpone", "skip", "fail")

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactPolicy:
    """When a row may be sent. Every field may be left out; mappings and lists of them stand for the classes.

    :param purpose: why people are contacted: ``service`` (default), ``marketing`` or ``debt``.
    :param windows: the windows in which people are contacted; ``any`` (default) for no limit; ``preset`` for those of
        the contact's country and the purpose, and then also its caps, unless ``caps`` are given.
    :param timezone: an IANA zone, or the column that holds one; None (default) takes the zones of the number.
    :param suppression: where opt-outs are found besides the ledger's own list.
    :param caps: at most so many tickets for a person or a sender; an empty list switches a preset's caps off.
    :param new_people: a limit for people whom the account never wrote to; None for none.
    :param expires: for how long a row is worth sending, such as ``2 days``, or the column that holds its last moment.
    :param on_closed: what becomes of a row that may not be sent now: ``postpone`` (default), ``skip`` or ``fail``.
    :param holiday_dates: more days that count as holidays, such as ``2026-12-24``.
    :param holiday_regions: regions whose own holidays count too, such as ``CL-NB``; those of Brazil follow from the
        number.
    :param sender_timezone: the zone in which a sender's day begins; without it, the last 24 hours are counted.
    :raises VambeConfigError: names the field and what it may be.
    """

    purpose: Purpose = "service"
    windows: Literal["any", "preset"] | ContactWindow | Sequence[ContactWindow | Mapping[str, Any]] = "any"
    timezone: str | None = None
    suppression: Suppression | Mapping[str, Any] | None = None
    caps: Sequence[Cap | Mapping[str, Any]] | None = None
    new_people: WarmUp | Mapping[str, Any] | None = None
    expires: timedelta | str | None = None
    on_closed: OnClosed = "postpone"
    holiday_dates: Sequence[str | date] = ()
    holiday_regions: str | Sequence[str] = ()
    sender_timezone: str | None = None
    preset: str | None = field(default=None, init=False)
    """The preset that the fields come from, with its version, such as ``cl-debt@2026-11-25``."""

    def __post_init__(self) -> None:
        one_of(self.purpose, "purpose", PURPOSES)
        one_of(self.on_closed, "on_closed", ON_CLOSED)
        set_field(self, "windows", _windows(self.windows))
        set_field(self, "caps", None if self.caps is None else _parts(Cap, self.caps, "caps"))
        set_field(self, "suppression", _part(Suppression, self.suppression or {}, "suppression"))
        if self.new_people is not None:
            set_field(self, "new_people", _part(WarmUp, self.new_people, "new_people"))
        set_field(self, "holiday_dates", tuple(sorted(map(day_of, items(self.holiday_dates, "holiday_dates")))))
        set_field(self, "holiday_regions", countries_of(self.holiday_regions, "holiday_regions", state=True))
        check_text(self.timezone, "timezone")
        check_text(self.sender_timezone, "sender_timezone")
        for name in ("timezone", "sender_timezone"):
            text = getattr(self, name)
            if text is not None and (name == "sender_timezone" or names_a_zone(text)):
                check_zone(text, name)
        if isinstance(self.expires, timedelta):
            duration(self.expires, "expires")
        else:
            check_text(self.expires, "expires")

    @property
    def zone(self) -> str | None:
        """The zone that holds for everybody."""
        return self.timezone if self.timezone is not None and names_a_zone(self.timezone) else None

    @property
    def timezone_column(self) -> str | None:
        """The column that holds a row's zone."""
        return self.timezone if self.timezone is not None and not names_a_zone(self.timezone) else None

    @property
    def lifetime(self) -> timedelta | None:
        """How long a row is worth sending."""
        if isinstance(self.expires, timedelta):
            return self.expires
        return duration(self.expires, "expires") if self.expires and is_duration(self.expires) else None

    @property
    def expires_column(self) -> str | None:
        """The column that holds a row's last moment."""
        return None if self.expires is None or self.lifetime is not None else cast("str", self.expires)

    @property
    def window_list(self) -> tuple[ContactWindow, ...]:
        """The policy's own windows; none when it has ``any`` or those of a preset."""
        return () if isinstance(self.windows, str) else cast("tuple[ContactWindow, ...]", self.windows)

    @property
    def cap_list(self) -> tuple[Cap, ...] | None:
        """The policy's own caps; None when it says nothing about caps."""
        return cast("tuple[Cap, ...] | None", self.caps)

    @property
    def opt_outs(self) -> Suppression:
        """Where opt-outs are found."""
        return cast("Suppression", self.suppression)

    @property
    def warm_up(self) -> WarmUp | None:
        """The limit for new people."""
        return cast("WarmUp | None", self.new_people)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the policy needs of a row."""
        names = (self.timezone_column, self.expires_column, self.opt_outs.column)
        return tuple(name for name in names if name is not None)

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> ContactPolicy:
        """Return the policy of a preset.

        :param name: the preset, such as ``cl-debt``.
        :param changes: fields that take the place of the preset's.
        :raises VambeConfigError: when there is no such preset; names those that there are.
        """
        from vambe_provider.contact_policy.presets import preset_named

        preset = preset_named(name)
        own = {"purpose": preset.purpose, "windows": preset.windows, "caps": preset.caps}
        policy = cls(**{**own, **changes})
        set_field(policy, "preset", preset.label)
        return policy


def read_policy(value: object, *, argument: str = "contact_policy") -> ContactPolicy | None:
    """Return the policy that an argument, a connection's extra or a YAML file means; None when there is none.

    :param value: a :class:`ContactPolicy`, a mapping of its fields (with ``preset`` for what they change), the name of
        a preset, or JSON text of such a mapping.
    :param argument: its name, for errors.
    :raises VambeConfigError: names the field and what it may be.
    """
    if value is None or isinstance(value, ContactPolicy):
        return value
    if isinstance(value, str):
        value = _from_text(value, argument)
    try:
        if isinstance(value, str):
            return ContactPolicy.from_preset(value)
        if isinstance(value, Mapping):
            given = dict(value)
            preset = given.pop("preset", None)
            make = ContactPolicy if preset is None else _preset_maker(preset)
            return _made(make, given, ContactPolicy)
    except VambeConfigError as error:
        raise inside(error, argument) from None
    raise VambeConfigError(
        f"{argument}: is of the type {type(value).__name__}",
        fix="Give a ContactPolicy, a mapping of its fields, or the name of a preset.",
    )


def _from_text(text: str, argument: str) -> object:
    import json

    if not text.strip():
        raise VambeConfigError(f"{argument}: is given but empty", fix="Leave it out, or name a preset.")
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        return json.loads(text)
    except ValueError:
        raise VambeConfigError(f"{argument}: is not valid JSON") from None


def _preset_maker(preset: object) -> Callable[..., ContactPolicy]:
    if not isinstance(preset, str):
        raise VambeConfigError("preset: has to be the name of a preset")
    return lambda **changes: ContactPolicy.from_preset(preset, **changes)


def _made(make: Callable[..., _Part], given: Mapping[Any, Any], kind: type) -> _Part:
    """Return an object made of a mapping, whose names are checked first."""
    names = [each.name for each in fields(kind) if each.init]
    for name in given:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
            fix = f"Did you mean {close[0]}?" if close else f"There are {', '.join(names)}."
            raise VambeConfigError(f"{str(name)[:40]}: there is no such field", fix=fix)
    for each in fields(kind):
        if each.init and each.default is MISSING and each.default_factory is MISSING and each.name not in given:
            raise VambeConfigError(f"{each.name}: is missing")
    return make(**given)


def _part(kind: type[_Part], value: object, name: str) -> _Part:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise VambeConfigError(f"{name}: has to be a {kind.__name__} or a mapping of its fields")
    try:
        return _made(kind, value, kind)
    except VambeConfigError as error:
        raise inside(error, name) from None


def _parts(kind: type[_Part], values: object, name: str) -> tuple[_Part, ...]:
    return tuple(_part(kind, value, f"{name}[{place}]") for place, value in enumerate(items(values, name)))


def _windows(value: object) -> str | tuple[ContactWindow, ...]:
    if isinstance(value, ContactWindow):
        return (value,)
    if isinstance(value, str):
        return one_of(value, "windows", ("any", "preset"), more=" or a list of windows")
    windows = _parts(ContactWindow, value, "windows")
    if not windows:
        raise VambeConfigError("windows: is empty, so nothing would ever be sent", fix="Write any for no limit.")
    return windows
