"""What a request is, and how arguments become the parts of one; nothing here moves a byte."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import quote, urlencode

from vambe_provider.api.numbers import international_number
from vambe_provider.api.settings import clean_channel
from vambe_provider.api.texts import checked_text, iso_utc, metadata_texts
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    Guard = Callable[[], None]

MAX_PAGE = 1000
CONTACTS = "/api/public/contacts"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TicketRef(TypedDict, total=False):
    """Names one ticket: by one of the three ids, and whether the latest closed one will do if none is active."""

    ticket_id: str | None
    ai_contact_id: str | None
    contact_number: str | int | None
    allow_closed_ticket: bool


class ContactFilter(TypedDict, total=False):
    """Which contacts to list; at least one of the first three is needed, and of the custom field both or neither."""

    days: int | None
    created_after: datetime | str | None
    updated_after: datetime | str | None
    stage_id: str | None
    pipeline_id: str | None
    custom_field_key: str | None
    custom_field_value: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, before a base URL and a key are put to it.

    :param what: what it does, for texts, as ``open the ticket``.
    :param method: ``GET`` or ``POST``.
    :param path: the path, already percent-encoded.
    :param query: names and values, not yet encoded.
    :param body: the JSON object, or None for none.
    :param idempotent: whether it only reads, so that it may be repeated.
    :param guard: called when a connection is at hand, right before the first byte leaves; what it raises keeps the
        request back.
    """

    what: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    idempotent: bool = False
    guard: Guard | None = field(default=None, repr=False, compare=False)

    @property
    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(self.query, quote_via=quote)}" if self.query else self.path

    @property
    def content(self) -> bytes:
        """The body as it goes over the wire."""
        if self.body is None:
            return b""
        from pydantic_core import to_json

        return to_json(self.body)


def read(what: str, path: str, query: tuple[tuple[str, str], ...] = ()) -> Request:
    """Return a request that only reads."""
    return Request(what, "GET", path, query=query, idempotent=True)


def write(what: str, path: str, body: Mapping[str, Any]) -> Request:
    """Return a request that changes something."""
    return Request(what, "POST", path, body=body)


def open_ticket_path(*, phone_id: str | None, channel: str) -> str:
    """Return the path to which tickets of a sender are posted.

    :raises VambeConfigError: without a usable phone id; that of ``whatsapp`` has to be a number.
    """
    if phone_id is None or not str(phone_id).strip():
        raise VambeConfigError(
            "phone_id: no sender is given", fix="Set phone_id in the connection's extra, or pass one."
        )
    kind, sender = clean_channel(channel), str(phone_id).strip()
    if kind == "whatsapp" and not re.fullmatch("[0-9]+", sender):
        raise VambeConfigError(
            "phone_id: the channel whatsapp needs a numeric id",
            fix="The id of a QR connection belongs to the channel web-whatsapp; a phone number is no id.",
        )
    return f"/api/public/ticket/open/{kind}/{segment(sender, 'phone_id')}"


def segment(value: object, name: str) -> str:
    """Return an id as one path segment, so that nothing in it can lead to another endpoint.

    :param name: the argument, for the error.
    :raises VambeConfigError: when it cannot be an id.
    """
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    if text in ("", ".", "..") or _CONTROL.search(text):
        raise VambeConfigError(f"{name}: {'is empty' if not text else 'cannot be an id'}")
    return quote(_sendable(text, name), safe="")


def messages_path(contact_id: str) -> str:
    """Return the path of the messages of a contact."""
    return f"/api/public/contact/v2/{segment(contact_id, 'contact_id')}/messages"


def search_query(*, phone: str | None, email: str | None) -> tuple[tuple[str, str], ...]:
    """Return the query of a search; the phone is matched in part, so it may be shorter than a number.

    :raises VambeConfigError: when neither is given.
    """
    digits = re.sub("[^0-9]", "", str(phone or ""))
    address = _sendable(str(email or "").strip(), "email")
    query = tuple((name, value) for name, value in (("phone", digits), ("email", address)) if value)
    if not query:
        raise VambeConfigError("phone, email: one of them is needed to search for contacts")
    return query


def contact_query(**filters: Unpack[ContactFilter]) -> tuple[tuple[str, str], ...]:
    """Return the query of a list of contacts, without its window.

    :param filters: None leaves one out.
    :raises VambeConfigError: without a time, with half of the custom field, or with a value out of range.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if not given.keys() & {"days", "created_after", "updated_after"}:
        raise VambeConfigError("days, created_after, updated_after: one of them is needed to list contacts")
    if ("custom_field_key" in given) != ("custom_field_value" in given):
        raise VambeConfigError("custom_field_key, custom_field_value: both or neither")
    return tuple((name, _filter(name, value)) for name, value in given.items())


def window(limit: int, offset: int, *, name: str = "limit") -> tuple[tuple[str, str], ...]:
    """Return the part of a query that asks for some of a list.

    :param name: the argument that the limit comes from, for the error.
    :raises VambeConfigError: when the limit is out of range.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise VambeConfigError(f"{name}: not from 1 to {MAX_PAGE}")
    return (("limit", str(limit)), ("offset", str(offset)))


def _filter(name: str, value: object) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise VambeConfigError(
                f"{name}: the time has no time zone", fix="Use an aware datetime, as Airflow's own are."
            )
        return iso_utc(value, "milliseconds")
    if name == "days" and not (re.fullmatch("[0-9]{1,3}", str(value)) and 1 <= int(str(value)) <= 365):
        raise VambeConfigError("days: not a number from 1 to 365")
    text = _sendable(str(value).strip(), name)
    if not text:
        raise VambeConfigError(f"{name}: is empty")
    return text


def metadata_from(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata as they are sent.

    :raises VambeValidationError: when a value cannot be sent, or nothing is left.
    """
    if not isinstance(metadata, Mapping):
        raise VambeValidationError([f"metadata: a dict is needed, not a {type(metadata).__name__}"], where="the update")
    try:
        texts = metadata_texts(metadata)
    except ValueError as error:
        raise VambeValidationError([f"metadata.{error}"], where="the update") from None
    if not texts:
        raise VambeValidationError(["metadata: there is nothing to update"], where="the update")
    return texts


def ticket_named(**ticket: Unpack[TicketRef]) -> dict[str, Any]:
    """Return the part of a body that names one ticket.

    :raises VambeConfigError: unless exactly one id is given.
    """
    named = {name: ticket.get(name) for name in ("ticket_id", "ai_contact_id", "contact_number")}
    given = {name: value for name, value in named.items() if value is not None and str(value).strip()}
    if len(given) != 1:
        raise VambeConfigError("ticket_id, ai_contact_id, contact_number: exactly one of them is needed")
    name, value = given.popitem()
    text = international_number(value) if name == "contact_number" else _sendable(str(value).strip(), name)
    return {name: text, "allow_closed_ticket": bool(ticket.get("allow_closed_ticket", False))}


def amount_from(value: object, currency: str | None = None) -> dict[str, Any]:
    """Return the part of a body that says how much.

    :raises VambeValidationError: when it is not a number.
    """
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value).strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or math.isinf(float(amount)):
        raise VambeValidationError(["amount: is not a number"], where="the update")
    number = int(amount) if amount == amount.to_integral_value() else float(amount)
    unit = _sendable(str(currency or "").strip().upper(), "currency")
    return {"amount": number, "currency": unit} if unit else {"amount": number}


def _sendable(text: str, name: str) -> str:
    try:
        return checked_text(text)
    except ValueError as error:
        problem = str(error)
    raise VambeConfigError(f"{name}: {problem}")
