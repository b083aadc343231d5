"""The switches for what nobody knows about lists, messages and merged contacts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import AsyncVambeClient, ConnectionSettings
from vambe_provider.exceptions import VambeReadError, VambeRefusedError

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

OLD = "2020-01-01T00:00:00.000Z"


@pytest.fixture
def client(vambe_sandbox: Sandbox) -> AsyncVambeClient:
    return AsyncVambeClient(ConnectionSettings.from_fields(host=vambe_sandbox.url, password=vambe_sandbox.api_key))


def contacts(sandbox: Sandbox, count: int) -> list[str]:
    return [sandbox.seed_contact(f"+5696111{number:04d}") for number in range(count)]


async def listed(client: AsyncVambeClient, **query: Any) -> list[str]:
    page = await client.contacts_page(**{"limit": 100, "updated_after": OLD, **query})
    return [row["id"] for row in page.rows]


async def test_the_server_may_give_less_than_it_is_asked_for(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    ids = contacts(vambe_sandbox, 5)
    vambe_sandbox.configure(contacts_page_cap=2)
    assert await listed(client) == ids[:2]
    assert await listed(client, offset=4) == ids[4:]


async def test_the_order_of_the_list(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    ids = contacts(vambe_sandbox, 5)
    vambe_sandbox.configure(contacts_order="descending")
    assert await listed(client) == ids[::-1]
    vambe_sandbox.configure(contacts_order="mixed")
    assert await listed(client) == sorted(ids)


async def test_rows_may_be_odd_or_fat(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    one, two = contacts(vambe_sandbox, 2)
    vambe_sandbox.spoil_row(one, id=None, updated_at="soon")
    page = await client.contacts_page(limit=100, updated_after=OLD)
    assert [(row["id"], row["updated_at"] == "soon") for row in page.rows] == [(None, True), (two, False)]
    vambe_sandbox.configure(contact_padding_bytes=700_000)
    with pytest.raises(VambeReadError, match="larger than 1 MiB"):
        await client.contacts_page(limit=2, updated_after=OLD)
    assert (await client.contacts_page(limit=1, updated_after=OLD)).size == 1


async def test_contacts_can_have_changed_at_any_time(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    ids = contacts(vambe_sandbox, 3)
    future = datetime.now(UTC) + timedelta(days=1)
    vambe_sandbox.stamp(ids[0], ids[2], updated_at=future)
    assert await listed(client, updated_after=datetime.now(UTC) + timedelta(hours=1)) == [ids[0], ids[2]]


async def test_the_messages_may_be_behind_the_contact(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    [contact] = contacts(vambe_sandbox, 1)
    vambe_sandbox.configure(messages_after_seconds=60)
    vambe_sandbox.customer_replies(contact, "Hola")
    assert (await client.get_contact(contact)).last_message_at
    assert (await client.messages_page(contact, page=1)).messages == []


@pytest.mark.parametrize(
    ("switch", "more", "total"),
    [("hasMore", True, 3), ("text", True, None), ("has_more", True, None), ("total", None, 3), ("nothing", None, None)],
)
async def test_how_a_page_says_that_there_are_more(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, switch: str, more: bool | None, total: int | None
) -> None:
    [contact] = contacts(vambe_sandbox, 1)
    vambe_sandbox.configure(messages_more=switch, messages_page_size=2)
    for word in ("INBOUND", "INTERNAL", "OUTBOUND"):
        vambe_sandbox.write_message(contact, "Hola", direction=word)
    page = await client.messages_page(contact, page=1)
    assert ([item.direction for item in page.messages], page.more, page.total) == (["INBOUND", "INTERNAL"], more, total)


async def test_a_merged_contact_is_missing_or_followed(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    gone, kept = contacts(vambe_sandbox, 2)
    vambe_sandbox.merge_contacts(gone, into=kept)
    with pytest.raises(VambeRefusedError):
        await client.get_contact(gone)
    vambe_sandbox.configure(merged_contacts="followed")
    assert (await client.get_contact(gone)).id == kept


async def test_a_fault_can_be_one_contacts_own(vambe_sandbox: Sandbox, client: AsyncVambeClient) -> None:
    one, two = contacts(vambe_sandbox, 2)
    vambe_sandbox.fault("get_contact", kind="status", status=403, contact=one, times="forever")
    assert (await client.get_contact(two)).id == two
    with pytest.raises(VambeRefusedError):
        await client.get_contact(one)
