"""How the sandbox behaves where the API's documentation is silent or says two things."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from vambe_provider.sandbox.described import described

DEFAULT_API_KEY = "sandbox-key"
_RATE = re.compile(r"(\d+)\s*/\s*(second|minute|hour)")
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


def parsed_rate(text: str) -> tuple[int, float]:
    """Return a rate as (tickets, seconds).

    :raises ValueError: when the text is no rate.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or int(match[1]) < 1:
        raise ValueError("it is not a rate such as 10/second, 10/minute or 100/hour")
    return int(match[1]), _PERIODS[match[2]]


def _a_rate(text: str) -> str:
    parsed_rate(text)
    return text


@dataclass(frozen=True, kw_only=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class SandboxConfig:
    """All switches of the sandbox; the defaults follow the documentation, or its most likely reading.

    :param api_key: the only accepted ``x-api-key``.
    :param latency_ms: milliseconds that every API request takes before it has an effect.
    :param latency_jitter_ms: up to so many random milliseconds on top.
    :param clock_skew_seconds: how far the server's clock is ahead; it shows in ``Date`` and in every time stamp.
    :param stamp_skew_seconds: how far the time stamps of contacts, tickets and messages are ahead of ``Date``.
    :param max_body_bytes: larger request bodies are answered with 413.
    :param request_log: how many of the newest requests are remembered.
    :param success_status: what a POST is answered with when it worked, 200 or 201.
    :param error_shape: ``nest_list``, ``nest_string`` or ``zod``: the form of a 400 for a bad body.
    :param bad_stage_status: 400 or 404 for a stage id that does not exist.
    :param strict_required: whether the three metadata objects must be in the body, as the OpenAPI text says.
    :param require_message: whether ``message`` must be there too, as the OpenAPI text says.
    :param existing_ticket: what opening does for a contact with an active ticket: ``new_ticket`` (the old one stays as
        ``replaced``), ``move`` (the same ticket goes to the new stage), ``keep`` (the old one stays as it is, and the
        message is sent), ``ignore`` (nothing happens) or ``conflict`` (409).
    :param assistant_writes: whether the assistant sends a first message when the request holds none.
    :param session_window: what the ``whatsapp`` channel does with free text when the customer has not written for 24
        hours: ``ignore`` the rule, ``fail`` the message (the ticket exists), or ``refuse`` with 400.
    :param disconnected_phones: phone ids whose phone lost its QR session.
    :param disconnected_status: 400 or 500, what opening over such a phone gives.
    :param disconnected_creates_ticket: whether the ticket exists nevertheless (only the message step fails).
    :param rate_limit: tickets per sender, as ``10/second`` or ``10/minute``; None for no limit.
    :param retry_after: how a 429 says how long to wait: ``seconds``, ``date`` (an HTTP date) or ``none``.
    :param visible_after_seconds: how long a new contact, ticket or message stays invisible to reads.
    :param visible_after_reads: how many reads of the contact do not show it yet.
    :param search_after_seconds: how long the search, and only the search, does not find a new contact.
    :param custom_field_filter: whether the contact list ``works`` with a custom field, has it ``ignored`` as older
        servers have, or ``refused`` with 400.
    :param metadata_visible: whether reads show ticket metadata: ``yes``, ``no`` or ``late``.
    :param metadata_after_seconds: with ``late``, seconds until they show.
    :param metadata_after_reads: with ``late``, reads of the contact until they show.
    :param metadata_form: ``object`` or ``list`` (of key and value) in contact info.
    :param snake_case_keys: whether reads show metadata keys in snake_case.
    :param ticket_names: the names in contact info: ``plain`` (active_ticket), ``v2`` (active_ticket_v2) or ``camel``
        (activeTicket).
    :param ticket_created_at: whether contact info holds the tickets' created_at.
    :param ticket_bumps_updated_at: whether a new ticket or message changes the contact's updated_at.
    :param whatsapp_spelling: whether contacts get the number that WhatsApp may use instead of the one in the request:
        521 for 52, 549 for 54, Brazilian mobiles without the 9.
    :param phone_form: how reads write the contact's number: ``e164``, ``digits``, ``national`` (without the country
        code), ``extension`` (with one at the end), ``jid`` or ``lid`` (ids of WhatsApp), ``masked``, or ``none``.
    :param list_wrapper: None for bare arrays, or the name of the object key around pipelines and contacts, as ``data``.
    :param channel_wrapper: None, or the name of the key around a channel, as ``channel``.
    :param contacts_default_limit: rows of the contact list without ``limit``; None for all.
    :param contacts_page_cap: rows that the contact list gives at most, whatever ``limit`` says; None for no cap.
    :param contacts_offset: whether ``offset`` of the contact list is ``used`` or ``ignored``.
    :param contacts_order: how ``updated_after`` sorts: ``ascending``, ``descending`` or ``mixed`` (by id).
    :param contact_padding_bytes: bytes of a field of no use that every row of the contact list has.
    :param merged_contacts: what a read of a contact that was merged answers: 404 (``missing``), or the contact that it
        was merged into (``followed``).
    :param stage_filter: whether ``stage_id`` of the contact list means the ``active_ticket`` or the ``default_stage``.
    :param messages_page_size: messages on one page.
    :param messages_first_page: whether page 1 holds the ``newest`` or the ``oldest`` messages; a page is chronological.
    :param messages_after_seconds: how much longer a message stays invisible than the contact's ``last_message_at``.
    :param messages_more: how a page says that there are more: ``hasMore``, ``text`` (``"true"``), ``has_more``,
        ``total`` (only the number of all messages) or ``nothing``.
    :param metadata_body: which body updating contact metadata takes: ``wrapped``, ``flat`` or ``both``.
    :param close_missing_status: what closing answers without an active ticket: 200, 400 or 404.
    :param require_currency: whether setting an amount needs ``currency``.
    """

    api_key: str = DEFAULT_API_KEY
    latency_ms: NonNegativeFloat = 0.0
    latency_jitter_ms: NonNegativeFloat = 0.0
    clock_skew_seconds: float = 0.0
    stamp_skew_seconds: float = 0.0
    max_body_bytes: NonNegativeInt = 102_400
    request_log: NonNegativeInt = 100_000
    success_status: Literal[200, 201] = 200
    error_shape: Literal["nest_list", "nest_string", "zod"] = "nest_list"
    bad_stage_status: Literal[400, 404] = 404
    strict_required: bool = True
    require_message: bool = False
    existing_ticket: Literal["new_ticket", "move", "keep", "ignore", "conflict"] = "new_ticket"
    assistant_writes: bool = True
    session_window: Literal["ignore", "fail", "refuse"] = "ignore"
    disconnected_phones: Annotated[tuple[str, ...], Field(strict=False)] = ()
    disconnected_status: Literal[400, 500] = 400
    disconnected_creates_ticket: bool = False
    rate_limit: Annotated[str, AfterValidator(_a_rate)] | None = None
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    visible_after_seconds: NonNegativeFloat = 0.0
    visible_after_reads: NonNegativeInt = 0
    search_after_seconds: NonNegativeFloat = 0.0
    custom_field_filter: Literal["works", "ignored", "refused"] = "works"
    metadata_visible: Literal["yes", "no", "late"] = "yes"
    metadata_after_seconds: NonNegativeFloat = 0.0
    metadata_after_reads: NonNegativeInt = 0
    metadata_form: Literal["object", "list"] = "object"
    snake_case_keys: bool = False
    ticket_names: Literal["plain", "v2", "camel"] = "plain"
    ticket_created_at: bool = True
    ticket_bumps_updated_at: bool = True
    whatsapp_spelling: bool = False
    phone_form: Literal["e164", "digits", "national", "extension", "jid", "lid", "masked", "none"] = "e164"
    list_wrapper: str | None = None
    channel_wrapper: str | None = None
    contacts_default_limit: NonNegativeInt | None = 100
    contacts_page_cap: NonNegativeInt | None = None
    contacts_offset: Literal["used", "ignored"] = "used"
    contacts_order: Literal["ascending", "descending", "mixed"] = "ascending"
    contact_padding_bytes: NonNegativeInt = 0
    merged_contacts: Literal["missing", "followed"] = "missing"
    stage_filter: Literal["active_ticket", "default_stage"] = "active_ticket"
    messages_page_size: NonNegativeInt = 50
    messages_first_page: Literal["newest", "oldest"] = "oldest"
    messages_after_seconds: NonNegativeFloat = 0.0
    messages_more: Literal["hasMore", "text", "has_more", "total", "nothing"] = "hasMore"
    metadata_body: Literal["wrapped", "flat", "both"] = "both"
    close_missing_status: Literal[200, 400, 404] = 404
    require_currency: bool = False

    def rate(self) -> tuple[int, float] | None:
        """Return the rate limit as (tickets, seconds), or None without one."""
        return None if self.rate_limit is None else parsed_rate(self.rate_limit)

    def changed(self, changes: dict[str, Any]) -> SandboxConfig:
        """Return a copy with some switches set differently.

        :param changes: switch names and their new values; a list stands for a tuple, as JSON has no tuples.
        :returns: the new configuration.
        :raises ValueError: when a name is no switch or a value is not one of its values; nothing is changed then.
        """
        return described(SandboxConfig, asdict(self) | changes, "switch")
