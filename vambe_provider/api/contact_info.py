"""What the API tells about a contact: the one reading of its tickets, times, marks and stages. Pure functions.

How ``GET …/contact/{id}/info`` names its tickets is not documented, and the list of contacts shows them in a short
form, so names and shapes are read with tolerance: ``snake_case`` and ``camelCase``, an object or a list, ids as text or
number. What is not understood is treated as not seen.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

MARK_NAME = "airflow_ticket_key"
"""The field of ``ticket_metadata`` in which the digest of the ticket's key travels."""

# Names such as active_ticket_v2, lastClosedTicket, tickets and active_ticket_id, and not such as ticket_type.
_TICKET_NAME = re.compile(
    "(?P<which>(?:active|current|open|last|latest|newest|previous|recent|closed|archived|all)*)"
    "ticket(?P<many>s?)(?:v?[0-9]+|list|info|id)?"
)
_ACTIVE, _CLOSED = re.compile("active|current|open"), re.compile("closed|archived")
_CLOSED_STATES = frozenset({"closed", "archived"})

_CONTACT_ID = ("id", "aicontactid", "contactid")
_PHONE = ("phone", "phonenumber", "contactnumber")
_TICKET_ID = ("id", "ticketid", "uuid")
_STAGE_ID = ("currentstageid", "stageid", "pipelinestageid")
_STAGE = ("currentstage", "stage", "pipelinestage")
_CREATED = ("createdat", "creationdate", "openedat")
_UPDATED = ("updatedat",)
_CLOSED_AT = ("closedat", "closingdate", "archivedat")
_CLOSED_FLAG = ("isclosed", "closed", "isarchived", "archived")
_METADATA = (
    "metadata", "ticketmetadata", "custommetadata", "customfields", "customfieldvalues", "customfieldsvalues",
    "fields", "fieldvalues",
)  # fmt: skip
_WRAPPERS = ("contact", "data")
_LISTS = ("data", "items", "results", "list", "tickets")
# In {"key": …, "value": …} these hold the value; an id or a time beside them is none.
_VALUES = ("value", "values", "text", "content", "stringvalue", "fieldvalue")
_MARK = "airflowticketkey"
_MAX_DEPTH = 40
_MAX_NAME = 60
_EPOCH = re.compile("[0-9]{10}|[0-9]{13}")
_MILLISECONDS = 1e11


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is understood of one ticket.

    :param id: as the API writes it.
    :param stage_id: the stage that it is in.
    :param status: as the API writes it.
    :param is_open: whether nothing says that it is closed.
    :param is_active: whether it stands where the API shows the contact's active ticket.
    :param marks: the values of ``airflow_ticket_key`` that stand in it.
    :param shows_metadata: whether it has a place for metadata that is not null, be it empty.
    """

    id: str | None = None
    stage_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None
    status: str | None = None
    is_open: bool = True
    is_active: bool = False
    marks: frozenset[str] = frozenset()
    shows_metadata: bool = False


@dataclass(frozen=True, slots=True)
class ContactInfo:
    """What is understood of one contact.

    :param id: the ``aiContactId``, as the API writes it.
    :param tickets: each once, in the order in which they are shown.
    :param marks: the values of ``airflow_ticket_key`` that stand anywhere in it, those of its tickets included.
    :param shows_tickets: whether there is a place for tickets, be it null or empty.
    :param shows_closed_ticket: whether there is a place for a closed ticket, be it null or empty.
    """

    id: str | None = None
    phone: str | None = field(default=None, repr=False)
    chat_status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_message_at: datetime | None = None
    tickets: tuple[Ticket, ...] = ()
    marks: frozenset[str] = frozenset()
    shows_tickets: bool = False
    shows_closed_ticket: bool = False


def read_contact(payload: Mapping[str, Any]) -> ContactInfo:
    """Return what is understood of a contact; it never fails.

    :param payload: a contact as the API answers it, from its own page, from a search or from a list; also inside of
        ``{"contact": …}`` or ``{"data": …}``.
    """
    payload = dict(payload)
    fields = _fields(payload)
    if _text(fields, _CONTACT_ID) is None:
        inner = next((fields[name] for name in _WRAPPERS if isinstance(fields.get(name), dict)), None)
        fields = fields if inner is None else _fields(inner)
    found = list(_tickets(payload))
    return ContactInfo(
        id=_text(fields, _CONTACT_ID),
        phone=_text(fields, _PHONE),
        chat_status=_text(fields, ("chatstatus",)),
        created_at=_time(fields, _CREATED),
        updated_at=_time(fields, _UPDATED),
        last_message_at=_time(fields, ("lastmessageat",)),
        tickets=tuple(_each_once(ticket for ticket in found if ticket is not None)),
        marks=frozenset(_marks(payload)),
        shows_tickets=bool(found),
        shows_closed_ticket=_shows_closed_ticket(payload),
    )


def parse_time(value: object) -> datetime | None:
    """Return a time in UTC, or None for what is none.

    :param value: a datetime, ISO 8601 (in UTC when it names no zone), or seconds or milliseconds since 1970.
    """
    try:
        if isinstance(value, str) and not _EPOCH.fullmatch(value.strip()):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return None
        seconds = float(value)
        if not math.isfinite(seconds) or seconds <= 0:
            return None
        return datetime.fromtimestamp(seconds / 1000 if seconds >= _MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def same_id(one: str | None, other: str | None) -> bool:
    """Return whether two ids are the same: some databases write a uuid in capitals."""
    return one is not None and other is not None and one.strip().lower() == other.strip().lower()


def _tickets(value: object, depth: int = 0) -> Iterator[Ticket | None]:
    """Yield what stands under names that speak of a ticket, wherever they are; None for each such place."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if place := _place(name):
                yield from _placed(inner, place, depth + 1)
            elif isinstance(inner, (dict, list, tuple)):
                yield from _tickets(inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tickets(inner, depth + 1)


def _shows_closed_ticket(value: object, depth: int = 0) -> bool:
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        places = [place["which"] for place in map(_place, value) if place]
        return any(map(_CLOSED.search, places)) or any(
            _shows_closed_ticket(inner, depth + 1) for name, inner in value.items() if not _place(name)
        )
    return isinstance(value, (list, tuple)) and any(_shows_closed_ticket(inner, depth + 1) for inner in value)


def _placed(value: object, place: re.Match[str], depth: int) -> Iterator[Ticket | None]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, (list, tuple)):
        yield None
        for item in value:
            yield from _placed(item, place, depth + 1)
    elif isinstance(value, dict):
        yield None
        fields = _fields(value)
        inner = next((fields[name] for name in _LISTS if isinstance(fields.get(name), (dict, list, tuple))), None)
        if inner is not None and _text(fields, _TICKET_ID + _STAGE_ID) is None:
            yield from _placed(inner, place, depth + 1)
        elif value:
            yield _ticket(value, place["which"])
    elif value is None:
        yield None
    elif place["which"] and not place["many"] and (identity := _plain(value)) is not None:
        yield _ticket({"id": identity}, place["which"])


def _ticket(value: dict[Any, Any], which: str) -> Ticket:
    fields = _fields(value)
    closed_at, status = _time(fields, _CLOSED_AT), _text(fields, ("status", "state"))
    flagged = any(fields.get(name) is True for name in _CLOSED_FLAG) or fields.get("isopen") is False
    in_closed_place, closed_state = bool(_CLOSED.search(which)), (status or "").lower() in _CLOSED_STATES
    stage = next((fields[name] for name in _STAGE if fields.get(name) not in (None, "")), None)
    named = _text(_fields(stage), ("id", "stageid")) if isinstance(stage, dict) else _plain(stage)
    return Ticket(
        id=_text(fields, _TICKET_ID),
        stage_id=_text(fields, _STAGE_ID) or named,
        created_at=_time(fields, _CREATED),
        updated_at=_time(fields, _UPDATED),
        closed_at=closed_at,
        status=status,
        is_open=not (in_closed_place or closed_state or flagged or closed_at is not None),
        is_active=bool(_ACTIVE.search(which)) and not in_closed_place,
        marks=frozenset(_marks(value)),
        shows_metadata=any(fields.get(name) is not None for name in _METADATA),
    )


def _each_once(tickets: Iterable[Ticket]) -> Iterator[Ticket]:
    """Put together what is shown of one ticket under several names; those without an id stay apart."""
    known: dict[str, Ticket] = {}
    for number, ticket in enumerate(tickets):
        name = f"#{number}" if ticket.id is None else ticket.id.lower()
        known[name] = _together(known[name], ticket) if name in known else ticket
    yield from known.values()


def _together(one: Ticket, other: Ticket) -> Ticket:
    return replace(
        one,
        stage_id=one.stage_id or other.stage_id,
        created_at=one.created_at or other.created_at,
        updated_at=one.updated_at or other.updated_at,
        closed_at=one.closed_at or other.closed_at,
        status=one.status or other.status,
        is_open=one.is_open and other.is_open,
        is_active=one.is_active or other.is_active,
        marks=one.marks | other.marks,
        shows_metadata=one.shows_metadata or other.shows_metadata,
    )


def _marks(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the values of ``airflow_ticket_key``: of that name, in a pair of name and value, or in JSON as text."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield from _marks_of_object(value, depth)
    elif isinstance(value, (list, tuple)):
        if len(value) == 2 and _is_mark_name(value[0]):
            yield from _texts(value[1], depth)
        for item in value:
            yield from _marks(item, depth + 1)
    elif isinstance(value, str) and MARK_NAME in value and value.lstrip().startswith(("{", "[")):
        try:
            yield from _marks(json.loads(value), depth + 1)
        except (ValueError, RecursionError):
            return


def _marks_of_object(value: dict[Any, Any], depth: int) -> Iterator[str]:
    fields = _fields(value)
    described = [inner for inner in value.values() if isinstance(inner, dict)]
    names = [*fields.values(), *(inner for item in described for inner in item.values())]
    if any(_is_mark_name(name) for name in names):
        for name in _VALUES:
            yield from _texts(fields.get(name), depth)
    for name, inner in value.items():
        if _plain_name(name) == _MARK:
            yield from _texts(inner, depth)
        elif isinstance(inner, (dict, list, tuple, str)):
            yield from _marks(inner, depth + 1)


def _texts(value: object, depth: int) -> Iterator[str]:
    """Yield the text of a value that may be wrapped once more, such as ``{"value": "…"}`` or ``["…"]``."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        fields = _fields(value)
        for name in _VALUES:
            yield from _texts(fields.get(name), depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, depth + 1)
    elif (text := _plain(value)) is not None and not _is_mark_name(text):
        yield text


def _is_mark_name(value: object) -> bool:
    return (
        isinstance(value, str) and len(value) <= _MAX_NAME and "ticket" in value.lower() and _plain_name(value) == _MARK
    )


@lru_cache(maxsize=4096)
def _plain_name(name: object) -> str:
    """Return a name in small letters and without anything between words."""
    return "".join(char for char in str(name)[:_MAX_NAME].lower() if char.isalnum())


@lru_cache(maxsize=4096)
def _place(name: object) -> re.Match[str] | None:
    return _TICKET_NAME.fullmatch(_plain_name(name))


def _fields(value: dict[Any, Any]) -> dict[str, Any]:
    """Return an object under its plain names; where two become one, null is the last choice."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        plain = _plain_name(name)
        if found.get(plain) is None:
            found[plain] = inner
    return found


def _text(fields: dict[str, Any], names: Iterable[str]) -> str | None:
    found = (_plain(fields.get(name)) for name in names)
    return next((text for text in found if text is not None), None)


def _plain(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else value
    return str(value).strip() or None


def _time(fields: dict[str, Any], names: Iterable[str]) -> datetime | None:
    found = (parse_time(fields.get(name)) for name in names)
    return next((when for when in found if when is not None), None)
