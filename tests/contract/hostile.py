"""Replies that no sane server sends, from a seed: each is the same in every run."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

NEEDLE = "Maria Rodriguez"
"""Stands wherever a reply could hold something personal, and in no field that an error is known to have."""

_STATUSES = [
    *[200] * 6,
    *(201, 204, 206, 301, 302, 307, 400, 400, 401, 403, 404, 409, 413, 422, 425, 429, 460, 500, 502, 503, 599),
]
_STATUS_LINES = [
    b"",
    b"HTTP/1.1",
    b"HTTP/1.1 99 X",
    b"HTTP/1.1 -1 X",
    b"HTTP/1.1 2000 X",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 \xff\xfe",
    b"HTTP/1.0 200 OK",
    b"HTTP/2 200",
    b"http/1.1 200 OK",
    b"ICY 200 OK",
    b"\x16\x03\x01\x00",
]
_HEADERS = [
    b"Retry-After: nan",
    b"Retry-After: Wed, 99 Oct 9999 07:28:00 GMT",
    b"Retry-After: -5",
    b"Date: yesterday",
    b"Date: Fri, 31 Dec 9999 23:59:59 GMT",
    b"Date: Mon, 01 Jan 0001 00:00:00 -9999",
    b"Location: http://[",
    b"Location: \xff",
    b"Set-Cookie: a=b",
    b"Content-Encoding: br",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate, gzip",
    b"no colon",
    b": no name",
    b"X-Nul: a\x00b",
    b"X-Long: " + b"x" * 9000,
    b"Connection: close",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Content-Type: text/html",
    b"Content-Type: " + NEEDLE.encode(),
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 7",
    b"Content-Length: x",
]
_SPOKEN = ("error", "message", "errors", "path", "code", "statusCode")
_KEYS = [
    *_SPOKEN,
    *("id", "aiContactId", "ai_contact_id", "status", "success", "ok", "hasMore", "created_at", "updated_at"),
    *("name", "phone", "body", "content", "direction", "active_ticket_v2", "\ud83d", "\x00", ""),
    *("data", "contacts", "messages", "items", "pipelines", "stages", "channel", "contact"),
]
_SCALARS: list[Any] = [
    *(None, True, False, 0, -1, 10**30, 0.5, float("nan"), float("inf")),
    *("", " ", "ok", "failed", "c1", "INBOUND", NEEDLE, "\ud83d", "\x00\x1b[31m", "\u202egnp.exe"),
    *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
]
_WORDS: list[Any] = [
    *("no", "phone number \x1b[0m \ud83d", 400, None),
    ["a", "b"],
    [{"path": ["x", None, 1], "message": "y"}],
]
_PAGE = f"<html><title>{NEEDLE}</title>".encode()
_ODD = [b"", _PAGE, NEEDLE.encode(), b"[" * 50_000, b"1" * 5000, gzip.compress(_PAGE), b"\x1f\x8b\x08", b"\xff\xfe"]
_LARGE = [
    gzip.compress(b" " * 5_000_000),
    b" " * 1_200_000,
    b'{"id":"c1","name":"' + b"x" * 1_100_000 + b'"}',
]


def hostile(rng: random.Random) -> bytes:
    """Return one reply as it goes over the wire."""
    status = rng.choice(_STATUSES)
    body = hostile_body(rng, status)
    line = f"HTTP/1.1 {status} X".encode() if rng.random() < 0.9 else rng.choice(_STATUS_LINES)
    headers = [rng.choice(_HEADERS) for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 130 if rng.random() < 0.02 else 3]))]
    framing = rng.random()
    if framing < 0.6:
        headers.append(f"Content-Length: {len(body)}".encode())
    elif framing < 0.8:
        headers.append(b"Transfer-Encoding: chunked")
        body = _chunked(rng, body)
    reply = b"\r\n".join([line, b"Content-Type: application/json", *headers]) + b"\r\n\r\n" + body
    if rng.random() < 0.1:
        reply = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.randint(1, 200) + reply
    if rng.random() < 0.1:
        reply += rng.choice([reply, b"HTTP/1.1 200 OK\r\n", b"garbage", b"\r\n\r\n"])
    return reply[: rng.randint(0, len(reply))] if rng.random() < 0.15 else reply


def _chunked(rng: random.Random, body: bytes) -> bytes:
    size = rng.choice([b"%x" % len(body), b"%x" % (len(body) + 9), b"zz", b"-1", b"ffffffffffffffffff", b""])
    return size + b"\r\n" + body + rng.choice([b"\r\n0\r\n\r\n", b"\r\n0\r\nX: y\r\n\r\n", b"\r\n", b""])


def hostile_body(rng: random.Random, status: int) -> bytes:
    """Return a body; about every seventh is an error in the API's form, or nearly."""
    kind = rng.random()
    if kind < 0.8:
        spoken = {"statusCode": rng.choice([status, status, str(status), None, 777]), "message": rng.choice(_WORDS)}
        text = json.dumps(spoken | {"detail": NEEDLE} if kind < 0.15 else _value(rng, 0)).encode()
        return text if rng.random() < 0.85 else text[: rng.randint(0, len(text))]
    return rng.choice(_ODD if kind < 0.99 else _LARGE)


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth and (depth > 4 or kind < 0.4):
        return rng.choice(_SCALARS)
    if kind < 0.5:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    made = {key: _value(rng, depth + 1) for key in rng.sample(_KEYS, rng.randint(0, 5))}
    made |= {key: rng.choice(_WORDS) for key in _SPOKEN if key in made}
    if rng.random() < 0.3:
        made |= {"aiContactId": "c1", "id": "c1", "status": "ok"}
    return made
