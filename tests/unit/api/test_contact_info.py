from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from vambe_provider.api.contact_info import ContactInfo, Ticket, parse_time, read_contact, same_id
from vambe_provider.delivery.key import METADATA_KEY

T = "2026-03-01T10:00:00.000Z"
WHEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
LATER = "2026-03-01T11:00:00.000Z"
WHEN_LATER = datetime(2026, 3, 1, 11, tzinfo=UTC)
MARK = "0f6e3a527a404a5b9e0a0f5f3e0d7c11"

ACTIVE = Ticket(id="t-1", is_active=True)
CLOSED = Ticket(id="t-1", is_open=False)
LISTED = Ticket(id="t-1")

SHAPES: list[tuple[dict[str, Any], list[Ticket]]] = [
    # Where a ticket stands.
    ({"active_ticket": {"id": "t-1"}}, [ACTIVE]),
    ({"active_ticket_v2": {"id": "t-1"}}, [ACTIVE]),
    ({"activeTicket": {"id": "t-1"}}, [ACTIVE]),
    ({"activeTicketV2": {"id": "t-1"}}, [ACTIVE]),
    ({"ACTIVE_TICKET": {"ID": "t-1"}}, [ACTIVE]),
    ({"current_ticket": {"id": "t-1"}}, [ACTIVE]),
    ({"open_tickets": [{"id": "t-1"}]}, [ACTIVE]),
    ({"last_closed_ticket": {"id": "t-1"}}, [CLOSED]),
    ({"lastClosedTicket": {"id": "t-1"}}, [CLOSED]),
    ({"last_closed_ticket_v2": {"id": "t-1"}}, [CLOSED]),
    ({"latest_closed_ticket": {"id": "t-1"}}, [CLOSED]),
    ({"closed_tickets": [{"id": "t-1"}]}, [CLOSED]),
    ({"ticket": {"id": "t-1"}}, [LISTED]),
    ({"last_ticket": {"id": "t-1"}}, [LISTED]),
    ({"tickets": [{"id": "t-1"}, {"id": "t-2"}]}, [LISTED, Ticket(id="t-2")]),
    ({"tickets": {"data": [{"id": "t-1"}]}}, [LISTED]),
    ({"tickets": {"items": [{"id": "t-1"}], "total": 1}}, [LISTED]),
    ({"active_ticket": {"data": {"id": "t-1"}}}, [ACTIVE]),
    ({"conversation": {"ticket": {"id": "t-1"}}}, [LISTED]),
    ({"relations": [{"active_ticket": {"id": "t-1"}}]}, [ACTIVE]),
    ({"contact": {"id": "c-1", "active_ticket": {"id": "t-1"}}}, [ACTIVE]),
    ({"data": {"aiContactId": "c-1", "active_ticket": {"id": "t-1"}}}, [ACTIVE]),
    ({"active_ticket_id": "t-1"}, [ACTIVE]),
    ({"active_ticket": "t-1"}, [ACTIVE]),
    # One ticket that stands in two places is one ticket.
    ({"active_ticket": {"id": "t-1"}, "active_ticket_v2": {"id": "T-1"}, "active_ticket_id": "t-1"}, [ACTIVE]),
    (
        {"active_ticket_v2": {"id": "t-1", "current_stage_id": "s-1"}, "tickets": [{"id": "t-1", "created_at": T}]},
        [Ticket(id="t-1", is_active=True, stage_id="s-1", created_at=WHEN)],
    ),
    ({"tickets": [{"id": "t-1"}], "last_closed_ticket": {"id": "t-1"}}, [CLOSED]),
    # Two tickets without an id are two tickets.
    ({"tickets": [{"stage_id": "s-1"}, {"stage_id": "s-1"}]}, [Ticket(stage_id="s-1"), Ticket(stage_id="s-1")]),
    # Ids.
    ({"active_ticket": {"id": 17}}, [Ticket(id="17", is_active=True)]),
    ({"active_ticket": {"ticket_id": "t-1"}}, [ACTIVE]),
    ({"active_ticket": {"id": None, "current_stage_id": "s-1"}}, [Ticket(is_active=True, stage_id="s-1")]),
    # Stages.
    ({"ticket": {"id": "t-1", "current_stage_id": "s-1"}}, [Ticket(id="t-1", stage_id="s-1")]),
    ({"ticket": {"id": "t-1", "stageId": "s-1"}}, [Ticket(id="t-1", stage_id="s-1")]),
    ({"ticket": {"id": "t-1", "current_stage": {"id": "s-1", "name": "New"}}}, [Ticket(id="t-1", stage_id="s-1")]),
    ({"ticket": {"id": "t-1", "stage_id": None, "stage": {"id": 5}}}, [Ticket(id="t-1", stage_id="5")]),
    ({"ticket": {"id": "t-1", "stage": "s-1"}}, [Ticket(id="t-1", stage_id="s-1")]),
    ({"ticket": {"id": "t-1", "current_stage": None, "stage": {}}}, [LISTED]),
    # Closed or not.
    (
        {"ticket": {"id": "t-1", "status": "CLOSED", "closed_at": T}},
        [Ticket(id="t-1", is_open=False, status="CLOSED", closed_at=WHEN)],
    ),
    ({"ticket": {"id": "t-1", "closedAt": T}}, [Ticket(id="t-1", is_open=False, closed_at=WHEN)]),
    ({"ticket": {"id": "t-1", "closed_at": None, "status": "open"}}, [Ticket(id="t-1", status="open")]),
    ({"ticket": {"id": "t-1", "is_closed": True}}, [CLOSED]),
    ({"ticket": {"id": "t-1", "isClosed": False, "status": "won"}}, [Ticket(id="t-1", status="won")]),
    # Times.
    ({"ticket": {"id": "t-1", "created_at": T}}, [Ticket(id="t-1", created_at=WHEN)]),
    ({"ticket": {"id": "t-1", "createdAt": 1772359200000}}, [Ticket(id="t-1", created_at=WHEN)]),
    ({"ticket": {"id": "t-1", "created_at": "soon", "createdAt": T}}, [LISTED]),
    ({"ticket": {"id": "t-1", "created_at": None, "createdAt": T}}, [Ticket(id="t-1", created_at=WHEN)]),
    ({"ticket": {"id": "t-1", "updated_at": LATER}}, [Ticket(id="t-1", updated_at=WHEN_LATER)]),
    # Metadata.
    ({"ticket": {"id": "t-1", "metadata": {}}}, [Ticket(id="t-1", shows_metadata=True)]),
    ({"ticket": {"id": "t-1", "custom_fields": []}}, [Ticket(id="t-1", shows_metadata=True)]),
    ({"ticket": {"id": "t-1", "metadata": None}}, [LISTED]),
]


@pytest.mark.parametrize(("payload", "tickets"), SHAPES, ids=str)
def test_the_tickets_of_every_shape_are_read(payload: dict[str, Any], tickets: list[Ticket]) -> None:
    info = read_contact({"id": "c-1", **payload})
    assert list(info.tickets) == tickets
    assert info.shows_tickets


@pytest.mark.parametrize(
    ("payload", "shows"),
    [
        ({}, False),
        ({"ticket_metadata": {"id": "x"}, "ticket_count": 3, "closed_ticket_type": {"id": "y"}}, False),
        ({"open_tickets": 3, "has_active_ticket": True, "active_ticket": False}, False),
        ({"tags": [{"entity_type": "TICKET", "id": 1}], "default_stage_id": "s-1"}, False),
        ({"active_ticket": None, "last_closed_ticket": None}, True),
        ({"active_ticket": {}}, True),
        ({"tickets": []}, True),
        ({"tickets": {"data": []}}, True),
        ({"tickets": [None, 3, "x"]}, True),
        ({"active_ticket_id": None}, True),
        ({"active_ticket_id": ""}, False),
    ],
    ids=str,
)
def test_what_only_sounds_like_a_ticket_is_not_one(payload: dict[str, Any], shows: bool) -> None:
    info = read_contact({"id": "c-1", **payload})
    assert info.tickets == ()
    assert info.shows_tickets is shows


@pytest.mark.parametrize(
    ("payload", "shows"),
    [
        ({"active_ticket": None, "last_closed_ticket": None}, True),
        ({"lastClosedTicketV2": None}, True),
        ({"contact": {"id": "c-1", "closed_tickets": []}}, True),
        ({"active_ticket": None}, False),
        ({"active_ticket": {"last_closed_ticket": None}}, False),
        ({"tickets": []}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_place_for_a_closed_ticket_is_seen(payload: dict[str, Any], shows: bool) -> None:
    assert read_contact({"id": "c-1", **payload}).shows_closed_ticket is shows


PLACES: list[Any] = [
    {"metadata": {"airflow_ticket_key": MARK}},
    {"metadata": {"airflowTicketKey": MARK}},
    {"metadata": {"Airflow Ticket Key": f" {MARK} "}},
    {"ticket_metadata": {"AIRFLOW_TICKET_KEY": MARK}},
    {"metadata": {"airflow_ticket_key": {"value": MARK}}},
    {"metadata": {"airflow_ticket_key": [MARK]}},
    {"metadata": [{"key": "airflow_ticket_key", "value": MARK}]},
    {"metadata": [{"id": 5, "name": "Airflow ticket key", "value": MARK, "created_at": T}]},
    {"metadata": [["airflow_ticket_key", MARK]]},
    {"metadata": f'{{"airflow_ticket_key": "{MARK}"}}'},
    {"custom_fields": [{"definition": {"key": "airflow_ticket_key", "id": 9}, "value": MARK}]},
    {"customFieldValues": [{"customField": {"name": "airflow_ticket_key"}, "stringValue": MARK}]},
    {"airflow_ticket_key": MARK},
]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_mark_is_found_wherever_it_stands(place: Any) -> None:
    info = read_contact({"id": "c-1", "active_ticket": {"id": "t-1", **place}, "last_closed_ticket": {"id": "t-2"}})
    assert [ticket.marks for ticket in info.tickets] == [{MARK}, frozenset()]
    assert info.marks == {MARK}
    in_the_contact = read_contact({"id": "c-1", "active_ticket": {"id": "t-1", "metadata": {}}, **place})
    assert in_the_contact.tickets[0].marks == frozenset()
    assert in_the_contact.marks == {MARK}


@pytest.mark.parametrize(
    "place",
    [
        {"metadata": {"airflow_ticket_key": None}},
        {"metadata": {"airflow_ticket_key": ""}},
        {"metadata": [{"key": "airflow_ticket_key", "value": None, "id": 7}]},
        {"metadata": {"order_id": MARK}},
        {"metadata": [{"key": "order_id", "value": MARK}]},
        {"metadata": '{"airflow_ticket_key": '},
        {"metadata": "airflow_ticket_key"},
    ],
    ids=str,
)
def test_what_is_not_the_value_of_the_mark_is_not_one(place: dict[str, Any]) -> None:
    assert read_contact({"id": "c-1", "active_ticket": {"id": "t-1", **place}}).marks == frozenset()


def test_several_marks_are_kept_apart_by_ticket() -> None:
    info = read_contact(
        {
            "id": "c-1",
            "metadata": {"airflow_ticket_key": "third"},
            "active_ticket": {"id": "t-1", "metadata": {"airflow_ticket_key": "first"}},
            "tickets": [{"id": "t-2", "metadata": [{"key": "airflow_ticket_key", "value": "second"}]}],
        }
    )
    assert {ticket.id: ticket.marks for ticket in info.tickets} == {"t-1": {"first"}, "t-2": {"second"}}
    assert info.marks == {"first", "second", "third"}


def test_the_name_of_the_mark_is_the_one_that_is_sent() -> None:
    assert read_contact({"id": "c-1", "metadata": {METADATA_KEY: MARK}}).marks == {MARK}


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "c-1", "phone": "+56912345678", "chat_status": "CLOSED", "created_at": T, "last_message_at": LATER},
        {"aiContactId": "c-1", "phoneNumber": "+56912345678", "chatStatus": "CLOSED", "createdAt": T,
         "lastMessageAt": LATER},
        {"contact": {"id": "c-1", "phone": "+56912345678", "chat_status": "CLOSED", "created_at": T,
                     "last_message_at": LATER}},
    ],
)  # fmt: skip
def test_the_contact_itself_is_read_under_its_names(payload: dict[str, Any]) -> None:
    info = read_contact(payload)
    expected = ContactInfo(
        id="c-1", phone="+56912345678", chat_status="CLOSED", created_at=WHEN, last_message_at=WHEN_LATER
    )
    assert info == expected
    assert "56912345678" not in repr(info)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"id": None, "phone": None, "created_at": None, "active_ticket": None, "tickets": None, "metadata": None},
        {"id": {}, "phone": [], "created_at": {}, "chat_status": 7.5, "active_ticket": {"id": [], "created_at": []}},
        {1: 2, None: {"tickets": [[[]]]}},
    ],
    ids=str,
)
def test_nulls_and_odd_values_everywhere_are_no_error(payload: Any) -> None:
    info = read_contact(payload)
    assert (info.id, info.phone, info.created_at, info.marks) == (None, None, None, frozenset())


@pytest.mark.parametrize("name", ["tickets", "metadata", "data", "airflow_ticket_key"])
@pytest.mark.parametrize("in_a_list", [True, False])
def test_what_is_nested_without_end_is_no_error(name: str, in_a_list: bool) -> None:
    nested: Any = {"id": "t-1"}
    for _ in range(5000):
        nested = [nested] if in_a_list else {name: nested}
    assert read_contact({"id": "c-1", name: nested}).id == "c-1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (T, WHEN),
        ("2026-03-01T10:00:00", WHEN),
        ("2026-03-01 10:00:00+00", WHEN),
        ("2026-03-01T07:00:00-03:00", WHEN),
        ("2026-03-01T10:00:00.123456789Z", WHEN + timedelta(microseconds=123456)),
        (WHEN.astimezone(timezone(timedelta(hours=-3))), WHEN),
        (WHEN.replace(tzinfo=None), WHEN),
        (1772359200, WHEN),
        ("1772359200", WHEN),
        (1772359200000, WHEN),
        ("1772359200000", WHEN),
        (1772359200.0, WHEN),
    ],
    ids=str,
)
def test_times_are_utc(text: Any, expected: datetime) -> None:
    found = parse_time(text)
    assert found == expected
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "odd", ["", "soon", None, True, 0, -5, float("nan"), float("inf"), [], {}, "0001-01-01T00:00+14:00", 1e300], ids=str
)
def test_what_is_not_a_time_is_none(odd: Any) -> None:
    assert parse_time(odd) is None


def test_ids_are_the_same_in_capitals() -> None:
    assert same_id("0F6E3A52-7a40", " 0f6e3a52-7A40")
    assert not same_id("a", "b")
    assert not same_id(None, None)
