"""What the host, the schema and the port of a connection mean: one base URL, checked."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from vambe_provider.exceptions import VambeConfigError

DEFAULT_BASE_URL = "https://api.vambe.me"
SCHEME_PORTS = {"http": 80, "https": 443}


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
    if parts.scheme not in SCHEME_PORTS or not parts.hostname:
        raise VambeConfigError(f"{name}: this is not an http or https URL", fix=f"Write it as {DEFAULT_BASE_URL}.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise VambeConfigError(
            f"{name}: http would send the API key in the clear to {parts.hostname}",
            fix="Use https; http is only accepted for localhost, 127.0.0.0/8 and ::1.",
        )
    _port_of(parts, name)
    _check_labels(parts.hostname, name)
    if re.search(r"[\x00-\x20\x7f\\]", url.strip()) or any(part in (".", "..") for part in parts.path.split("/")):
        raise VambeConfigError(
            f"{name}: the URL holds a space, a control character, a backslash or a dot segment",
            fix=f"Write it as {DEFAULT_BASE_URL}.",
        )
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
        raise VambeConfigError(
            f"{name}: the port in the URL is not a number from 1 to 65535", fix=f"Write it as {DEFAULT_BASE_URL}."
        ) from None


def _check_labels(host: str, name: str) -> None:
    try:
        host.rstrip(".").encode("idna")
    except UnicodeError:
        raise VambeConfigError(
            f"{name}: a part of the host name is empty, too long, or holds a character that none has",
            fix=f"Write it as {DEFAULT_BASE_URL}.",
        ) from None


def _scheme(schema: str | None, host: str) -> str:
    if schema is None:
        return "http" if is_loopback(host) else "https"
    if schema.lower() not in SCHEME_PORTS:
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
