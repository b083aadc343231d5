from __future__ import annotations

import json
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vambe_provider.api import Channel, ChatMessage, Contact, Message, OpenTicket, Pipeline, parse_ticket
from vambe_provider.exceptions import VambeValidationError

REQUIRED: dict[str, Any] = {"to_phone_number": "+56912345678", "stage_id": "s1"}


def problems_of(**fields: Any) -> list[str]:
    with pytest.raises(VambeValidationError) as caught:
        parse_ticket({**REQUIRED, **fields})
    return caught.value.problems


@pytest.mark.parametrize(
    "spelled",
    [
        "+56912345678",
        "56912345678",
        56912345678,
        Decimal(56912345678),
        " +56 (9) 1234-5678 ",
        "+56.9.1234.5678",
        "\u202a+56\u00a09\u20111234\u20135678\u202c",
        "\uff0b\uff15\uff16912345678",
        "\u0665\u0666\u0669\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
    ],
)
def test_a_number_is_sent_as_plus_and_digits_however_it_was_written(spelled: object) -> None:
    assert parse_ticket({**REQUIRED, "to_phone_number": spelled}).body()["to_phone_number"] == "+56912345678"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (56912345678.0, "float"),
        (True, "boolean"),
        (None, "missing"),
        (Decimal("56912345678.5"), "fraction"),
        (Decimal("NaN"), "missing"),
        ("56912345678.0", "pandas"),
        ("5.6912345678E10", "pandas"),
        ("", "empty"),
        ("\u202a", "empty"),
        ("call me", "characters"),
        ("+56+912345678", "several"),
        ("5691234567\u00b2", "characters"),
        ("569-1234-5678/79", "several"),
        ("0912345678", "starts with 0"),
        ("1234567", "7 digits"),
        ("1" * 16, "16 digits"),
        (["+56912345678"], "list"),
    ],
)
def test_a_number_that_cannot_be_right_is_refused_without_showing_it(value: object, reason: str) -> None:
    (problem,) = problems_of(to_phone_number=value)
    assert problem.startswith("to_phone_number: ")
    assert reason in problem
    assert "5691234" not in problem


def test_every_problem_is_named_at_once_and_no_value_is_shown() -> None:
    with pytest.raises(VambeValidationError) as caught:
        parse_ticket(
            {
                "to_phone_number": "secret-a",
                "email": "secret-b",
                "contact_metadata": ["secret-c"],
                "ticket_metadata": {"photo": object()},
                "integration_data": {"": "secret-e"},
                "message": {"content": None},
                "stge_id": "secret-f",
            },
            where="row order_id=1042",
        )
    text = str(caught.value)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "to_phone_number",
        "stage_id",
        "email",
        "contact_metadata",
        "ticket_metadata",
        "integration_data",
        "message",
        "stge_id",
    ]
    assert text.startswith("row order_id=1042 cannot be sent: ")
    assert "photo: a value of the type object" in text
    assert "Nothing was sent." in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("stage", "stage_id"),
        ("phone", "to_phone_number"),
        ("Email", "email"),
        ("contact_nme", "contact_name"),
        ("templateId", "message"),
        ("metadata", "ticket_metadata"),
    ],
)
def test_an_unknown_field_is_refused_with_a_hint(field: str, meant: str) -> None:
    assert problems_of(**{field: "x"}) == [f"{field}: there is no such field; did you mean {meant}?"]


def test_an_unknown_field_that_resembles_nothing_lists_what_there_is() -> None:
    (problem,) = problems_of(zzz=1)
    assert "to_phone_number, stage_id" in problem


def test_a_typing_error_inside_of_the_message() -> None:
    assert "message.contnt: there is no such field; did you mean content?" in problems_of(message={"contnt": "x"})
    assert "message.zzz: there is no such field; there are content, templateId, ai_generated" in problems_of(
        message={"zzz": 1}
    )


@pytest.mark.parametrize(
    "email",
    ["maria.rodriguez@example.com", "a@b.co", "o'neil+tag@sub.example.org", "x_y-z@example.travel", " a@b.co "],
)
def test_accepted_addresses(email: str) -> None:
    assert parse_ticket({**REQUIRED, "email": email}).email == email.strip()


@pytest.mark.parametrize(
    "email",
    [
        "maria",
        ".a@b.co",
        "a..b@c.co",
        "a@b",
        "a@b.c",
        "a@-b.co",
        "a b@c.co",
        "a@b.co\nc",
        "ñ@b.co",
        "a." + "b" * 320 + "@c.co",
    ],
)
def test_refused_addresses(email: str) -> None:
    assert problems_of(email=email) == ["email: is not an e-mail address that Vambe accepts"]


def test_blank_optional_fields_are_left_out() -> None:
    ticket = parse_ticket({**REQUIRED, "contact_name": " ", "email": "", "contact_metadata": "", "message": None})
    assert ticket.body() == {**REQUIRED, "contact_metadata": {}, "ticket_metadata": {}, "integration_data": {}}


@pytest.mark.parametrize("stage", ["", "  ", None, True])
def test_a_stage_is_needed(stage: object) -> None:
    (problem,) = problems_of(stage_id=stage)
    assert problem.startswith("stage_id: ")


def test_a_stage_id_is_trimmed_and_need_not_be_a_uuid() -> None:
    assert parse_ticket({**REQUIRED, "stage_id": " stage_initial_001 "}).stage_id == "stage_initial_001"
    assert parse_ticket({**REQUIRED, "stage_id": 17}).stage_id == "17", "native rendering makes numbers of such ids"


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("Hola", {"content": "Hola", "ai_generated": False}),
        (" Hola\n", {"content": " Hola\n", "ai_generated": False}),
        ({"content": "Hola"}, {"content": "Hola", "ai_generated": False}),
        ({"content": "x", "ai_generated": True}, {"content": "x", "ai_generated": True}),
        ({"templateId": "t1"}, {"templateId": "t1", "ai_generated": False}),
        ({"template_id": 7, "content": ""}, {"templateId": "7", "ai_generated": False}),
        ("{'templateId': 't1', 'ai_generated': True}", {"templateId": "t1", "ai_generated": True}),
        ('{"content": "a text"}', {"content": "a text", "ai_generated": False}),
        ('{"order": 1}', {"content": '{"order": 1}', "ai_generated": False}),
        ("{order_id} is late", {"content": "{order_id} is late", "ai_generated": False}),
        (Message(content="Hola"), {"content": "Hola", "ai_generated": False}),
    ],
)
def test_what_a_message_becomes(message: object, sent: dict[str, object]) -> None:
    assert parse_ticket({**REQUIRED, "message": message}).body()["message"] == sent


@pytest.mark.parametrize(
    "message",
    [
        {},
        "",
        "  ",
        {"ai_generated": True},
        {"content": " "},
        "{}",
        7.5,
        [],
        {"content": "x", "ai_generated": "perhaps"},
    ],
)
def test_a_message_without_anything_to_say_is_refused(message: object) -> None:
    (problem,) = problems_of(message=message)
    assert problem.startswith("message")


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_text_that_no_api_can_store_is_refused(text: str) -> None:
    assert problems_of(message=text)[0].startswith("message.content: ")
    assert problems_of(ticket_metadata={"a": {"b": [text]}})[0].startswith("ticket_metadata: a: holds a ")
    assert problems_of(contact_name=text)[0].startswith("contact_name: ")


def test_a_whole_ticket_as_a_template_leaves_it() -> None:
    as_literal = str({**REQUIRED, "ticket_metadata": {"a": None, "b": 1}})
    assert parse_ticket(as_literal).ticket_metadata == {"b": "1"}
    assert parse_ticket(json.dumps(REQUIRED)).stage_id == "s1"
    ticket = parse_ticket(REQUIRED)
    assert parse_ticket(ticket) is ticket


@pytest.mark.parametrize("data", ["hello", None, 7, "{broken", "{1, 2}"])
def test_something_that_is_no_mapping(data: Any) -> None:
    with pytest.raises(VambeValidationError, match="a mapping of fields is needed"):
        parse_ticket(data)


def test_no_repr_and_no_pydantic_error_shows_anything_personal() -> None:
    ticket = parse_ticket({**REQUIRED, "contact_name": "Secreta", "email": "secreta@example.com", "message": "Secreta"})
    contact = Contact.model_validate({"id": "c1", "name": "Secreta", "phone": "+56912345678", "custom": "Secreta"})
    message = ChatMessage.model_validate({"id": "m1", "body": "Secreta", "from": "56912345678"})
    shown = f"{ticket!r} {ticket} {contact!r} {message!r} {ticket.message!r}"
    assert "stage_id='s1'" in shown
    assert "id='c1'" in shown
    with pytest.raises(ValidationError) as caught:
        OpenTicket.model_validate({"to_phone_number": "+569Secreta", "email": "Secreta", "stage_id": ["Secreta"]})
    assert "Secreta" not in shown + str(caught.value)
    assert "912345678" not in shown


class Plan(Enum):
    PRO = "pro"


clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_infinity=False)
    | st.decimals(allow_infinity=False)
    | clean_text
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.sampled_from(Plan),
    lambda children: st.lists(children) | st.dictionaries(st.text("ab", min_size=1), children),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc_", min_size=1), json_like))
def test_any_metadata_become_texts_that_can_be_sent(metadata: dict[str, Any]) -> None:
    body = parse_ticket({**REQUIRED, "ticket_metadata": metadata}).body()
    assert all(isinstance(value, str) for value in body["ticket_metadata"].values())
    assert set(body["ticket_metadata"]) <= set(metadata)
    json.dumps(body, ensure_ascii=False).encode()
    assert parse_ticket(body) == parse_ticket({**REQUIRED, "ticket_metadata": metadata})


def test_contact_keeps_what_it_does_not_know_and_survives_what_it_did_not_expect() -> None:
    contact = Contact.model_validate(
        {"aiContactId": 7, "phone": 56912345678, "blocked": "maybe", "active_ticket_v2": [], "tags": [1], "name": None}
    )
    assert (contact.id, contact.phone, contact.blocked, contact.active_ticket_v2) == ("7", "56912345678", None, None)
    assert contact.model_dump()["tags"] == [1]
    json.dumps(contact.model_dump())


@pytest.mark.parametrize("name", ["phoneId", "phone_id", "channelId", "channel_id", "identifier", "id"])
def test_the_id_of_a_channel_has_many_names(name: str) -> None:
    assert Channel.model_validate({name: 1951}).id == "1951"


@pytest.mark.parametrize("name", ["body", "content", "message", "text"])
def test_the_text_of_a_message_has_many_names(name: str) -> None:
    message = ChatMessage.model_validate({"id": 1, name: "Hola", "direction": "inbound"})
    assert (message.id, message.body, message.direction) == ("1", "Hola", "INBOUND")


def test_a_pipeline_without_stages() -> None:
    assert Pipeline.model_validate({"id": "p", "name": None, "stages": None}).stages == []
