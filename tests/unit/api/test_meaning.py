"""What a reply means, as one table of status and body; and what its words are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vambe_provider.api import OpenedTicket, requests
from vambe_provider.api.meaning import Body, error_words, is_api_error, verdict
from vambe_provider.api.replies import MAX_REPLY, Reader, Reply
from vambe_provider.api.words import sender_is_gone, topic_of
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeError,
    VambeMaybeSentError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)

POST = requests.write("close the ticket", "/close", {})
GET = requests.read("read the contact", "/contact")
OPENED = {"aiContactId": "c1", "status": "ok"}
EVERY_STATUS = [100, 101, *range(200, 210), 226, 299, *range(300, 309), *range(400, 432), 451, 460, 498, 499]
EVERY_STATUS += [*range(500, 512), 520, 524, 599, 600, 999]

# What the API itself writes; {status} is that of the reply.
OWN: dict[str, str] = {
    "nest": '{"statusCode": {status}, "message": "no", "error": "x"}',
    "nest with a list": '{"statusCode": {status}, "message": ["a must be b", "c is empty"]}',
    "zod in nest": '{"statusCode": {status}, "message": "no", "errors": [{"path": ["a"], "message": "b"}]}',
    "zod": '{"errors": [{"code": "custom", "path": ["message", "content"], "message": "Required"}]}',
    "a message alone": '{"message": "no"}',
    "status as text": '{"statusCode": "{status}", "message": "no"}',
}
FOREIGN: dict[str, str] = {
    "a page": "<html><head><title>Forbidden</title></head></html>",
    "nothing": "",
    "text": "Cannot POST /api/public/ticket/open",
    "text wrapped in JSON": '"Cannot POST /api/public/ticket/open"',
    "null": "null",
    "a list": '[{"message": "no"}]',
    "another status": '{"statusCode": 777, "message": "no"}',
    "no words": '{"statusCode": {status}}',
    "an empty message": '{"statusCode": {status}, "message": " "}',
    "an error alone": '{"error": "upstream connect error"}',
    "deep": "[" * 100_000,
    "not UTF-8": "\udcff\udcfe",
    "a success": json.dumps(OPENED),
}
REFUSING = {400, 401, 403, 404, 413, 422}


def reply_of(status: int, text: str, *, fault: str | None = None) -> Reply:
    body = text.replace("{status}", str(status)).encode("utf-8", "surrogateescape")
    return Reply(status, {"content-type": "application/json"}, body, fault)


def meaning(reply: Reply, request: requests.Request = POST) -> Any:
    try:
        return Reader(request).opened(reply)
    except VambeError as error:
        return error


@pytest.mark.parametrize("name", [*OWN, *FOREIGN])
@pytest.mark.parametrize("fault", [None, "was cut off"])
def test_the_table_of_status_and_body(name: str, fault: str | None) -> None:
    for status in EVERY_STATUS:
        result = meaning(reply_of(status, {**OWN, **FOREIGN}[name], fault=fault))
        if status == 429:
            expected: type[object] = VambeRateLimitError
        elif status in REFUSING and name in OWN and fault is None:
            expected = VambeAuthError if status in (401, 403) else VambeRefusedError
        elif 200 <= status < 300 and name == "a success" and fault is None:
            expected = OpenedTicket
        else:
            expected = VambeMaybeSentError
        assert type(result) is expected, (status, name, result)


@pytest.mark.parametrize("name", [*OWN, *FOREIGN])
def test_a_read_that_was_not_refused_in_the_apis_own_words_may_be_repeated(name: str) -> None:
    for status in EVERY_STATUS:
        result = meaning(reply_of(status, {**OWN, **FOREIGN}[name]), GET)
        refused = status in REFUSING and name in OWN
        assert isinstance(result, (OpenedTicket, VambeError))
        assert isinstance(result, VambeRefusedError) is refused, (status, name)
        assert refused or isinstance(result, (OpenedTicket, VambeRateLimitError, VambeReadError)), (status, name)


@pytest.mark.parametrize("body", Body)
def test_the_moment_goes_before_the_status(body: Body) -> None:
    assert {verdict(sent=False, status=status, body=body) for status in (None, *EVERY_STATUS)} == {"no"}
    assert verdict(sent=True, status=None, body=body) == "maybe"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"statusCode": 400, "message": "bad stage", "error": "Bad Request"}, "bad stage; Bad Request"),
        ({"message": ["a must be b", "c is empty"]}, "a must be b; c is empty"),
        ({"message": {"message": "deep"}}, "deep"),
        ({"errors": [{"path": ["message", "content"], "message": "Required"}]}, "message.content: Required"),
        ({"errors": [{"path": ["to", 0], "message": "a"}, {"message": "b"}]}, "to.0: a; b"),
        ({"message": "no", "code": "P2002"}, "no; code P2002"),
        ({"code": 17}, "code 17"),
        # What is not known to hold an error may hold anything.
        ({"success": False, "detail": "Maria"}, None),
        ({"data": {"message": "Maria"}, "name": "Maria", "last_message_content": "hush"}, None),
        ({"message": True, "error": 7, "errors": "x"}, "x"),
        ({"message": {"text": "Maria"}}, None),
        ("Maria", None),
        (["Maria"], None),
        (None, None),
    ],
)
def test_the_words_of_an_error(payload: Any, words: str | None) -> None:
    assert error_words(payload) == words


def test_a_body_of_any_depth_has_its_words_read() -> None:
    payload: Any = "x"
    for _ in range(100):
        payload = {"message": [payload]}
    assert error_words(payload) is None
    assert not is_api_error(payload, status=400)


NEEDLE = "Maria Rodriguez"
SILENT = {
    "a read that breaks off": reply_of(200, f'{{"id": "c1", "name": "{NEEDLE}", "chat": [', fault="was cut off"),
    "a read over 1 MiB": reply_of(200, f'{{"name": "{NEEDLE}"' + " " * 100, fault="is larger than 1 MiB"),
    "a read without an id": reply_of(200, json.dumps({"name": NEEDLE, "message": NEEDLE})),
    "a list with one odd item": reply_of(200, json.dumps([{"id": "c1"}, {"name": NEEDLE}])),
    "text": reply_of(200, NEEDLE),
    "text in JSON": reply_of(200, json.dumps(NEEDLE)),
    "an error page": reply_of(503, f"<title>{NEEDLE}</title>"),
    "an error in an unknown form": reply_of(500, json.dumps({"detail": NEEDLE, "data": {"message": NEEDLE}})),
    "an error as JSON text": reply_of(500, json.dumps(NEEDLE)),
    "an error that breaks off": reply_of(500, f'{{"message": "{NEEDLE}"', fault="was cut off"),
    "a redirect": reply_of(302, json.dumps({"message": NEEDLE})),
    "a field named like a person": reply_of(200, json.dumps([{"id": {NEEDLE: 1}}])),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("read", [Reader.contact, Reader.contacts, Reader.pipelines, Reader.opened])
def test_only_the_known_fields_of_an_error_are_quoted(name: str, read: Any) -> None:
    with pytest.raises(VambeError) as caught:
        read(Reader(GET), SILENT[name])
    assert NEEDLE not in str(caught.value)
    assert caught.value.said is None
    assert "bytes of application/json" in str(caught.value) or "redirect" in str(caught.value)


def test_an_error_says_what_came_in_its_place() -> None:
    error = meaning(Reply(403, {"content-type": "text/html; charset=utf-8"}, b"<html>" * 300))
    assert "answered 403 with 1,800 bytes of text/html (not JSON)" in str(error)
    assert "API key" not in str(error)
    odd = meaning(Reply(500, {"content-type": f"x/{'y' * 300}\udcff"}, b"[1, 2]"))
    assert str(odd).encode()
    assert "(a JSON list of 2 items)" in str(odd)
    long = meaning(Reply(200, {}, b" " * MAX_REPLY, "is larger than 1 MiB"))
    assert "at least 1,048,576 bytes of no known type, which is larger than 1 MiB" in str(long)


ABOUT_THE_ROW = [
    "Invalid phone number",
    "to_phone_number must be a number or a string",
    "stage_id must be a UUID",
    "Stage does not exist",
    "email must be an email",
    "message.content must be a string",
    "Número de teléfono inválido",
    "La etapa no existe",
    "The number is not on WhatsApp",
    "message.templateId: template not found",
    "contact not found",
    "No active ticket",
    "metadata.plan must be a string",
]
ABOUT_THE_RUN = {
    "Cannot POST /api/public/api/public/ticket/open/web-whatsapp/qr": "address",
    "no Route matched with those values": "address",
    "Insufficient credits": "credit",
    "Your subscription has expired, please contact support": "credit",
    "Saldo insuficiente": "credit",
    "Invalid API key": "key",
    "Phone id not found": "sender",
    "phoneId does not exist": "sender",
    "Phone ID or stage ID doesn't exist": "sender",
    "The phone is not connected": "sender",
    "La sesión cerrada: escanee el código QR": "sender",
    "El número no está conectado": "sender",
    "Bad Request": "unknown",
    "Something went wrong": "unknown",
    "Unexpected token } in JSON at position 5": "unknown",
}


@pytest.mark.parametrize("words", ABOUT_THE_ROW)
def test_words_that_reject_a_row(words: str) -> None:
    error = meaning(reply_of(400, json.dumps({"statusCode": 400, "message": words})))
    assert isinstance(error, VambeRefusedError)
    assert error.about == "row"


@pytest.mark.parametrize("words", ABOUT_THE_RUN)
def test_words_that_concern_all_rows(words: str) -> None:
    assert topic_of(words, status=400) == ABOUT_THE_RUN[words]
    error = meaning(reply_of(404, json.dumps({"statusCode": 404, "message": words})))
    assert isinstance(error, VambeRefusedError)
    assert error.about == "run"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_concerns_all_rows_whatever_is_said(status: int) -> None:
    for words in ABOUT_THE_ROW:
        error = meaning(reply_of(status, json.dumps({"statusCode": status, "message": words})))
        assert (type(error), error.about) == (VambeAuthError, "run")


def test_a_refusal_that_somebody_else_makes_is_not_the_rows_unless_it_says_so() -> None:
    assert VambeRefusedError("no").about == "run"
    assert VambeRefusedError("no", about="row").about == "row"


def test_a_sender_that_is_gone_is_recognised_in_a_failure_with_a_good_status() -> None:
    error = meaning(reply_of(200, json.dumps({"success": False, "message": "WhatsApp session closed"})))
    assert type(error) is VambeMaybeSentError
    assert sender_is_gone(error)
