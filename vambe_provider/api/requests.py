"""Every request that this package makes, one function for each endpoint; nothing here moves a byte."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import quote, urlencode

from pydantic_core import to_json

from vambe_provider.api.numbers import international_number
from vambe_provider.api.settings import clean_channel
from vambe_provider.api.texts import metadata_texts
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vambe_provider.api.models import OpenTicket

MAX_PAGE = 1000
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
    """

    what: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    idempotent: bool = False

    @property
    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(self.query, quote_via=quote)}" if self.query else self.path

    @property
    def content(self) -> bytes:
        """The body as it goes over the wire."""
        return b"" if self.body is None else to_json(self.body)


def open_ticket(ticket: OpenTicket, *, phone_id: str | None, channel: str) -> Request:
    """``POST /api/public/ticket/open/{channel}/{phoneId}``.

    :raises VambeConfigError: without a usable phone id; that of ``whatsapp`` has to be a number.
    """
    return Request("open the ticket", "POST", open_ticket_path(phone_id=phone_id, channel=channel), body=ticket.body())


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
    return f"/api/public/ticket/open/{kind}/{_segment(sender, 'phone_id')}"


def close_ticket(contact_id: str) -> Request:
    """``POST /api/public/ticket/close/contact/{contactId}``; its contract is not documented, so the body is empty."""
    path = f"/api/public/ticket/close/contact/{_segment(contact_id, 'contact_id')}"
    return Request("close the ticket", "POST", path, body={})


def get_pipelines() -> Request:
    """``GET /api/public/pipeline``."""
    return _read("read the pipelines", "/api/public/pipeline")


def get_channel(channel: str) -> Request:
    """``GET /api/public/channels/{channelType}``."""
    return _read("read the channel", f"/api/public/channels/{_segment(channel, 'channel')}")


def get_contact(contact_id: str) -> Request:
    """``GET /api/public/contact/{aiContactId}/info``."""
    return _read("read the contact", f"/api/public/contact/{_segment(contact_id, 'contact_id')}/info")


def search_contacts(*, phone: str | None, email: str | None) -> Request:
    """``GET /api/public/contacts/search``; the phone is matched in part, so it may be shorter than a number.

    :raises VambeConfigError: when neither is given.
    """
    digits = re.sub("[^0-9]", "", str(phone or ""))
    address = (email or "").strip()
    query = tuple((name, value) for name, value in (("phone", digits), ("email", address)) if value)
    if not query:
        raise VambeConfigError("phone, email: one of them is needed to search for contacts")
    return _read("search for contacts", "/api/public/contacts/search", query)


def list_contacts(*, limit: int, offset: int, **filters: Unpack[ContactFilter]) -> Request:
    """``GET /api/public/contacts``, one page.

    :param filters: ``days``, ``created_after``, ``updated_after``, ``stage_id``, ``pipeline_id``, ``custom_field_key``,
        ``custom_field_value``; None leaves one out.
    :raises VambeConfigError: without a time filter, with half of the custom field, or with a value out of range.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    if not given.keys() & {"days", "created_after", "updated_after"}:
        raise VambeConfigError("days, created_after, updated_after: one of them is needed to list contacts")
    if ("custom_field_key" in given) != ("custom_field_value" in given):
        raise VambeConfigError("custom_field_key, custom_field_value: both or neither")
    if not 1 <= limit <= MAX_PAGE:
        raise VambeConfigError(f"page_size: not from 1 to {MAX_PAGE}")
    query = [(name, _filter(name, value)) for name, value in given.items()]
    query += [("limit", str(limit)), ("offset", str(offset))]
    return _read("list the contacts", "/api/public/contacts", tuple(query))


def get_messages(contact_id: str, *, page: int) -> Request:
    """``GET /api/public/contact/v2/{aiContactId}/messages``, one page, counted from 1."""
    path = f"/api/public/contact/v2/{_segment(contact_id, 'contact_id')}/messages"
    return _read("read the messages", path, (("page", str(page)),))


def update_contact_metadata(contact_id: str, metadata: Mapping[str, Any]) -> Request:
    """``POST /api/public/contact/{aiContactId}/update-metadata``, wrapped as the OpenAPI document has it."""
    path = f"/api/public/contact/{_segment(contact_id, 'contact_id')}/update-metadata"
    return Request("update the contact", "POST", path, body={"metadata": _metadata(metadata)})


def update_ticket_metadata(metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> Request:
    """``POST /api/public/ticket/metadata``; Vambe merges the values into those that are there.

    :raises VambeConfigError: unless exactly one id is given.
    """
    body = {**_ticket_identifier(ticket), "metadata": _metadata(metadata)}
    return Request("update the ticket", "POST", "/api/public/ticket/metadata", body=body)


def update_ticket_amount(amount: object, *, currency: str | None, **ticket: Unpack[TicketRef]) -> Request:
    """``POST /api/public/ticket/amount``.

    :raises VambeConfigError: unless exactly one id is given.
    """
    body = {**_ticket_identifier(ticket), "amount": _amount(amount)}
    if currency is not None and currency.strip():
        body["currency"] = currency.strip().upper()
    return Request("set the ticket's amount", "POST", "/api/public/ticket/amount", body=body)


def _read(what: str, path: str, query: tuple[tuple[str, str], ...] = ()) -> Request:
    return Request(what, "GET", path, query=query, idempotent=True)


def _segment(value: object, name: str) -> str:
    """Return an id as one path segment, so that nothing in it can lead to another endpoint."""
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    if text in ("", ".", "..") or _CONTROL.search(text):
        raise VambeConfigError(f"{name}: {'is empty' if not text else 'cannot be an id'}")
    return quote(text, safe="")


def _filter(name: str, value: object) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise VambeConfigError(
                f"{name}: the time has no time zone", fix="Use an aware datetime, as Airflow's own are."
            )
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if name == "days" and not (re.fullmatch("[0-9]{1,3}", str(value)) and 1 <= int(str(value)) <= 365):
        raise VambeConfigError("days: not a number from 1 to 365")
    if not str(value).strip():
        raise VambeConfigError(f"{name}: is empty")
    return str(value).strip()


def _metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    try:
        texts = metadata_texts(metadata)
    except ValueError as error:
        raise VambeValidationError([f"metadata.{error}"], where="the update") from None
    if not texts:
        raise VambeValidationError(["metadata: there is nothing to update"], where="the update")
    return texts


def _ticket_identifier(ticket: TicketRef) -> dict[str, Any]:
    named = {name: ticket.get(name) for name in ("ticket_id", "ai_contact_id", "contact_number")}
    given = {name: value for name, value in named.items() if value is not None and str(value).strip()}
    if len(given) != 1:
        raise VambeConfigError("ticket_id, ai_contact_id, contact_number: exactly one of them is needed")
    name, value = given.popitem()
    text = international_number(value) if name == "contact_number" else str(value).strip()
    return {name: text, "allow_closed_ticket": bool(ticket.get("allow_closed_ticket", False))}


def _amount(value: object) -> int | float:
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value).strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or math.isinf(float(amount)):
        raise VambeValidationError(["amount: is not a number"], where="the update")
    return int(amount) if amount == amount.to_integral_value() else float(amount)
