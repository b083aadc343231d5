"""What mypy sees of the calls: it fails when a method loses its types. Nothing here runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, assert_type

from vambe_provider.api import AsyncVambeClient, ChatMessage, Contact, OpenedTicket, VambeClient

if TYPE_CHECKING:
    from vambe_provider.hooks.vambe import VambeHook


def blocking(client: VambeClient, hook: VambeHook) -> None:
    for caller in (client, hook):
        assert_type(caller.open_ticket({"stage": "Support / New"}, phone_id="1", guard=lambda: None), OpenedTicket)
        assert_type(caller.list_contacts(days=1, max_pages=2), Iterator[Contact])
        caller.get_contact()  # type: ignore[call-arg]
        caller.get_contact(7)  # type: ignore[arg-type]
        caller.list_contacts(dayz=1)  # type: ignore[call-arg]


async def awaited(client: AsyncVambeClient, hook: VambeHook) -> None:
    assert_type(await client.get_messages("c1"), list[ChatMessage])
    assert_type(await hook.aget_messages("c1"), list[ChatMessage])
    assert_type(hook.alist_contacts(days=1), AsyncIterator[Contact])
    await client.get_messages()  # type: ignore[call-arg]
    await hook.aupdate_ticket_amount(1, ticket="t1")  # type: ignore[call-arg]
