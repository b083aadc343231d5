"""Look at contacts once. The sensor's poke and the triggers share it, so that there is one way to read a contact."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vambe_provider.api.contact_info import ContactInfo, read_contact, same_id
from vambe_provider.exceptions import VambeError, VambeRefusedError
from vambe_provider.waiting.changes import api_now
from vambe_provider.waiting.conditions import (
    Finding,
    Wait,
    hides_messages,
    is_behind,
    judge,
    needs_messages,
    reply_counts_from,
    seconds,
)
from vambe_provider.waiting.messages import read_messages
from vambe_provider.waiting.patience import is_refusal, refuses_the_key
from vambe_provider.waiting.tickets import Target, find

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient

log = logging.getLogger(__name__)

CONCURRENCY = 8
LATE = (1.0, 3.0)
"""Seconds after which a contact that is refused is asked for again: it may have been created a moment ago."""

Ask = tuple[Wait, Target]


@dataclass(frozen=True, slots=True)
class Seen:
    """What Vambe told about a contact.

    :param messages: its messages, empty when nobody needed them.
    :param behind: whether the messages do not hold yet what the contact tells of.
    """

    info: ContactInfo
    messages: Sequence[dict[str, Any]] = field(default=(), repr=False)
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at all contacts of a task showed.

    :param findings: one for each contact, in the order in which they were asked for.
    :param targets: the contacts, with the tickets that were recognised.
    :param errors: why contacts could not be read.
    :param wait: what was waited for, by the API's clock.
    :param changes_are_listed: False when a contact shows that a message does not mark it as changed.
    """

    findings: list[Finding]
    targets: list[Target]
    errors: dict[str, VambeError]
    wait: Wait
    changes_are_listed: bool

    @property
    def records_behind(self) -> float:
        """Seconds by which what Vambe writes down is behind the clock of its replies, where a ticket shows it.

        The list of changes goes by what is written down.
        """
        pairs = [(target.opened_at, found.created_at) for target, found in self._recognised()]
        return max([0.0, *(opened - made for opened, made in pairs if opened is not None and made is not None)])

    def _recognised(self) -> list[tuple[Target, Finding]]:
        both = zip(self.targets, self.findings, strict=True)
        return [(target, found) for target, found in both if found.known_by == "mark"]


async def see(client: AsyncVambeClient, asks: Collection[Ask], *, row: ContactInfo | None = None) -> Seen:
    """Read what some waits need to know about one contact: its page, its messages where they may matter, or both.

    :param asks: waits with their targets, all of the same contact.
    :param row: the contact as the list shows it, which is enough where only messages are missing.
    :raises VambeRefusedError: when there is no such contact; says why that can be.
    """
    contact_id = next(iter(asks))[1].contact_id
    try:
        info = row if row is not None and all(_row_will_do(*ask) for ask in asks) else None
        if info is None:
            info = read_contact((await client.get_contact(contact_id)).model_dump())
            if not same_id(info.id, contact_id) and not any(_is_in(info, *ask) for ask in asks):
                raise missing(contact_id, merged_into=info.id)
        if not any(needs_messages(wait, target, info) for wait, target in asks):
            return Seen(info)
        times = [reply_counts_from(wait, target, info) for wait, target in asks]
        since = None if None in times else min(at for at in times if at is not None)
        # A contact may be merged between the two requests, so the second one can miss it as well.
        found = await read_messages(client, contact_id, since=since, last=seconds(info.last_message_at))
    except VambeRefusedError as error:
        raise (missing(contact_id) if error.status == 404 else error) from None
    if found.cut:
        log.warning("Contact %s has more messages than a look reads; an answer may be among the others", contact_id)
    return Seen(info, found.messages, behind=is_behind(info, found.messages))


def missing(contact_id: str, *, merged_into: str | None = None) -> VambeRefusedError:
    """Return the error for a contact that Vambe does not know, or answers about with another one."""
    if merged_into is not None:
        return VambeRefusedError(f"Contact {contact_id} was merged into {merged_into}", fix="Wait for that one.")
    return VambeRefusedError(
        f"There is no contact {contact_id}",
        fix="It was merged into another contact in the web app, belongs to another account, or never existed.",
        status=404,
    )


async def look_at(client: AsyncVambeClient, targets: Sequence[Target], wait: Wait) -> Look:
    """Look at contacts, a few at a time. What one of them lacks is said in ``errors``.

    :param wait: with the times of our own clock.
    """
    gate, before = asyncio.Semaphore(CONCURRENCY), time.time()
    # The clocks are compared by the first reply, which no wait can be judged without.
    wait = replace(wait, began=before) if wait.began is None else wait

    async def one(target: Target) -> Seen | VambeError:
        async with gate:
            return await _patiently(client, target, wait)

    seen = await asyncio.gather(*(one(target) for target in targets))
    now, wait = api_now(client) - (time.time() - before), wait.moved(client.server_clock_offset or 0.0)
    findings, known, errors, listed = [], [], {}, True
    for target, item in zip(targets, seen, strict=True):
        found = Finding(target.contact_id, wait.until)
        if isinstance(item, Seen):
            found = judge(wait, target, item.info, item.messages, now=now)
            listed = listed and not hides_messages(item.info, now=now)
        else:
            errors[target.contact_id] = item
        findings.append(found)
        known.append(_with_its_ticket(target, found))
    return Look(findings, known, errors, wait, listed)


async def _patiently(client: AsyncVambeClient, target: Target, wait: Wait) -> Seen | VambeError:
    for pause in (*LATE, None):
        try:
            return await see(client, [(wait, target)])
        except VambeError as error:
            if pause is None or not (is_refusal(error) or refuses_the_key(error)):
                return error
        await asyncio.sleep(pause)
    raise AssertionError("the last look returns")


def _with_its_ticket(target: Target, found: Finding) -> Target:
    if found.ticket_id is None or found.known_by not in ("mark", "time"):
        return target
    return replace(target, ticket_id=found.ticket_id, created_at=found.created_at)


def _row_will_do(wait: Wait, target: Target) -> bool:
    """Return whether only the messages are missing: it is known from when on a reply counts."""
    known = (wait.since, target.created_at, target.opened_at)
    return wait.until == "replied" and any(at is not None for at in known)


def _is_in(info: ContactInfo, wait: Wait, target: Target) -> bool:
    """Return whether a contact that another one was merged into surely holds the ticket of that one."""
    choice = find(info, target, wait.bounds(target), settled=False)
    return choice is not None and choice.known_by in ("mark", "id")
