"""Which contacts a search or a list shows, and in which order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vambe_provider.sandbox.catalog import STAGES
from vambe_provider.sandbox.model import Contact, parse_iso, snake_case
from vambe_provider.sandbox.replies import BadBodyError
from vambe_provider.sandbox.visibility import shown_metadata, shows_contact, shows_latest_change, visible_ticket

if TYPE_CHECKING:
    from vambe_provider.sandbox.state import SandboxState

SEARCH_LIMIT = 50
_DAY = 24 * 3600 * 1000


def search_contacts(state: SandboxState, query: dict[str, str]) -> list[Contact]:
    """Return the contacts whose number or e-mail holds a text, the last contacted first, at most 50.

    :param state: the account.
    :param query: ``phone`` and ``email``, at least one; with both either may match.
    :raises BadBodyError: when both are missing.
    """
    phone, address = query.get("phone", ""), query.get("email", "")
    if not phone and not address:
        raise BadBodyError([("", "phone or email must be given")])
    ids = dict.fromkeys(state.phones.find(re.sub(r"[+\-\s]", "", phone)) + state.emails.find(address.casefold()))
    known = [contact for contact in map(state.contacts.__getitem__, ids) if _is_searchable(state, contact)]
    found = [contact for contact in known if shows_contact(state, contact)]
    found.sort(key=lambda contact: contact.last_message_at or 0, reverse=True)
    return found[:SEARCH_LIMIT]


def _is_searchable(state: SandboxState, contact: Contact) -> bool:
    late = state.config.search_after_seconds
    return not late or state.now() - contact.created_at >= late * 1000


def list_contacts(state: SandboxState, query: dict[str, str]) -> list[Contact]:
    """Return one page of the contacts that pass all filters.

    :param state: the account.
    :param query: ``days``, ``created_after`` and ``updated_after``, at least one; ``stage_id``, ``pipeline_id``,
        ``custom_field_key`` with ``custom_field_value`` and ``custom_field_entity``; ``limit`` and ``offset``.
    :raises BadBodyError: when a parameter is wrong or missing.
    """
    found = [contact for contact in _in_time(state, query) if shows_contact(state, contact)]
    if "updated_after" in query:
        found = [contact for contact in found if shows_latest_change(state, contact)]
    if stage_id := query.get("stage_id"):
        found = [contact for contact in found if _stage_of(state, contact) == stage_id]
    if pipeline_id := query.get("pipeline_id"):
        found = [contact for contact in found if _pipeline_of(state, contact) == pipeline_id]
    if ("custom_field_key" in query) != ("custom_field_value" in query):
        raise BadBodyError([("custom_field_key", "custom_field_key and custom_field_value must come together")])
    if "custom_field_key" in query and state.config.custom_field_filter == "refused":
        raise BadBodyError([("custom_field_key", "property custom_field_key should not exist")])
    if "custom_field_key" in query and state.config.custom_field_filter == "works":
        found = [contact for contact in found if _has_field(state, contact, query)]
    offset = whole_number(query, "offset", default=0, minimum=0)
    if state.config.contacts_offset == "ignored":
        offset = 0
    limit = whole_number(
        query, "limit", default=state.config.contacts_default_limit or len(found), minimum=1, maximum=1000
    )
    return found[offset : offset + min(limit, state.config.contacts_page_cap or limit)]


def _in_time(state: SandboxState, query: dict[str, str]) -> list[Contact]:
    """Return what passes the time filters: ascending by the time asked for; by ``days``, last contacted first."""
    chosen: list[list[str]] = []
    if "updated_after" in query:
        chosen.append(state.updated.since(_time(query, "updated_after")))
    if "created_after" in query:
        chosen.append(state.created.since(_time(query, "created_after")))
    if "days" in query:
        days = whole_number(query, "days", default=1, minimum=1, maximum=365)
        chosen.append(state.messaged.since(state.now() - days * _DAY)[::-1])
    if not chosen:
        raise BadBodyError([("", "at least one of days, created_after, updated_after must be given")])
    order, others = chosen[0], [set(ids) for ids in chosen[1:]]
    if "updated_after" in query and state.config.contacts_order != "ascending":
        order = order[::-1] if state.config.contacts_order == "descending" else sorted(order)
    return [state.contacts[item] for item in order if all(item in ids for ids in others)]


def _time(query: dict[str, str], name: str) -> int:
    try:
        return parse_iso(query[name])
    except ValueError:
        raise BadBodyError([(name, f"{name} must be an ISO 8601 date")]) from None


def _stage_of(state: SandboxState, contact: Contact) -> str | None:
    if state.config.stage_filter == "default_stage":
        return contact.default_stage_id
    ticket = visible_ticket(state, contact, contact.active_ticket_id)
    return ticket.stage_id if ticket else None


def _pipeline_of(state: SandboxState, contact: Contact) -> str | None:
    ticket = visible_ticket(state, contact, contact.active_ticket_id)
    return STAGES[ticket.stage_id].pipeline_id if ticket else None


def _has_field(state: SandboxState, contact: Contact, query: dict[str, str]) -> bool:
    key, value, entity = query["custom_field_key"], query["custom_field_value"], query.get("custom_field_entity")
    sources = [contact.metadata] if entity != "ticket" else []
    ticket = visible_ticket(state, contact, contact.active_ticket_id)
    if ticket and entity != "customer":
        sources.append(shown_metadata(state, contact, ticket) or {})
    snake = state.config.snake_case_keys
    return any(
        str(item) == value
        for source in sources
        for name, item in source.items()
        if (snake_case(name) if snake else name) == key
    )


def whole_number(query: dict[str, str], name: str, *, default: int, minimum: int, maximum: int | None = None) -> int:
    """Return a whole number of the query.

    :param query: the query parameters.
    :param name: the parameter.
    :param default: the value when it is absent.
    :param minimum: the smallest allowed value.
    :param maximum: the largest allowed value; None for no limit.
    :raises BadBodyError: when it is no number or out of range.
    """
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < minimum or (maximum is not None and int(text) > maximum):
        limits = f"from {minimum}" + ("" if maximum is None else f" to {maximum}")
        raise BadBodyError([(name, f"{name} must be a whole number {limits}")])
    return int(text)
