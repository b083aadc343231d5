"""Look at contacts once. The sensor's poke and the triggers share it, so that there is one way to read a contact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vambe_provider.exceptions import VambeRefusedError
from vambe_provider.waiting.conditions import Finding, Wait, hides_messages, judge, needs_messages

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient

CONCURRENCY = 8
LATE = (1.0, 3.0)
"""Seconds after which a contact that is not there is looked for again: it may have been created a moment ago."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What Vambe told about a contact.

    :param messages: its messages, empty when nobody needed them.
    """

    info: dict[str, Any]
    messages: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at all contacts of a task showed.

    :param findings: one for each contact, in the order in which they were asked for.
    :param began: when it began, by the API's clock: changes from then on may be missing from it.
    :param changes_are_listed: False when a contact shows that a message does not mark it as changed.
    """

    findings: list[Finding]
    began: float
    changes_are_listed: bool


async def read_contact(client: AsyncVambeClient, contact_id: str, waits: Iterable[Wait]) -> Seen:
    """Read what some waits need to know about a contact: one request, and one more for messages that may matter.

    :raises VambeRefusedError: when there is no such contact; says why that can be.
    """
    try:
        contact = await client.get_contact(contact_id)
        if contact.id.lower() != contact_id.lower():
            raise missing(contact_id, merged_into=contact.id)
        info = contact.model_dump()
        if not any(needs_messages(wait, info) for wait in waits):
            return Seen(info)
        # A contact may be merged between the two requests, so the second one can miss it as well.
        return Seen(info, [message.model_dump() for message in await client.get_messages(contact_id)])
    except VambeRefusedError as error:
        raise (missing(contact_id) if error.status == 404 else error) from None


def missing(contact_id: str, *, merged_into: str | None = None) -> VambeRefusedError:
    """Return the error for a contact that Vambe does not know, or answers about with another one."""
    if merged_into is not None:
        return VambeRefusedError(f"Contact {contact_id} was merged into {merged_into}", fix="Wait for that one.")
    return VambeRefusedError(
        f"There is no contact {contact_id}",
        fix="It was merged into another contact in the web app, belongs to another account, or never existed.",
        status=404,
    )


async def look_at(client: AsyncVambeClient, contact_ids: Sequence[str], wait: Wait) -> Look:
    """Look at contacts, a few at a time.

    :raises VambeError: the first failure; one contact that does not exist fails the look.
    """
    gate = asyncio.Semaphore(CONCURRENCY)
    before = time.time()

    async def one(contact_id: str) -> Seen:
        async with gate:
            return await _patiently(client, contact_id, wait)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(contact_id)) for contact_id in contact_ids]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    seen = [task.result() for task in tasks]
    return Look(
        findings=[judge(wait, item.info, item.messages) for item in seen],
        began=before + (client.server_clock_offset or 0.0),
        changes_are_listed=not any(hides_messages(item.info) for item in seen),
    )


async def _patiently(client: AsyncVambeClient, contact_id: str, wait: Wait) -> Seen:
    for pause in LATE:
        try:
            return await read_contact(client, contact_id, [wait])
        except VambeRefusedError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(pause)
    return await read_contact(client, contact_id, [wait])
