"""That a change was asked for by the page itself, and what browsers are told about the page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""The headers of every answer."""


def refusal(headers: Mapping[str, str], *, public_host: str) -> str | None:
    """Return why a request to change something is refused; None when it comes from the page itself.

    The cookie alone proves nothing: a browser sends it with a form of another site too.

    :param headers: the headers of the request, whose names do not mind case.
    :param public_host: host and port under which browsers see this Airflow in front of a proxy; empty when unknown.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return "The body has to be JSON."
    if site := headers.get("sec-fetch-site"):
        return None if site == "same-origin" else "The request comes from another site."
    # Browsers leave that header out on plain http, except on this very machine.
    origin = urlsplit(headers.get("origin", "")).netloc
    if origin and origin in (headers.get("host", ""), public_host):
        return None
    return (
        "The request does not say that it comes from this site. Behind a proxy, let it pass on the header Host, or set "
        "[api] base_url to the address that browsers see."
    )
