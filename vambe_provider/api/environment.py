"""What the environment of the process decides about the network: certificates and proxy."""

from __future__ import annotations

import os
import ssl
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from vambe_provider.api.address import is_loopback
from vambe_provider.exceptions import VambeConfigError

CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")

_lock = threading.Lock()
_contexts: dict[tuple[str, ...], ssl.SSLContext] = {}


def ssl_context() -> ssl.SSLContext:
    """Return the TLS context of this process; making it reads all certificates and takes tens of milliseconds.

    The certificates are those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else of ``REQUESTS_CA_BUNDLE`` (a file or a
    folder), else those of the package ``certifi``.

    :raises VambeConfigError: when a variable names nothing that can be read; names the variable.
    """
    given = tuple(os.environ.get(name, "").strip() for name in CA_VARIABLES)
    with _lock:
        if given not in _contexts:
            _contexts[given] = _context(dict(zip(CA_VARIABLES, given, strict=True)))
        return _contexts[given]


def _context(given: dict[str, str]) -> ssl.SSLContext:
    names = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if given[name]]
    names = names or [name for name in ("REQUESTS_CA_BUNDLE",) if given[name]]
    if not names:
        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in names:
        places = given[name].split(os.pathsep) if name == "SSL_CERT_DIR" else [given[name]]
        # Of several folders, OpenSSL too passes over those that are missing.
        for place in [place for place in places if Path(place).is_dir()] or places[:1]:
            _load(context, name, place)
    return context


def _load(context: ssl.SSLContext, name: str, place: str) -> None:
    try:
        if Path(place).is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        kind = type(error).__name__
    else:
        return
    raise VambeConfigError(
        f"The environment variable {name} names certificates that cannot be read ({kind}): {place[:200]}",
        fix=f"Correct or unset {name} on the machine that runs the task; it needs a readable file in PEM format.",
    )


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for the API, or None; a loopback host never has one.

    Looked up once for each client.

    :raises VambeConfigError: when it is not a proxy that can be used; what it says is not shown, since it may hold a
        password.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    problem = _problem(proxy)
    if problem:
        raise VambeConfigError(
            f"The environment names a proxy for {host} that {problem}",
            fix="Set HTTPS_PROXY to a proxy such as http://proxy.example.com:3128, or add the host to NO_PROXY.",
        )
    return proxy


def _problem(proxy: str) -> str | None:
    try:
        parts = urlsplit(proxy)
        _ = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:  # a UnicodeError is a ValueError
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "is neither http nor https"
    return None if parts.hostname else "names no host"
