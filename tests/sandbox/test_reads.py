"""Reading contacts, conversations, pipelines and channels."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import LATE, NEW, PHONE

if TYPE_CHECKING:
    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox

LONG_AGO = "2020-01-01T00:00:00.000Z"


def test_pipelines_have_their_stages_in_order(api: Api, sandbox: Sandbox) -> None:
    pipelines = api.http.get("/api/public/pipeline").json()
    assert {pipeline["name"]: [stage["name"] for stage in pipeline["stages"]] for pipeline in pipelines} == {
        "Support": ["New", "In progress", "Human help", "Solved"],
        "Orders": ["New", "Late", "Recovered"],
        "Payments": ["Failed", "Promised", "Paid"],
    }
    assert sandbox.stage_id("orders / late") == pipelines[1]["stages"][1]["id"] == LATE
    sandbox.configure(list_wrapper="data")
    assert api.http.get("/api/public/pipeline").json() == {"data": pipelines}


@pytest.mark.parametrize(("kind", "identity"), [("web-whatsapp", "qr-main"), ("whatsapp", 1951)])
def test_the_channel_gives_the_phone_id(api: Api, sandbox: Sandbox, kind: str, identity: object) -> None:
    channel = api.http.get(f"/api/public/channels/{kind}").json()
    assert channel["id"] == identity
    assert set(channel) == {"id", "phone_number", "client_id", "name"}
    sandbox.configure(channel_wrapper="channel")
    assert api.http.get(f"/api/public/channels/{kind}").json() == {"channel": channel}


@pytest.mark.parametrize(("kind", "status"), [("instagram", 404), ("fax", 400)])
def test_a_channel_that_the_account_lacks(api: Api, kind: str, status: int) -> None:
    assert api.http.get(f"/api/public/channels/{kind}").status_code == status


def test_contact_info_shows_the_active_and_the_last_closed_ticket(api: Api) -> None:
    contact = api.opened(ticket_metadata={"n": "1"}, contact_metadata={"plan": "gold"}, contact_name="Ana")
    assert api.close(contact).status_code == 200
    api.opened(ticket_metadata={"n": "2"}, stage_id=LATE)
    info = api.info(contact).json()
    assert (info["id"], info["name"], info["phone"], info["platform"]) == (contact, "Ana", PHONE, "web-whatsapp")
    assert info["metadata"] == {"plan": "gold"}
    assert info["active_ticket"]["metadata"] == {"n": "2"}
    assert info["active_ticket"]["current_stage_id"] == LATE
    assert info["active_ticket"]["created_at"] >= info["created_at"]
    assert info["last_closed_ticket"]["metadata"] == {"n": "1"}
    assert info["last_closed_ticket"]["closed_at"] is not None
    assert info["last_message_content"] == "Hola"


@pytest.mark.parametrize(
    ("names", "active", "closed"),
    [
        ("v2", "active_ticket_v2", "last_closed_ticket_v2"),
        ("camel", "activeTicket", "lastClosedTicket"),
    ],
)
def test_the_tickets_may_have_other_names(api: Api, sandbox: Sandbox, names: str, active: str, closed: str) -> None:
    sandbox.configure(ticket_names=names)
    info = api.info(api.opened(ticket_metadata={"n": "1"})).json()
    assert info[active]["metadata"] == {"n": "1"}
    assert info[closed] is None


def test_shapes_that_the_documentation_leaves_open(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(ticket_metadata={"orderId": "1"})
    sandbox.configure(ticket_created_at=False, snake_case_keys=True, metadata_form="list", phone_form="digits")
    info = api.info(contact).json()
    assert "created_at" not in info["active_ticket"]
    assert info["active_ticket"]["metadata"] == [{"key": "order_id", "value": "1"}]
    assert info["phone"] == "56912345678"


def test_ticket_metadata_can_stay_invisible(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(metadata_visible="no")
    contact = api.opened(ticket_metadata={"n": "1"})
    assert "metadata" not in api.info(contact).json()["active_ticket"]
    assert api.listed(days=1, custom_field_key="n", custom_field_value="1") == []


def test_ticket_metadata_can_show_after_some_reads(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(metadata_visible="late", metadata_after_reads=2)
    contact = api.opened(ticket_metadata={"n": "1"})
    seen = [api.info(contact).json()["active_ticket"].get("metadata") for _ in range(3)]
    assert seen == [None, None, {"n": "1"}]


def test_a_moved_ticket_shows_its_old_metadata_until_the_new_ones_show(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(existing_ticket="move", metadata_visible="late", metadata_after_reads=1)
    contact = api.opened(ticket_metadata={"n": "1"})
    seen = [api.info(contact).json()["active_ticket"].get("metadata") for _ in range(2)]
    api.opened(ticket_metadata={"n": "2"})
    seen += [api.info(contact).json()["active_ticket"].get("metadata") for _ in range(2)]
    assert seen == [None, {"n": "1"}, {"n": "1"}, {"n": "2"}]


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("national", "912345678"),
        ("extension", "+56912345678 ext. 12"),
        ("jid", "56912345678@s.whatsapp.net"),
        ("masked", "+56******678"),
        ("none", None),
    ],
)
def test_a_number_can_have_forms_that_cannot_be_compared(
    api: Api, sandbox: Sandbox, form: str, shown: str | None
) -> None:
    contact = api.opened()
    sandbox.configure(phone_form=form)
    assert api.info(contact).json()["phone"] == shown
    assert api.found(phone="12345678") == [contact]


def test_an_id_of_whatsapp_does_not_show_the_number(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened()
    sandbox.configure(phone_form="lid")
    shown = api.info(contact).json()["phone"]
    assert (shown.endswith("@lid"), "12345678" in shown) == (True, False)


def test_the_search_can_find_new_contacts_late(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(search_after_seconds=60.0)
    contact = api.opened()
    assert api.found(phone="12345678") == []
    assert api.listed(days=1) == [contact]
    sandbox.configure(clock_skew_seconds=61.0)
    assert api.found(phone="12345678") == [contact]


def test_the_list_can_ignore_or_refuse_custom_fields(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(ticket_metadata={"n": "1"})
    query = {"days": 1, "custom_field_key": "n", "custom_field_value": "2"}
    assert api.listed(**query) == []
    sandbox.configure(custom_field_filter="ignored")
    assert api.listed(**query) == [contact]
    sandbox.configure(custom_field_filter="refused")
    assert api.contacts(**query).status_code == 400


def test_time_stamps_can_be_ahead_of_the_clock(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(stamp_skew_seconds=7200.0)
    info = api.info(api.opened())
    ahead = datetime.fromisoformat(info.json()["created_at"]) - parsedate_to_datetime(info.headers["date"])
    assert ahead.total_seconds() == pytest.approx(7200.0, abs=30)


def test_ticket_metadata_can_show_after_some_time(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(metadata_visible="late", metadata_after_seconds=60)
    contact = api.opened(ticket_metadata={"n": "1"})
    assert "metadata" not in api.info(contact).json()["active_ticket"]
    sandbox.configure(clock_skew_seconds=61)
    assert api.info(contact).json()["active_ticket"]["metadata"] == {"n": "1"}


@pytest.mark.parametrize("read", ["info", "search", "list", "messages"])
def test_a_new_contact_can_be_invisible_for_some_reads(api: Api, sandbox: Sandbox, read: str) -> None:
    sandbox.configure(visible_after_reads=2)
    contact = api.opened()

    def visible() -> bool:
        if read == "info":
            return api.info(contact).status_code == 200
        if read == "messages":
            return api.messages(contact).status_code == 200
        return bool(api.found(phone=PHONE) if read == "search" else api.listed(updated_after=LONG_AGO))

    assert [visible() for _ in range(3)] == [False, False, True]


def test_a_known_contact_shows_a_new_ticket_and_its_message_late(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(ticket_metadata={"n": "1"})
    sandbox.configure(visible_after_seconds=60, existing_ticket="new_ticket")
    sandbox.configure(clock_skew_seconds=100)
    cursor = api.info(contact).json()["updated_at"]
    api.opened(ticket_metadata={"n": "2"}, message={"content": "second", "ai_generated": False})
    assert api.info(contact).json()["active_ticket"] is None
    assert api.bodies(contact) == ["Hola"]
    assert api.listed(updated_after=cursor) == []
    sandbox.configure(clock_skew_seconds=200)
    assert api.info(contact).json()["active_ticket"]["metadata"] == {"n": "2"}
    assert api.bodies(contact) == ["Hola", "second"]
    assert api.listed(updated_after=cursor) == [contact]


def test_an_unknown_contact_is_404(api: Api) -> None:
    for reply in (api.info("nobody"), api.messages("nobody"), api.close("nobody"), api.contact_metadata("nobody", {})):
        assert reply.status_code == 404


@pytest.mark.parametrize("text", [PHONE, "56912345678", "+56 9 1234-5678", "12345", "5678"])
def test_search_finds_parts_of_a_number(api: Api, text: str) -> None:
    contact = api.opened()
    api.opened(to_phone_number="+5491187654321")
    assert api.found(phone=text) == [contact]


def test_search_finds_parts_of_an_email_in_any_case_and_either_of_both(api: Api) -> None:
    first = api.opened(email="Maria@Example.com")
    second = api.opened(to_phone_number="+56900000001", email="jose@other.org")
    assert api.found(email="maria@EXAMPLE") == [first]
    assert api.found(email="@") == [second, first]
    assert api.found(email="maria", phone="900000001") == [second, first]
    api.opened(email="new@example.com")
    assert api.found(email="maria") == []


def test_search_needs_a_question(api: Api) -> None:
    assert api.search().status_code == 400
    assert api.found(phone="999999") == []


def test_search_gives_the_50_last_contacted_and_no_tickets(api: Api, sandbox: Sandbox) -> None:
    contacts = [api.opened(to_phone_number=f"+569000000{number:02d}") for number in range(55)]
    sandbox.configure(clock_skew_seconds=10)
    sandbox.customer_replies(contacts[3], "Hi")
    rows = api.search(phone="+569000000").json()
    assert len(rows) == 50
    assert rows[0]["id"] == contacts[3]
    assert rows[1]["last_message_at"] >= rows[49]["last_message_at"]
    assert "active_ticket_v2" not in rows[0]


def test_search_shows_the_same_number_on_two_platforms(api: Api, sandbox: Sandbox) -> None:
    known = sandbox.seed_contact(PHONE, platform="whatsapp", name="Ana")
    contact = api.opened()
    assert set(api.found(phone=PHONE)) == {known, contact}
    with pytest.raises(ValueError, match="already"):
        sandbox.seed_contact(PHONE, platform="whatsapp")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"stage_id": NEW},
        {"days": "0"},
        {"days": "366"},
        {"days": "x"},
        {"updated_after": "yesterday"},
        {"days": 1, "limit": 0},
        {"days": 1, "limit": 1001},
        {"days": 1, "offset": -1},
        {"days": 1, "custom_field_key": "a"},
        {"days": 1, "custom_field_value": "a"},
    ],
)
def test_a_wrong_list_is_400(api: Api, query: dict[str, Any]) -> None:
    assert api.contacts(**query).status_code == 400


def test_updated_after_is_a_cursor_in_ascending_order(api: Api, sandbox: Sandbox) -> None:
    contacts = []
    for second in range(4):
        sandbox.configure(clock_skew_seconds=second)
        contacts.append(api.opened(to_phone_number=f"+5690000000{second}"))
    sandbox.configure(clock_skew_seconds=10)
    sandbox.customer_replies(contacts[0], "Hi")
    rows = api.contacts(updated_after=LONG_AGO).json()
    assert [row["id"] for row in rows] == [*contacts[1:], contacts[0]]
    assert api.listed(updated_after=rows[1]["updated_at"]) == [contacts[3], contacts[0]]
    assert api.listed(updated_after=rows[3]["updated_at"]) == []
    assert api.listed(created_after=rows[0]["created_at"]) == contacts[2:]
    assert api.listed(updated_after=LONG_AGO, limit=2, offset=1) == contacts[2:]
    assert api.listed(updated_after=LONG_AGO, created_after=rows[1]["created_at"]) == [contacts[3]]


def test_a_clock_that_is_set_back_hides_nothing(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(clock_skew_seconds=1000)
    first = api.opened()
    sandbox.configure(clock_skew_seconds=0)
    second = api.opened(to_phone_number="+56900000001")
    assert api.listed(updated_after=LONG_AGO) == [second, first]


def test_days_go_by_the_last_message(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(clock_skew_seconds=-3 * 86_400)
    old = api.opened()
    sandbox.configure(clock_skew_seconds=0, assistant_writes=False)
    silent = api.opened(to_phone_number="+56900000001", message=None)
    new = api.opened(to_phone_number="+56900000002")
    assert api.listed(days=1) == [new]
    assert api.listed(days=30) == [new, old]
    assert silent in api.listed(created_after=LONG_AGO)


def test_a_list_holds_100_unless_told_otherwise(api: Api, sandbox: Sandbox) -> None:
    for number in range(101):
        api.opened(to_phone_number=f"+56900000{number:03d}")
    assert len(api.listed(days=1)) == 100
    assert len(api.listed(days=1, limit=1000)) == 101
    sandbox.configure(contacts_default_limit=None)
    assert len(api.listed(days=1)) == 101


def test_filters_by_stage_pipeline_and_custom_field(api: Api, sandbox: Sandbox) -> None:
    support = api.opened(contact_metadata={"plan": "gold"})
    orders = api.opened(to_phone_number="+56900000001", stage_id=LATE, ticket_metadata={"airflow_ticket_key": "k1"})
    assert api.listed(days=1, stage_id=LATE) == [orders]
    assert api.listed(days=1, stage_id=NEW) == [support]
    sandbox.move_ticket(support, "Orders / Recovered")
    pipeline = api.info(orders).json()["active_ticket"]["pipeline_id"]
    (row, _) = api.contacts(days=1, pipeline_id=pipeline).json()
    assert row["active_ticket_v2"]["current_stage"]["name"] in ("Late", "Recovered")
    assert api.listed(days=1, stage_id=NEW) == []
    sandbox.configure(stage_filter="default_stage")
    assert api.listed(days=1, stage_id=NEW) == [support]
    assert api.listed(days=1, custom_field_key="airflow_ticket_key", custom_field_value="k1") == [orders]
    gold = {"custom_field_key": "plan", "custom_field_value": "gold"}
    assert api.listed(days=1, **gold) == [support]
    assert api.listed(days=1, **gold, custom_field_entity="customer") == [support]
    assert api.listed(days=1, **gold, custom_field_entity="ticket") == []


def test_a_ticket_may_leave_updated_at_alone(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened()
    before = api.info(contact).json()["updated_at"]
    sandbox.configure(ticket_bumps_updated_at=False, clock_skew_seconds=60)
    api.opened()
    sandbox.customer_replies(contact, "Hi")
    assert api.info(contact).json()["updated_at"] == before


def test_messages_come_in_pages(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(messages_page_size=2)
    contact = api.opened()
    for text in ("one", "two"):
        sandbox.customer_replies(contact, text)
    first, second = api.messages(contact).json(), api.messages(contact, page=2).json()
    assert [message["body"] for message in first["messages"]] == ["Hola", "one"]
    assert (first["page"], first["hasMore"], first["total"]) == (1, True, 3)
    assert [message["body"] for message in second["messages"]] == ["two"]
    assert (second["page"], second["hasMore"]) == (2, False)
    sandbox.configure(messages_first_page="newest")
    assert api.bodies(contact) == ["one", "two"]
    assert api.bodies(contact, page=2) == ["Hola"]
    assert api.bodies(contact, page=3) == []
    assert api.messages(contact, page=0).status_code == 400


def test_a_reply_of_the_customer_is_an_unread_inbound_message(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened()
    sandbox.customer_replies(contact, "Gracias")
    message = api.messages(contact).json()["messages"][-1]
    assert (message["body"], message["direction"], message["from"]) == ("Gracias", "INBOUND", PHONE)
    info = api.info(contact).json()
    assert (info["is_chat_read"], info["last_message_content"]) == (False, "Gracias")
    assert info["last_message_at"] == message["created_at"]


def test_a_merged_contact_is_gone_and_the_other_has_its_history(api: Api, sandbox: Sandbox) -> None:
    first, second = api.opened(), api.opened(to_phone_number="+56900000001", ticket_metadata={"n": "2"})
    sandbox.merge_contacts(second, first)
    assert api.info(second).status_code == 404
    assert api.found(phone="900000001") == []
    assert len(api.bodies(first)) == 2
    assert {ticket["ai_contact_id"] for ticket in sandbox.tickets()} == {first}
    with pytest.raises(KeyError):
        sandbox.customer_replies(second, "Hi")


def test_an_unknown_path_is_404_as_nestjs_says_it(api: Api, sandbox: Sandbox) -> None:
    reply = api.http.get("/api/public/contact/search")
    assert reply.status_code == 404
    assert reply.json()["message"] == "Cannot GET /api/public/contact/search"
    assert sandbox.requests("unknown")[0]["status"] == 404
