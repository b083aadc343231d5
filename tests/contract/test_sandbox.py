"""Every call against the sandbox: what is written can be read back, page by page, in all the shapes that the API is
known to use.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import AsyncVambeClient, ConnectionSettings, VambeClient, parse_ticket
from vambe_provider.exceptions import VambeAuthError, VambeConfigError, VambeRefusedError

if TYPE_CHECKING:
    from tests.contract.conftest import Run
    from vambe_provider.sandbox import Sandbox


@pytest.fixture
def settings(vambe_sandbox: Sandbox) -> ConnectionSettings:
    return ConnectionSettings(api_key=vambe_sandbox.api_key, base_url=vambe_sandbox.url, phone_id="qr-main")


def ticket(sandbox: Sandbox, **fields: Any) -> Any:
    stage = sandbox.stage_id("Support / New")
    return parse_ticket({"to_phone_number": "+56912345678", "stage_id": stage, "message": "Hola", **fields})


def test_a_ticket_is_opened_and_found_again(run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    wanted = ticket(vambe_sandbox, contact_name="Ana", ticket_metadata={"airflow_ticket_key": "k1"})
    opened, found, everybody = run(
        settings,
        lambda client: client.open_ticket(wanted),
        lambda client: client.search_contacts(phone="+56 9 1234 5678"),
        lambda client: client.list_contacts(days=1),
    )
    (record,) = vambe_sandbox.tickets()
    assert opened.status == "ok"
    assert [contact.id for contact in found] == [opened.ai_contact_id]
    assert [contact.id for contact in everybody] == [opened.ai_contact_id]
    assert record["ticket_metadata"] == {"airflow_ticket_key": "k1"}
    (info,) = run(settings, lambda client: client.get_contact(opened.ai_contact_id))
    assert "k1" in str(info.model_dump()), "fields that the model does not know are kept"
    assert info.name == "Ana"


@pytest.mark.parametrize("wrapper", [None, "data", "contacts", "items"])
def test_all_contacts_over_many_pages(
    run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox, wrapper: str | None
) -> None:
    vambe_sandbox.configure(list_wrapper=wrapper)
    for number in range(7):
        vambe_sandbox.seed_contact(f"+5691234567{number}")
    (contacts,) = run(
        settings, lambda client: client.list_contacts(created_after="2020-01-01T00:00:00.000Z", page_size=3)
    )
    assert sorted(contact.phone[-1] for contact in contacts) == list("0123456")
    assert len(vambe_sandbox.requests("list_contacts")) == 3


@pytest.mark.parametrize("first", ["newest", "oldest"])
def test_messages_of_all_pages_with_the_newest_last(
    run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox, first: str
) -> None:
    vambe_sandbox.configure(messages_page_size=2, messages_first_page=first)
    (opened,) = run(settings, lambda client: client.open_ticket(ticket(vambe_sandbox)))
    for number in range(4):
        vambe_sandbox.configure(clock_skew_seconds=60 * number + 60)
        vambe_sandbox.customer_replies(opened.ai_contact_id, f"reply {number}")
    messages, two_pages = run(
        settings,
        lambda client: client.get_messages(opened.ai_contact_id),
        lambda client: client.get_messages(opened.ai_contact_id, max_pages=2),
    )
    assert [message.body for message in messages] == ["Hola", "reply 0", "reply 1", "reply 2", "reply 3"]
    assert [message.direction for message in messages[:2]] == ["OUTBOUND", "INBOUND"]
    assert len(two_pages) in (3, 4)
    assert "Hola" not in repr(messages)


@pytest.mark.parametrize("wrapper", [None, "channel", "data"])
def test_the_channel_in_all_its_wrappings(
    run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox, wrapper: str | None
) -> None:
    vambe_sandbox.configure(channel_wrapper=wrapper)
    own, other = run(settings, lambda client: client.get_channel(), lambda client: client.get_channel("whatsapp"))
    assert (own.id, other.id) == ("qr-main", "1951")


def test_stages_by_name_and_id(run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    wanted = vambe_sandbox.stage_id("Support / New")
    by_label, by_id, ambiguous, missing, unique = run(
        settings,
        lambda client: client.find_stage("support/ new"),
        lambda client: client.find_stage(wanted.upper()),
        lambda client: client.find_stage("New"),
        lambda client: client.find_stage("Suport / New"),
        lambda client: client.find_stage("Human help"),
    )
    assert by_label.id == by_id.id == wanted
    assert (unique.pipeline_name, unique.label) == ("Support", "Support / Human help")
    assert isinstance(ambiguous, VambeConfigError)
    assert "Support / New" in str(ambiguous)
    assert "Orders / New" in str(ambiguous)
    assert "Did you mean Support / New?" in str(missing)
    # Read once, and once more for each name that was not there.
    assert len(vambe_sandbox.requests("get_pipelines")) == 3


def test_updates_and_closing(run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    (opened,) = run(settings, lambda client: client.open_ticket(ticket(vambe_sandbox)))
    contact = opened.ai_contact_id
    done = run(
        settings,
        lambda client: client.update_contact_metadata(contact, {"Plan": "Premium"}),
        lambda client: client.update_ticket_metadata({"paid": True}, contact_number="+56912345678"),
        lambda client: client.update_ticket_amount(24990, currency="CLP", ai_contact_id=contact),
        lambda client: client.close_ticket(contact),
    )
    assert done == [None] * 4
    (record,) = vambe_sandbox.tickets()
    assert record["ticket_metadata"] == {"paid": "true"}
    assert record["amount"] == 24990


def test_the_wrong_key_and_a_missing_contact(run: Run, settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    wrong = ConnectionSettings(api_key="wrong", base_url=vambe_sandbox.url, phone_id="qr-main")
    (refused,) = run(wrong, lambda client: client.get_pipelines())
    assert type(refused) is VambeAuthError
    (missing,) = run(settings, lambda client: client.get_contact("00000000-0000-4000-8000-00000000dead"))
    assert type(missing) is VambeRefusedError
    assert missing.status == 404


def test_the_clock_of_the_server(settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    vambe_sandbox.configure(clock_skew_seconds=3600)
    with VambeClient(settings) as client:
        assert client.server_clock_offset is None
        client.get_pipelines()
        assert client.server_clock_offset == pytest.approx(3600, abs=30)


def test_many_tasks_share_one_client(settings: ConnectionSettings, vambe_sandbox: Sandbox) -> None:
    async def main() -> set[str]:
        async with AsyncVambeClient(settings, max_connections=20) as client:
            numbers = [f"+569123450{number:02}" for number in range(60)]
            tickets = [ticket(vambe_sandbox, to_phone_number=number) for number in numbers]
            return {opened.ai_contact_id for opened in await asyncio.gather(*map(client.open_ticket, tickets))}

    assert len(asyncio.run(main())) == 60
    assert vambe_sandbox.ticket_count == 60


def test_a_client_outlives_its_event_loop(settings: ConnectionSettings) -> None:
    client = AsyncVambeClient(settings)

    async def once() -> int:
        try:
            return len(await client.get_pipelines())
        finally:
            await client.aclose()

    async def left_open() -> int:
        return len(await client.get_pipelines())

    assert asyncio.run(once()) == asyncio.run(left_open()) == asyncio.run(once()) == 3
