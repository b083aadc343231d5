from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.api.redact import MAX_SAID, sent_texts, without_people

UUID = "df980fc8-b6db-4820-bf22-2969482d106d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("only text", "only text"),
        ("", None),
        ("  \n ", None),
        (f"contact {UUID} since 2026-11-22T10:00:00.000Z", f"contact {UUID} since 2026-11-22T10:00:00.000Z"),
        ("call +56 9 1234-5678 now", "call […] now"),
        ("call +56\u20119\u20131234\u20145678 now", "call […] now"),
        ("56912345678", "[…]"),
        ("on 2026-11-22 56912345678", "on 2026-11-22 […]"),
        ("code 1234567", "code 1234567"),
        ("mail maria.r+x@sub.example.com, please", "mail […], please"),
        ("mail maria%40example.com or %2B56912345678", "mail […] or […]"),
        ("fullwidth \uff15\uff16\uff19\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "fullwidth […]"),
        ("\x1b[31mred\x1b[0m \u202egnp.exe\u202c \ud83d\x00 end", "[31mred[0m gnp.exe end"),
        ("two\r\nlines\u2028three", "two lines three"),
    ],
)
def test_what_may_be_shown(text: str, shown: str | None) -> None:
    assert without_people(text) == shown


@pytest.mark.parametrize(
    "form",
    ["Secret-Key-123", "secret-key-123", "SECRET-KEY-123", "Secret%2DKey-123", "Secret-Key-1", "U2VjcmV0LUtleS0xMjM="],
)
def test_the_key_never_comes_back(form: str) -> None:
    shown = without_people(f"your key {form} is wrong", secrets=["Secret-Key-123"])
    assert shown is not None
    assert "ecret" not in shown.lower()
    assert "U2Vjcm" not in shown
    assert shown.startswith("your key […]")


def test_what_was_sent_does_not_come_back_whole_or_in_part() -> None:
    body = {
        "stage_id": "urgent",
        "contact_name": "Ana Núñez",
        "ticket_metadata": {"order": "ORD-12345", "list": ["Calle Larga 12"], "paid": True, "n": 7},
        "message": {"content": "Hola Ana, tu pedido llega mañana", "templateId": "tpl-1"},
    }
    echo = "stage urgent, template tpl-1: NÚÑEZ (ana) with ORD-12345 at calle larga 12 got 'tu pedido llega'; Anatomy"
    text = without_people(echo, sent=sent_texts(body))
    assert text == "stage urgent, template tpl-1: […] ([…]) with […] at […] got '[…]'; Anatomy"


def test_letters_that_change_their_length_do_not_shift_what_is_hidden() -> None:
    assert without_people("İİİ secreta İ", sent=["secreta"]) == "İİİ […] İ"


@given(st.text(), st.lists(st.text(min_size=3), max_size=3))
def test_anything_can_be_said(text: str, pieces: list[str]) -> None:
    result = without_people(text, sent=pieces)
    assert result is None or len(result) <= MAX_SAID
    assert result is None or result.encode()


@given(st.from_regex(r"[a-z ]{0,20}\+?[0-9]([ ().-]?[0-9]){7,14}[a-z ]{0,20}", fullmatch=True))
def test_no_phone_number_is_said(text: str) -> None:
    digits = "".join(char for char in text if char.isdigit())
    assert digits not in "".join(char for char in without_people(text) or "" if char.isdigit())
