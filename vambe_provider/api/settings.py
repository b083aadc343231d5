"""What one Airflow connection of the type ``vambe`` means, checked once and then immutable."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from vambe_provider.api.address import DEFAULT_BASE_URL, SCHEME_PORTS, base_url_from, clean_base_url
from vambe_provider.api.rate import DEFAULT_RATES, Rate, parse_rate
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Repair = Literal["none", "safe"]

DEFAULT_APP_URL = "https://app.vambeai.com"
DEFAULT_CHANNEL = "web-whatsapp"
DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 600.0
DEFAULT_REPAIR: Repair = "safe"
REPAIRS: tuple[Repair, ...] = ("none", "safe")
MAX_ACCOUNT = 100
EXTRA_FIELDS = (
    "phone_id",
    "channel",
    "account",
    "default_region",
    "allowed_countries",
    "repair",
    "contact_policy",
    "timeout",
    "rate",
    "rate_store",
    "app_url",
)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The settings of one connection; use :meth:`from_fields` for values that a person typed.

    :param api_key: the API key; sent as ``x-api-key`` and never shown.
    :param base_url: where the API is, without a slash at the end; https, or http for a loopback host. A path prefix is
        kept.
    :param phone_id: the default sender.
    :param channel: ``web-whatsapp`` or ``whatsapp``.
    :param account_name: tells accounts of one host apart; None where the host has one.
    :param default_region: two-letter region of numbers that are written without a country code.
    :param allowed_countries: two-letter codes of the countries to whose numbers tickets may go; None for the package's
        own choice.
    :param repair: ``safe`` to mend spellings of a number that can mean only one, ``none`` to refuse them.
    :param contact_policy: as the connection has it: the name of a preset, JSON text, or a dict of fields.
    :param timeout: seconds that one request may take.
    :param rate: tickets per period for one sender, as ``10/minute``; None means no limit.
    :param rate_chosen: whether the rate was set in the connection, so that it also holds for the other channel.
    :param rate_store: address of a store that several workers share for pacing, as ``redis://…``; may hold a password.
    :param app_url: the web app, for links.
    :param name: the id of the Airflow connection, for errors; empty when there is none.
    :raises VambeConfigError: when the base URL is not usable.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    phone_id: str | None = None
    channel: str = DEFAULT_CHANNEL
    account_name: str | None = None
    default_region: str | None = None
    allowed_countries: tuple[str, ...] | None = None
    repair: Repair = DEFAULT_REPAIR
    contact_policy: str | Mapping[str, Any] | None = field(default=None, hash=False)
    timeout: float = DEFAULT_TIMEOUT
    rate: str | None = DEFAULT_RATES[DEFAULT_CHANNEL]
    rate_chosen: bool = False
    rate_store: str | None = field(default=None, repr=False)
    app_url: str = DEFAULT_APP_URL
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", clean_base_url(self.base_url))
        object.__setattr__(self, "api_key", _api_key(self.api_key))

    @property
    def host(self) -> str:
        """The host of the API, for texts."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def account(self) -> str:
        """Whose tickets these are: the host, its port unless it is the usual one, and the name of the account if given.

        The API key is not part of it, because a new key must not make yesterday's tickets new.
        """
        parts = urlsplit(self.base_url)
        host = (parts.hostname or "").rstrip(".")
        usual = parts.port in (None, SCHEME_PORTS[parts.scheme])
        place = host if usual else f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"
        return place if self.account_name is None else f"{place}/{self.account_name}"

    def rate_for(self, channel: str | None = None) -> Rate | None:
        """Return the rate for a sender on a channel, or None for no limit.

        :param channel: the channel that is used in place of the connection's; a rate that was set in the connection
            holds for both.
        """
        if self.rate_chosen or channel in (None, self.channel):
            return parse_rate(self.rate)
        return parse_rate(DEFAULT_RATES[clean_channel(channel)])

    @classmethod
    def from_fields(
        cls,
        *,
        host: str | None = None,
        password: str | None = None,
        extra: Mapping[str, Any] | None = None,
        schema: str | None = None,
        port: int | str | None = None,
        name: str = "",
    ) -> ConnectionSettings:
        """Return the settings that the fields of an Airflow connection mean.

        A value that is null, empty or the text ``null`` counts as missing; numbers may be written as text.

        :param host: base URL, or only a host name; default ``https://api.vambe.me``.
        :param password: the API key.
        :param extra: the connection's extra, with the fields of ``EXTRA_FIELDS``; others are ignored.
        :param schema: ``http`` or ``https``, used when the host has none.
        :param port: used when the host has none; 0 and None mean the scheme's own.
        :param name: the id of the connection, for errors.
        :raises VambeConfigError: naming the field that is wrong and the way out.
        """
        values = _extra_values({} if extra is None else extra)
        channel = clean_channel(_text(values, "channel"))
        rate = _text(values, "rate")
        parse_rate(rate)
        return cls(
            api_key=_api_key(password),
            base_url=base_url_from(host=_missing(host), schema=_missing(schema), port=port),
            phone_id=_text(values, "phone_id"),
            channel=channel,
            account_name=_account_name(_text(values, "account")),
            default_region=_region(_text(values, "default_region")),
            allowed_countries=_countries(values.get("allowed_countries")),
            repair=_repair(values.get("repair")),
            contact_policy=_policy(values.get("contact_policy")),
            timeout=_timeout(values.get("timeout")),
            rate=rate if rate is not None else DEFAULT_RATES[channel],
            rate_chosen=rate is not None,
            rate_store=_text(values, "rate_store"),
            app_url=clean_base_url(_text(values, "app_url") or DEFAULT_APP_URL, name="app_url"),
            name=name,
        )


def clean_channel(value: str | None) -> str:
    """Return ``web-whatsapp`` or ``whatsapp``; None means the default, and ``web_whatsapp`` is understood.

    :raises VambeConfigError: when it is another channel.
    """
    if value is None:
        return DEFAULT_CHANNEL
    channel = str(value).strip().lower().replace("_", "-")
    if channel not in DEFAULT_RATES:
        raise VambeConfigError(
            f"channel: not one of {', '.join(DEFAULT_RATES)}",
            fix=f"Write one of them, or leave it empty for {DEFAULT_CHANNEL}.",
        )
    return channel


def _missing(value: str | None) -> str | None:
    """Return a text without the space around it, or None when nothing is in it, as null and ``null`` mean too."""
    text = "" if value is None else str(value).strip()
    return None if text.lower() in ("", "null", "none") else text


def _extra_values(extra: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(extra, Mapping):
        raise VambeConfigError(
            f"extra: a JSON object is needed, not a {type(extra).__name__}", fix='Write it as {"phone_id": "…"}.'
        )
    values: dict[str, Any] = {}
    for key, value in extra.items():
        # Airflow 2 may have stored the fields of a form with this prefix.
        name = str(key).removeprefix("extra__vambe__")
        close = difflib.get_close_matches(name.lower(), EXTRA_FIELDS, n=1, cutoff=0.8)
        if name not in EXTRA_FIELDS and close:
            raise VambeConfigError(f"extra {name[:40]}: there is no such field", fix=f"Did you mean {close[0]}?")
        values[name] = value
    return values


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if isinstance(value, (bool, float, dict, list)):
        raise VambeConfigError(
            f"extra {name}: a text is needed, not a {type(value).__name__}", fix="Put the value into quotes."
        )
    text = "" if value is None else str(value).strip()
    # "none" is a value of its own for the rate: it switches the pacing off.
    absent = ("", "null") if name == "rate" else ("", "null", "none")
    return None if text.lower() in absent else text


def _api_key(password: str | None) -> str:
    key = "" if password is None else password.strip()
    if not key:
        raise VambeConfigError(
            "password: the API key is missing", fix="Put the key from Vambe's developer settings into it."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise VambeConfigError(
            "password: the API key holds a space or a character that no key has", fix="Copy the key once more."
        )
    return key


def _account_name(value: str | None) -> str | None:
    if value is not None and (len(value) > MAX_ACCOUNT or not value.isprintable()):
        raise VambeConfigError(
            f"extra account: not a name of at most {MAX_ACCOUNT} printable characters",
            fix="Give a short name, such as chile.",
        )
    return value


def _countries(value: object) -> tuple[str, ...] | None:
    """Return country codes in their order; None when nothing is given, as in a form that nobody filled in."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "null", "none")):
        return None
    given = value.split(",") if isinstance(value, str) else value
    codes = [str(code).strip().upper() for code in given] if isinstance(given, (list, tuple)) else []
    if not codes or not all(re.fullmatch("[A-Z]{2}", code) for code in codes):
        raise VambeConfigError(
            "extra allowed_countries: not a list of two-letter country codes",
            fix='Write it as "CL, MX, BR" or ["CL", "MX", "BR"].',
        )
    return tuple(dict.fromkeys(codes))


def _repair(value: object) -> Repair:
    text = "" if value is None else str(value).strip().lower()
    if text in ("", "null"):
        return DEFAULT_REPAIR
    for repair in REPAIRS:
        if text == repair:
            return repair
    raise VambeConfigError(
        f"extra repair: not one of {', '.join(REPAIRS)}", fix="Write one of them, or leave it empty."
    )


def _policy(value: object) -> str | Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise VambeConfigError(f"extra contact_policy: a text or an object is needed, not a {type(value).__name__}")
    return None if value.strip().lower() in ("", "null", "none") else value


def _region(value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch("[A-Za-z]{2}", value):
        raise VambeConfigError("extra default_region: not a two-letter region", fix="Write it as CL, MX or BR.")
    return value.upper()


def _timeout(value: object) -> float:
    text = "" if value is None else str(value).strip().lower()
    if text in ("", "null", "none"):
        return DEFAULT_TIMEOUT
    try:
        seconds = math.nan if isinstance(value, bool) else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        raise VambeConfigError(
            f"extra timeout: not a number of seconds above 0 and up to {MAX_TIMEOUT:.0f}", fix="Write it as 30."
        )
    return seconds
