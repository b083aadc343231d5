from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import AsyncVambeClient, ConnectionSettings
from vambe_provider.waiting import messages
from vambe_provider.waiting.conditions import moment
from vambe_provider.waiting.messages import read_messages

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

MANY = 60


@pytest.fixture
async def client(vambe_sandbox: Sandbox) -> AsyncIterator[AsyncVambeClient]:
    settings = ConnectionSettings.from_fields(host=vambe_sandbox.url, password=vambe_sandbox.api_key)
    async with AsyncVambeClient(settings) as opened:
        yield opened


@pytest.fixture
def contact(vambe_sandbox: Sandbox) -> str:
    """Return a contact with many messages, each a second after the other, of which the last one is the customer's."""
    found = vambe_sandbox.seed_contact("+56961111111")
    for number in range(MANY):
        vambe_sandbox.configure(clock_skew_seconds=float(number - MANY))
        direction = "OUTBOUND" if number < MANY - 1 else "INBOUND"
        vambe_sandbox.write_message(found, f"message {number}", direction=direction)
    vambe_sandbox.configure(clock_skew_seconds=0.0)
    return found


async def read(sandbox: Sandbox, client: AsyncVambeClient, contact: str, *, newest: int, hint: bool = True) -> Any:
    """Read so many of the newest messages."""
    written = [moment(item["created_at"]) or 0.0 for item in sandbox.messages(contact)]
    last = written[-1] if hint else None
    return await read_messages(client, contact, since=written[-newest] - 0.1, last=last)


def texts(conversation: Any) -> list[str]:
    return sorted(message["body"] for message in conversation.messages)


@pytest.mark.parametrize("hint", [True, False])
@pytest.mark.parametrize("more", ["hasMore", "text", "has_more", "total", "nothing"])
@pytest.mark.parametrize("first", ["newest", "oldest"])
async def test_the_newest_message_is_found_however_pages_go(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, contact: str, first: str, more: str, hint: bool
) -> None:
    vambe_sandbox.configure(messages_first_page=first, messages_more=more, messages_page_size=7)
    found = await read(vambe_sandbox, client, contact, newest=10, hint=hint)
    assert {f"message {number}" for number in range(MANY - 10, MANY)} <= set(texts(found))
    assert not found.cut


@pytest.mark.parametrize(("first", "more", "pages"), [("newest", "has_more", 2), ("oldest", "hasMore", 3)])
async def test_no_more_pages_are_read_than_needed(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, contact: str, first: str, more: str, pages: int
) -> None:
    vambe_sandbox.configure(messages_first_page=first, messages_more=more, messages_page_size=7)
    await read(vambe_sandbox, client, contact, newest=10)
    assert len(vambe_sandbox.requests("get_messages")) == pages


async def test_a_page_that_holds_the_last_message_and_older_ones_is_enough(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, contact: str
) -> None:
    vambe_sandbox.configure(messages_first_page="newest", messages_page_size=20)
    await read(vambe_sandbox, client, contact, newest=10)
    assert len(vambe_sandbox.requests("get_messages")) == 1


@pytest.mark.parametrize("more", ["text", "total"])
async def test_a_cap_that_cuts_is_said(
    vambe_sandbox: Sandbox, client: AsyncVambeClient, contact: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MAX_PAGES", 3)
    vambe_sandbox.configure(messages_more=more, messages_page_size=7)
    assert (await read(vambe_sandbox, client, contact, newest=50)).cut


async def test_no_message_comes_twice(vambe_sandbox: Sandbox, client: AsyncVambeClient, contact: str) -> None:
    vambe_sandbox.configure(messages_page_size=7)
    found = await read_messages(client, contact, since=None, last=None)
    assert texts(found) == sorted(f"message {number}" for number in range(MANY))
