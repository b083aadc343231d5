"""What one Airflow connection of the type ``vambe`` means, checked once and then immutable."""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from vambe_provider.api.rate import DEFAULT_RATES, Rate, parse_rate
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL = "https://api.vambe.me"
DEFAULT_APP_URL = "https://app.vambeai.com"
DEFAULT_CHANNEL = "web-whatsapp"
DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 600.0
EXTRA_FIELDS = ("phone_id", "channel", "default_region", "timeout", "rate", "rate_store", "app_url")

_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The settings of one connection; use :meth:`from_fields` for values that a person typed.

    :param api_key: the API key; sent as ``x-api-key`` and never shown.
    :param base_url: where the API is, without a slash at the end; https, or http for a loopback host. A path prefix is
        kept.
    :param phone_id: the default sender.
    :param channel: ``web-whatsapp`` or ``whatsapp``.
    :param default_region: two-letter region of numbers that are written without a country code.
    :param timeout: seconds that one request may take.
    :param rate: tickets per period for one sender, as ``10/minute``; None means no limit.
    :param rate_chosen: whether the rate was set in the connection, so that it also holds for the other channel.
    :param rate_store: address of a store that several workers share for pacing, as ``redis://…``; may hold a password.
    :param app_url: the web app, for links.
    :raises VambeConfigError: when the base URL is not usable.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    phone_id: str | None = None
    channel: str = DEFAULT_CHANNEL
    default_region: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    rate: str | None = DEFAULT_RATES[DEFAULT_CHANNEL]
    rate_chosen: bool = False
    rate_store: str | None = field(default=None, repr=False)
    app_url: str = DEFAULT_APP_URL

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", clean_base_url(self.base_url))

    @property
    def host(self) -> str:
        """The host of the API, for texts."""
        return urlsplit(self.base_url).hostname or ""

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
    ) -> ConnectionSettings:
        """Return the settings that the fields of an Airflow connection mean.

        A value that is null, empty or the text ``null`` counts as missing; numbers may be written as text.

        :param host: base URL, or only a host name; default ``https://api.vambe.me``.
        :param password: the API key.
        :param extra: the connection's extra, with the fields of ``EXTRA_FIELDS``; others are ignored.
        :param schema: ``http`` or ``https``, used when the host has none.
        :param port: used when the host has none; 0 and None mean the scheme's own.
        :raises VambeConfigError: naming the field that is wrong and the way out.
        """
        values = _extra_values(extra or {})
        channel = clean_channel(_text(values, "channel"))
        rate = _text(values, "rate")
        parse_rate(rate)
        return cls(
            api_key=_api_key(password),
            base_url=base_url_from(host=_missing(host), schema=_missing(schema), port=port),
            phone_id=_text(values, "phone_id"),
            channel=channel,
            default_region=_region(_text(values, "default_region")),
            timeout=_timeout(values.get("timeout")),
            rate=rate if rate is not None else DEFAULT_RATES[channel],
            rate_chosen=rate is not None,
            rate_store=_text(values, "rate_store"),
            app_url=clean_base_url(_text(values, "app_url") or DEFAULT_APP_URL, name="app_url"),
        )


def clean_channel(value: str | None) -> str:
    """Return ``web-whatsapp`` or ``whatsapp``; None means the default, and ``web_whatsapp`` is understood.

    :raises VambeConfigError: when it is another channel.
    """
    if value is None:
        return DEFAULT_CHANNEL
    channel = value.strip().lower().replace("_", "-")
    if channel not in DEFAULT_RATES:
        raise VambeConfigError(f"channel: {value[:40]!r} is not one of {', '.join(DEFAULT_RATES)}")
    return channel


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url_from(*, host: str | None, schema: str | None, port: int | str | None) -> str:
    """Return the base URL that the host, schema and port of an Airflow connection mean."""
    if host is None:
        return DEFAULT_BASE_URL
    if "://" not in host:
        bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        name = _split(f"//{bare}", "host").hostname or ""
        host = f"{_scheme(schema, name)}://{bare}"
    parts = _split(host, "host")
    number = _port(port)
    if number is not None and parts.hostname and _port_of(parts, "host") is None:
        parts = parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{number}")
    return clean_base_url(parts.geturl())


def clean_base_url(url: str, *, name: str = "host") -> str:
    """Return a base URL without the slash at its end.

    :param url: an absolute URL; a path prefix is kept.
    :param name: the field's name, for the error.
    :raises VambeConfigError: when it holds a user, a query or a fragment, is not https (or http on a loopback host), or
        is malformed.
    """
    parts = _split(url.strip(), name)
    if parts.username is not None or parts.password is not None:
        raise VambeConfigError(
            f"{name}: the URL holds a user or a password", fix="Put the API key into the password field."
        )
    if parts.query or parts.fragment:
        raise VambeConfigError(f"{name}: the URL holds a query or a fragment", fix=f"Write it as {DEFAULT_BASE_URL}.")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise VambeConfigError(f"{name}: this is not an http or https URL", fix=f"Write it as {DEFAULT_BASE_URL}.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise VambeConfigError(
            f"{name}: http would send the API key in the clear to {parts.hostname}",
            fix="Use https; http is only accepted for localhost, 127.0.0.0/8 and ::1.",
        )
    _port_of(parts, name)
    if re.search(r"[\x00-\x20\x7f\\]", url.strip()) or any(part in (".", "..") for part in parts.path.split("/")):
        raise VambeConfigError(f"{name}: the URL holds a space, a control character, a backslash or a dot segment")
    return parts._replace(netloc=parts.netloc.removesuffix(":"), path=parts.path.rstrip("/")).geturl()


def _split(url: str, name: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise VambeConfigError(f"{name}: this is not a URL", fix=f"Write it as {DEFAULT_BASE_URL}.") from None


def _port_of(parts: SplitResult, name: str) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise VambeConfigError(f"{name}: the port in the URL is not a number from 1 to 65535") from None


def _scheme(schema: str | None, host: str) -> str:
    if schema is None:
        return "http" if is_loopback(host) else "https"
    if schema.lower() not in _SCHEMES:
        raise VambeConfigError(
            "schema: only https, or http for a loopback host, is possible", fix="Leave it empty for https."
        )
    return schema.lower()


def _port(value: int | str | None) -> int | None:
    text = "" if value is None else str(value).strip().lower()
    if text in ("", "0", "none", "null"):
        return None
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise VambeConfigError("port: not a number from 1 to 65535", fix="Leave it empty, or put it into the host.")
    return int(text)


def _missing(value: str | None) -> str | None:
    """Return a text without the space around it, or None when nothing is in it, as null and ``null`` mean too."""
    text = "" if value is None else str(value).strip()
    return None if text.lower() in ("", "null", "none") else text


def _extra_values(extra: Mapping[str, Any]) -> dict[str, Any]:
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
        raise VambeConfigError(f"extra {name}: a text is needed, not a {type(value).__name__}")
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
        raise VambeConfigError(f"extra timeout: not a number of seconds above 0 and up to {MAX_TIMEOUT:.0f}")
    return seconds
