from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.api.redact import MAX_SAID, said, sent_texts

UUID = "df980fc8-b6db-4820-bf22-2969482d106d"


def said_of(body: Any, **fields: Any) -> str | None:
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return said(data, **fields)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"statusCode": 400, "message": "bad stage", "error": "Bad Request"}, "bad stage; Bad Request"),
        ({"message": ["a must be b", "c is empty"]}, "a must be b; c is empty"),
        ({"message": {"message": "deep"}}, "deep"),
        ({"errors": [{"path": ["message", "content"], "message": "Required"}]}, "message.content: Required"),
        ({"success": False, "error": True, "detail": "no sender"}, "no sender"),
        ({"data": {"message": "inside"}}, "inside"),
        ({"data": {}, "code": 17}, '{"data": {}, "code": 17}'),
        ("only text", "only text"),
        ('"json text"', "json text"),
        ("[1, null]", "1"),
        ("null", None),
        ("", None),
        ("  \n ", None),
        ("<html><head><title>502 Bad &amp; ugly</title></head>", "502 Bad & ugly"),
        ("<h1>Oops</h1><script>var x = 1</script><p>again</p>", "Oops again"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
        ("[" * 3000, "[" * 499 + "…"),
        (f"contact {UUID} since 2026-11-22T10:00:00.000Z", f"contact {UUID} since 2026-11-22T10:00:00.000Z"),
        ("call +56 9 1234-5678 now", "call […] now"),
        ("56912345678", "[…]"),
        ("code 1234567", "code 1234567"),
        ("mail maria.r+x@sub.example.com, please", "mail […], please"),
    ],
)
def test_what_a_body_says(body: Any, text: str | None) -> None:
    assert said_of(body) == text


def test_the_key_never_comes_back() -> None:
    assert said_of("your key abc-123 is wrong", secrets=["abc-123"]) == "your key […] is wrong"


def test_what_was_sent_does_not_come_back_whole_or_in_part() -> None:
    body = {
        "stage_id": "urgent",
        "contact_name": "Ana Núñez",
        "ticket_metadata": {"order": "ORD-12345", "list": ["Calle Larga 12"], "paid": True, "n": 7},
        "message": {"content": "Hola Ana, tu pedido llega mañana", "templateId": "tpl-1"},
    }
    echo = "stage urgent, template tpl-1: NÚÑEZ (ana) with ORD-12345 at calle larga 12 got 'tu pedido llega'; Anatomy"
    text = said_of(echo, sent=sent_texts(body))
    assert text == "stage urgent, template tpl-1: […] ([…]) with […] at […] got '[…]'; Anatomy"


def test_letters_that_change_their_length_do_not_shift_what_is_hidden() -> None:
    assert said_of("İİİ secreta İ", sent=["secreta"]) == "İİİ […] İ"


@given(st.text(), st.lists(st.text(min_size=3), max_size=3))
def test_anything_can_be_said(text: str, pieces: list[str]) -> None:
    result = said(text.encode("utf-8", "replace"), sent=pieces)
    assert result is None or len(result) <= MAX_SAID


@given(st.from_regex(r"[a-z ]{0,20}\+?[0-9]([ ().-]?[0-9]){7,14}[a-z ]{0,20}", fullmatch=True))
def test_no_phone_number_is_said(text: str) -> None:
    digits = "".join(char for char in text if char.isdigit())
    assert digits not in "".join(char for char in said_of({"message": text}) or "" if char.isdigit())
