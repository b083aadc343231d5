"""The things that the sandbox keeps: contacts, tickets and messages, and the log of requests."""

from __future__ import annotations

import random
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

JsonObject = dict[str, Any]

# Ids need to be unique, not secret, and this is several times faster than uuid.uuid4.
_ids = random.SystemRandom().getrandbits(64)
_generator = random.Random(_ids)  # noqa: S311


def new_id() -> str:
    """Return a new random uuid."""
    text = f"{_generator.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def iso(milliseconds: int | None) -> str | None:
    """Return a time as the API writes it, as ``2026-11-22T10:00:00.000Z``.

    :param milliseconds: milliseconds since 1970 in UTC, or None.
    :returns: ISO 8601 with milliseconds and ``Z``, or None.
    """
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def parse_iso(text: str) -> int:
    """Return milliseconds since 1970 of an ISO 8601 time; one without an offset is UTC.

    :param text: the time.
    :raises ValueError: when it is no ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def snake_case(key: str) -> str:
    """Return a metadata key as Vambe stores it, as ``order_id`` for ``Order ID`` and ``orderId``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip())
    return re.sub(r"[^0-9a-zA-Z]+", "_", spaced).strip("_").lower()


@dataclass(slots=True, eq=False)
class Contact:
    """One person on one channel; times are milliseconds since 1970.

    :param reads: how often the API was asked about the contact; visibility by number of reads counts with it.
    :param changed_at: when a ticket, message or field changed last, whatever ``updated_at`` shows.
    :param reads_at_change: the value of ``reads`` then.
    """

    id: str
    phone: str
    platform: str
    created_at: int
    updated_at: int
    name: str | None = None
    email: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    last_message_at: int | None = None
    last_inbound_at: int | None = None
    chat_status: str = "UNATTENDED"
    is_chat_read: bool = True
    blocked: bool = False
    default_stage_id: str | None = None
    active_ticket_id: str | None = None
    last_closed_ticket_id: str | None = None
    ticket_ids: list[str] = field(default_factory=list)
    reads: int = 0
    changed_at: int = 0
    reads_at_change: int = 0


@dataclass(slots=True, eq=False)
class Ticket:
    """One ticket; ``status`` is ``open``, ``replaced`` (a newer one became active) or ``closed``.

    :param message: the message object of the request, as it came.
    :param reads_at_opening: how often the contact had been read when it was opened.
    :param metadata_at: when a request to open it brought metadata last; 0 when that was the one that created it.
    :param reads_at_metadata: how often the contact had been read then.
    :param metadata_before: what it held before that.
    """

    id: str
    contact_id: str
    stage_id: str
    phone_id: str
    channel: str
    created_at: int
    updated_at: int
    status: str = "open"
    closed_at: int | None = None
    metadata: JsonObject = field(default_factory=dict)
    integration_data: JsonObject = field(default_factory=dict)
    message: JsonObject | None = None
    amount: float | None = None
    currency: str | None = None
    reads_at_opening: int = 0
    metadata_at: int = 0
    reads_at_metadata: int = 0
    metadata_before: JsonObject | None = None


@dataclass(slots=True, eq=False)
class ChatMessage:
    """One message; ``direction`` is ``INBOUND`` (from the customer) or ``OUTBOUND``."""

    id: str
    contact_id: str
    body: str
    direction: str
    created_at: int
    sender: str
    recipient: str
    status: str = "sent"
    reads_at_sending: int = 0


@dataclass(slots=True, eq=False)
class RequestRecord:
    """What the sandbox remembers of one request.

    :param status: the status sent, or None while it is being answered and when no status was sent at all.
    :param phone: digits of the number that the request is about, when it says one.
    :param effect: whether the request changed anything.
    :param fault: the kind of the fault that hit it.
    :param reused: whether the connection had carried a request before.
    :param size: bytes of its body.
    """

    endpoint: str
    method: str
    path: str
    query: dict[str, str]
    time: int
    reused: bool = False
    status: int | None = None
    phone: str | None = None
    effect: bool = False
    fault: str | None = None
    body: Any = None
    size: int = 0

    def as_dict(self) -> JsonObject:
        """Return it as plain JSON values, the time as ISO 8601."""
        return asdict(self) | {"time": iso(self.time)}
