"""What a reply holds, or the error that says whether the request took effect."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from vambe_provider.api.meaning import NO_JSON, SUCCESSES, error_words, is_api_error, kind_of, verdict
from vambe_provider.api.models import Channel, ChatMessage, Contact, OpenedTicket, Pipeline, _Reply
from vambe_provider.api.redact import sent_texts, without_people
from vambe_provider.api.retry import failed, rate_limit_error, retry_after
from vambe_provider.api.words import Topic, topic_of
from vambe_provider.exceptions import VambeAuthError, VambeError, VambeRefusedError

if TYPE_CHECKING:
    from vambe_provider.api.requests import Request

M = TypeVar("M", bound=_Reply)

MAX_REPLY = 1024 * 1024
_LIST_NAMES = ("contacts", "data", "items", "messages", "pipelines")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}", re.ASCII)
_FIXES: dict[Topic, str | None] = {
    "key": "Check the API key in the connection's password, and what it may do.",
    "address": "Check the connection's host: it has to be the base URL, such as https://api.vambe.me, without a path.",
    "credit": "Check the plan and the credit of the Vambe account.",
    "sender": "Check the phone_id, and that its WhatsApp is connected in Vambe; for the channel whatsapp the phone_id "
    "has to be numeric.",
    "row": "Check the phone number, the stage, the ids and the other fields of this request.",
    "unknown": None,
}
_SMALLER = "Make the message or the metadata smaller."
_NOT_VAMBE = (
    "Something between this machine and Vambe answered, or another server: check the connection's host, HTTPS_PROXY, "
    "and firewalls."
)
_REDIRECT = "Check the connection's host: it has to be the final address of the API."


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as it came over the wire.

    :param status: the HTTP status.
    :param headers: to be asked in lower case.
    :param body: at most ``MAX_REPLY`` bytes.
    :param fault: why the body is not complete, such as ``is larger than 1 MiB``; None when it is.
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
            raise self._unreadable(reply, "does not say ok")
        return self._model(reply, OpenedTicket, payload)

    def done(self, reply: Reply) -> None:
        """Accept any success; the bodies of these replies are hardly documented, so an empty one will do."""
        if reply.status not in SUCCESSES or reply.body or reply.fault:
            self._payload(reply)

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

    def _payload(self, reply: Reply) -> Any:
        """Return the JSON of a reply that means that the request was carried out.

        :raises VambeError: what any other reply means.
        """
        payload = _parsed(reply)
        body = kind_of(payload, status=reply.status, states=not self.request.idempotent)
        meaning = verdict(sent=True, status=reply.status, body=body)
        if meaning == "done":
            return payload
        if reply.status in SUCCESSES:
            reason = (reply.fault or "is not JSON") if payload is NO_JSON else "says that it failed"
            raise self._unreadable(reply, reason, said=self._shown(error_words(payload)))
        if meaning == "maybe":
            raise self._unclear(reply, payload)
        words = error_words(payload)
        if meaning == "refused":
            raise self._refusal(reply.status, words)
        wait = retry_after(reply.headers.get("retry-after"))
        raise rate_limit_error(self.request, seconds=wait, said=self._shown(words))

    def _refusal(self, status: int, words: str | None) -> VambeRefusedError:
        """Return the error for a request that was turned down in the API's own words."""
        topic = topic_of(words, status=status)
        kind = VambeAuthError if status in (401, 403) else VambeRefusedError
        return kind(
            f"Could not {self.request.what}: {self.host} answered {status}",
            fix=_SMALLER if status == 413 else _FIXES[topic],
            status=status,
            said=self._shown(words),
            about="row" if topic == "row" else "run",
        )

    def _unclear(self, reply: Reply, payload: Any) -> VambeError:
        """Return the error for a reply from which nobody can tell what became of the request."""
        status, fix, said = reply.status, None, None
        message = f"Could not {self.request.what}: {self.host} answered {status}"
        if 300 <= status < 400:
            target = _origin(reply.headers.get("location"))
            message, fix = f"{message}, a redirect{f' to {target}' if target else ''}, which is not followed", _REDIRECT
        elif is_api_error(payload, status=status):
            said = self._shown(error_words(payload))
        else:
            message, fix = f"{message} with {_shape(reply, payload)}", _NOT_VAMBE if status < 500 else None
        error = failed(self.request, message, fix=fix, status=status, said=said)
        error.retry_after = retry_after(reply.headers.get("retry-after"))
        return error

    def _items(self, reply: Reply, payload: Any = None) -> list[Any]:
        payload = self._payload(reply) if payload is None else payload
        if isinstance(payload, Mapping):
            payload = next((payload[name] for name in _LIST_NAMES if isinstance(payload.get(name), list)), None)
        if not isinstance(payload, list):
            raise self._unreadable(reply, "holds no list")
        return payload

    def _model(self, reply: Reply, model: type[M], payload: Any) -> M:
        try:
            return model.model_validate(payload)
        except (ValidationError, RecursionError) as error:
            names = _wrong_fields(error)
        raise self._unreadable(reply, f"lacks or garbles {names}")

    def _unreadable(self, reply: Reply, reason: str, *, said: str | None = None) -> VambeError:
        """Return the error for a success that does not hold what it should."""
        shape = _shape(reply, _parsed(reply))
        message = f"Could not {self.request.what}: {self.host} answered {reply.status} with {shape}, which {reason}"
        return failed(self.request, message, status=reply.status, said=said)

    def _shown(self, words: str | None) -> str | None:
        if words is None:
            return None
        secrets = [self.api_key] if self.api_key else []
        return without_people(words, sent=sent_texts(self.request.body, self.request.query), secrets=secrets)


def _wrong_fields(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "the reply"
    places = (".".join(map(str, item["loc"])) for item in error.errors(include_input=False, include_url=False))
    return ", ".join(dict.fromkeys(place or "the reply" for place in places))


def _parsed(reply: Reply) -> Any:
    """Return the JSON of a body, or ``NO_JSON``."""
    if reply.fault:
        return NO_JSON
    try:
        return json.loads(plain_body(reply))
    except (ValueError, RecursionError, zlib.error):
        return NO_JSON


def _shape(reply: Reply, payload: Any) -> str:
    """Return what a body is, without a word of what it says."""
    given = _MEDIA_TYPE.match(reply.headers.get("content-type", ""))
    size = f"{'at least ' if reply.fault else ''}{len(reply.body):,} bytes of {given[0] if given else 'no known type'}"
    if isinstance(payload, Mapping):
        return f"{size} (a JSON object of {len(payload)} fields)"
    if isinstance(payload, list):
        return f"{size} (a JSON list of {len(payload)} items)"
    return f"{size} (not JSON)" if payload is NO_JSON and not reply.fault else size


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
