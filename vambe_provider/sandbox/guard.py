"""Who may talk to the sandbox: a name in a browser that leads here must not be somebody else's."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from vambe_provider.sandbox.state import SandboxState

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can be this machine only."""
    name = host.strip("[]").rstrip(".").casefold()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def guard(state: SandboxState, host: str) -> Middleware:
    """Return what stands before every request.

    On a loopback address, the name that a request asks for has to be one of this machine: a page of another site
    whose name was made to lead here (DNS rebinding) would otherwise read every number and message. On any other
    address everything needs the key, in ``x-api-key`` or as the password that a browser asks for.

    :param state: the account, which knows the key.
    :param host: the address that the sandbox listens on.
    """
    local = is_loopback(host)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if local:
            named = request.headers.get("Host", "")
            if named and not is_loopback(_name(named)):
                raise web.HTTPForbidden(text="The sandbox answers to names of this machine only, such as 127.0.0.1.\n")
        # The API answers 401 by itself, as Vambe does.
        elif not request.path.startswith("/api/") and not _has_key(request, state.config.api_key):
            ask = {"WWW-Authenticate": 'Basic realm="Vambe sandbox: any name, and the API key"'}
            raise web.HTTPUnauthorized(text="The sandbox needs its API key.\n", headers=ask)
        return await handler(request)

    return middleware


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _has_key(request: web.Request, key: str) -> bool:
    given = [request.headers.get("x-api-key", "")]
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.casefold() == "basic":
        try:
            given.append(base64.b64decode(value, validate=True).decode().partition(":")[2])
        except (binascii.Error, UnicodeDecodeError):
            return False
    return any(hmac.compare_digest(item.encode(), key.encode()) for item in given)
