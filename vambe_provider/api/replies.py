"""What a reply means: the value that it holds, or the error that says whether the request took effect."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from vambe_provider.api.models import Channel, ChatMessage, Contact, OpenedTicket, Pipeline, _Reply
from vambe_provider.api.redact import said, sent_texts
from vambe_provider.api.retry import failed, rate_limit_error, redirect_error, retry_after
from vambe_provider.exceptions import VambeAuthError, VambeError, VambeRefusedError

if TYPE_CHECKING:
    from vambe_provider.api.requests import Request

M = TypeVar("M", bound=_Reply)

MAX_REPLY = 1024 * 1024
# A 4xx that does not say that the request was turned away: 408 and nginx's 499 mean that somebody stopped waiting.
_UNSURE_4XX = frozenset({408, 499})
_FAILURE_WORDS = re.compile("fail|error|reject", re.IGNORECASE)
_LIST_NAMES = ("contacts", "data", "items", "messages", "pipelines")
_FIXES = {
    401: "Check the API key in the connection's password.",
    403: "Check the API key in the connection's password, and what it may do.",
    404: "Check the phone_id, the stage or the id; for the channel whatsapp the phone_id has to be numeric.",
    413: "Make the message or the metadata smaller.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as it came over the wire.

    :param status: the HTTP status.
    :param headers: names in lower case.
    :param body: at most ``MAX_REPLY`` bytes.
    :param fault: why the body is not complete, as ``is larger than 1 MiB``; None when it is.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the replies to one request.

    :param request: what was asked.
    :param host: the API's host, for texts.
    :param api_key: taken out of everything that the API says.
    """

    request: Request
    host: str = "Vambe"
    api_key: str = field(default="", repr=False)

    def opened(self, reply: Reply) -> OpenedTicket:
        """Return what was opened; anything but an ``ok`` with a contact id may or may not have opened a ticket."""
        payload = self._payload(reply)
        if not isinstance(payload, Mapping) or str(payload.get("status", "")).lower() != "ok":
            raise self._unreadable(reply, "the reply does not say ok")
        return self._model(reply, OpenedTicket, payload)

    def done(self, reply: Reply) -> None:
        """Accept any success; the bodies of these replies are hardly documented, so an empty one will do."""
        if reply.status != 204 and (reply.body or reply.fault):
            self._payload(reply)
        else:
            self._check_status(reply)

    def pipelines(self, reply: Reply) -> list[Pipeline]:
        """Return the pipelines."""
        return [self._model(reply, Pipeline, item) for item in self._items(reply)]

    def contacts(self, reply: Reply) -> list[Contact]:
        """Return a list of contacts."""
        return [self._model(reply, Contact, item) for item in self._items(reply)]

    def contact(self, reply: Reply) -> Contact:
        """Return one contact."""
        return self._model(reply, Contact, _unwrapped(self._payload(reply), "contact", "data"))

    def channel(self, reply: Reply) -> Channel:
        """Return one channel, whose id may have one of several names."""
        payload = _unwrapped(self._payload(reply), "channel", "data")
        if isinstance(payload, Mapping):
            payload = {key: value for key, value in payload.items() if value not in (None, "")}
        return self._model(reply, Channel, payload)

    def messages(self, reply: Reply) -> tuple[list[ChatMessage], bool]:
        """Return one page of messages, and whether there are more pages."""
        payload = self._payload(reply)
        found = [self._model(reply, ChatMessage, item) for item in self._items(reply, payload)]
        return found, isinstance(payload, Mapping) and payload.get("hasMore") is True

    def error(self, reply: Reply) -> VambeError | None:
        """Return the error that a status means, or None for a success."""
        if 200 <= reply.status < 300:
            return None
        if 300 <= reply.status < 400:
            location = _origin(reply.headers.get("location"))
            return redirect_error(self.request, status=reply.status, location=location, host=self.host)
        text = self._said(reply)
        if reply.status == 429:
            return rate_limit_error(self.request, seconds=retry_after(reply.headers.get("retry-after")), said=text)
        message = f"Could not {self.request.what}: {self.host} answered {reply.status}"
        if 400 <= reply.status < 500 and reply.status not in _UNSURE_4XX:
            kind = VambeAuthError if reply.status in (401, 403) else VambeRefusedError
            return kind(message, fix=_FIXES.get(reply.status), status=reply.status, said=text)
        error = failed(self.request, message, status=reply.status, said=text)
        error.retry_after = retry_after(reply.headers.get("retry-after"))
        return error

    def _check_status(self, reply: Reply) -> None:
        error = self.error(reply)
        if error is not None:
            raise error

    def _payload(self, reply: Reply) -> Any:
        """Return the JSON of a success that does not say that it failed."""
        self._check_status(reply)
        if reply.fault:
            raise self._unreadable(reply, f"the reply {reply.fault}")
        try:
            payload = json.loads(plain_body(reply))
        except (ValueError, RecursionError, zlib.error):
            raise self._unreadable(reply, "the reply is not JSON") from None
        if says_failure(payload, states=not self.request.idempotent):
            raise self._unreadable(reply, "the reply has a good status and says that it failed")
        return payload

    def _items(self, reply: Reply, payload: Any = None) -> list[Any]:
        payload = self._payload(reply) if payload is None else payload
        if isinstance(payload, Mapping):
            payload = next((payload[name] for name in _LIST_NAMES if isinstance(payload.get(name), list)), None)
        if not isinstance(payload, list):
            raise self._unreadable(reply, "the reply holds no list")
        return payload

    def _model(self, reply: Reply, model: type[M], payload: Any) -> M:
        try:
            return model.model_validate(payload)
        except ValidationError as error:
            names = ", ".join(
                dict.fromkeys(".".join(map(str, item["loc"])) or "reply" for item in error.errors(include_input=False))
            )
        raise self._unreadable(reply, f"the reply lacks or garbles {names}")

    def _unreadable(self, reply: Reply, reason: str) -> VambeError:
        message = f"Could not {self.request.what}: {self.host} answered {reply.status}, but {reason}"
        return failed(self.request, message, status=reply.status, said=self._said(reply))

    def _said(self, reply: Reply) -> str | None:
        try:
            body = plain_body(reply)
        except zlib.error:
            return None
        secrets = [self.api_key] if self.api_key else []
        return said(body, sent=sent_texts(self.request.body, self.request.query), secrets=secrets)


def says_failure(payload: object, *, states: bool = True) -> bool:
    """Return whether a body says that the request failed although its status is a success.

    :param payload: the parsed body.
    :param states: whether ``status`` speaks of the request; in a reply to a read it belongs to what was read.
    """
    if not isinstance(payload, Mapping):
        return False
    if payload.get("success") is False or payload.get("ok") is False or payload.get("error"):
        return True
    if not states:
        return False
    nested = payload.get("data")
    found = [payload.get("status"), nested.get("status") if isinstance(nested, Mapping) else None]
    return any(isinstance(state, str) and _FAILURE_WORDS.search(state) for state in found)


def plain_body(reply: Reply) -> bytes:
    """Return the body without the compression that a gateway may have added; it is cut where it exceeds the limit."""
    if reply.headers.get("content-encoding", "identity").strip().lower() in ("", "identity"):
        return reply.body
    # 47 lets zlib tell gzip and deflate apart by itself.
    return zlib.decompressobj(wbits=47).decompress(reply.body, MAX_REPLY)


def _unwrapped(payload: Any, *names: str) -> Any:
    if isinstance(payload, Mapping) and not payload.get("id"):
        return next((payload[name] for name in names if isinstance(payload.get(name), Mapping)), payload)
    return payload


def _origin(location: str | None) -> str | None:
    """Return only the scheme and host of a redirect's target, since the rest may hold anything."""
    try:
        parts = urlsplit(location or "")
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else None
