"""What each reply and each fault means, from one table for both clients: the error's kind, and whether anything was
sent.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.given import EMAIL, KEY, OPENED, PHONE, TEXT, TICKET, settings_for
from tests.contract.wire import Step, WireServer, drip, hang, raw, reply, reset
from vambe_provider.api import OpenedTicket
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeError,
    VambeMaybeSentError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Run

PAGE = "<html><head><title>Log in to the hotel</title></head></html>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """What the server does, and the error that opening a ticket then raises; ``reading`` is that of a read."""

    name: str
    step: Step
    opening: type[VambeError] | None
    reading: type[VambeError] | None = None
    says: str = ""
    retry_after: float | None = None
    timeout: float = 30


def body(value: Any) -> str:
    return json.dumps(value)


def nest(status: int, message: str | list[str] = "stage_id must be a UUID") -> str:
    """Return an error in NestJS's form."""
    return body({"statusCode": status, "message": message, "error": "x"})


MAYBE, READ, REFUSED, AUTH = VambeMaybeSentError, VambeReadError, VambeRefusedError, VambeAuthError
LIMIT = VambeRateLimitError
LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"

CASES = [
    # Successes, and replies that look like one.
    Case("200", reply(OPENED), None, READ),
    Case("201", reply(OPENED, status="201 Created"), None, READ),
    Case("no reason phrase", raw(HEAD.replace(b" OK", b" ") + b"\r\n" + OPENED.encode()), None, READ),
    Case("chunked", raw(CHUNKED + f"{len(OPENED):x}\r\n{OPENED}\r\n0\r\n\r\n".encode()), None, READ),
    Case("gzip that nobody asked for", reply(gzip.compress(OPENED.encode()), Content_Encoding="gzip"), None, READ),
    Case("ends with the connection", raw(HEAD + b"\r\n" + OPENED.encode()), None, READ),
    Case("more fields", reply(body({"aiContactId": "c", "status": "ok", "ticket": None})), None, READ),
    Case("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n", close=False), MAYBE, READ, says="not JSON"),
    Case("empty 200", reply(), MAYBE, READ, says="not JSON"),
    Case("HTML with 200", reply(PAGE, Content_Type="text/html"), MAYBE, READ, says="60 bytes of text/html (not JSON)"),
    Case("half of a JSON text", reply(OPENED[:20]), MAYBE, READ, says="not JSON"),
    Case("no contact id", reply(body({"status": "ok"})), MAYBE, READ, says="aiContactId"),
    Case("null contact id", reply(body({"status": "ok", "aiContactId": None})), MAYBE, READ, says="aiContactId"),
    Case("empty contact id", reply(body({"status": "ok", "aiContactId": " "})), MAYBE, READ, says="aiContactId"),
    Case("no status", reply(body({"aiContactId": "c"})), MAYBE, READ, says="does not say ok"),
    Case("pending", reply(body({"aiContactId": "c", "status": "pending"})), MAYBE, READ, says="does not say ok"),
    Case("success false", reply(body({"success": False, "message": "no sender"})), MAYBE, READ, says="no sender"),
    Case("ok false", reply(body({"ok": False, "aiContactId": "c", "status": "ok"})), MAYBE, READ),
    Case("status failed", reply(body({"aiContactId": "c", "status": "failed"})), MAYBE, READ),
    Case(
        "status inside of data",
        reply(body({"status": "ok", "aiContactId": "c", "data": {"status": "REJECTED"}})),
        MAYBE,
        READ,
    ),
    Case(
        "error set",
        reply(body({"aiContactId": "c", "status": "ok", "error": "queue full"})),
        MAYBE,
        READ,
        says="queue full",
    ),
    Case("a text", reply('"ok"'), MAYBE, READ),
    Case("deep nesting", reply("[" * 100_000), MAYBE, READ),
    Case("over 1 MiB", reply(b'{"status":"ok","aiContactId":"c"}' + b" " * 1024 * 1024), MAYBE, READ, says="1 MiB"),
    Case("a zip bomb", reply(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"), MAYBE, READ, says="not JSON"),
    Case("broken gzip", reply(b"\x1f\x8bnonsense", Content_Encoding="gzip"), MAYBE, READ),
    # Refusals: Vambe read it and said no, in its own form.
    Case("400", reply(nest(400), status="400 Bad"), REFUSED, REFUSED, says="stage_id must be a UUID"),
    Case("401", reply(nest(401, "Unauthorized"), status="401 No"), AUTH, AUTH, says="API key"),
    Case("403", reply(nest(403, "Forbidden resource"), status="403 No"), AUTH, AUTH, says="API key"),
    Case("404", reply(nest(404, "Phone id not found"), status="404 No"), REFUSED, REFUSED, says="phone_id"),
    Case(
        "404, wrong path", reply(nest(404, "Cannot POST /v2/api"), status="404 No"), REFUSED, REFUSED, says="base URL"
    ),
    Case("413", reply(nest(413, "request entity too large"), status="413 No"), REFUSED, REFUSED, says="smaller"),
    Case("422", reply(nest(422), status="422 No"), REFUSED, REFUSED),
    # Not in its form, or a status that does not say that nothing was done.
    Case("400, body cut", raw(b"HTTP/1.1 400 Bad\r\nContent-Length: 900\r\n\r\n{"), MAYBE, READ, says="1 bytes"),
    Case("400 of a page", reply(PAGE, status="400 Bad"), MAYBE, READ, says="Something between this machine and Vambe"),
    Case("401 without a body", reply(status="401 Unauthorized"), MAYBE, READ),
    Case(
        "403 of a firewall",
        reply(PAGE, status="403 Forbidden", Content_Type="text/html"),
        MAYBE,
        READ,
        says="firewalls",
    ),
    Case("404 as text", reply("Cannot POST /api", status="404 Not Found", Content_Type="text/plain"), MAYBE, READ),
    Case("400 that repeats 500", reply(nest(500), status="400 Bad"), MAYBE, READ),
    *[
        Case(f"{status}", reply(nest(status), status=f"{status} X"), MAYBE, READ, says="stage_id must be")
        for status in (402, 405, 408, 409, 410, 415, 421, 423, 425, 431, 451, 460, 499)
    ],
    # Turned away: safe to repeat.
    Case("429 with seconds", reply(status="429 Slow", Retry_After="0"), LIMIT, LIMIT, retry_after=0.0),
    Case("429 with a past date", reply(status="429 Slow", Retry_After=LONG_AGO), LIMIT, LIMIT, retry_after=0.0),
    Case("429 without a header", reply(status="429 Slow"), LIMIT, LIMIT),
    Case("429 with nonsense", reply(status="429 Slow", Retry_After="nan"), LIMIT, LIMIT),
    # Nobody can tell.
    Case("500", reply(nest(500), status="500 Internal Server Error"), MAYBE, READ, says="stage_id must be"),
    Case("502 with a page", reply(PAGE, status="502 Bad Gateway"), MAYBE, READ, says="answered 502 with 60 bytes"),
    Case("503", reply(status="503 Unavailable", Retry_After="0"), MAYBE, READ, retry_after=0.0),
    Case("520", reply(status="520 Unknown"), MAYBE, READ),
    # Redirects are never followed.
    Case(
        "301",
        reply(status="301 Moved", Location="https://elsewhere.example/x?key=1"),
        MAYBE,
        READ,
        says="https://elsewhere.example,",
    ),
    Case("307", reply(status="307 Temporary", Location="//["), MAYBE, READ, says="final address"),
    Case("308", reply(status="308 Permanent"), MAYBE, READ),
    Case("302", reply(status="302 Found", Location="/login"), MAYBE, READ),
    Case("303", reply(status="303 See Other", Location="/x"), MAYBE, READ),
    Case("101", raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), MAYBE, READ),
    Case("600", reply(nest(600), status="600 What"), MAYBE, READ),
    # The connection breaks after the request.
    Case("closed without a reply", raw(b""), MAYBE, READ),
    Case("reset without a reply", reset(), MAYBE, READ),
    Case("half a status line", raw(b"HTTP/1."), MAYBE, READ),
    Case("not HTTP", raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), MAYBE, READ),
    Case("half of the headers", raw(HEAD), MAYBE, READ),
    Case(
        "half of the body",
        raw(HEAD + b"Content-Length: 70\r\n\r\n" + OPENED[:30].encode()),
        MAYBE,
        READ,
        says="cut off",
    ),
    Case("half of the chunks", raw(CHUNKED + b"46\r\n{"), MAYBE, READ, says="cut off"),
    Case("broken chunks", raw(CHUNKED + b"zz\r\n{"), MAYBE, READ),
    Case("silence", hang(), MAYBE, READ, timeout=1),
    Case("a body that never ends", drip(HEAD + b"Content-Length: 9000\r\n\r\n"), MAYBE, READ, timeout=1),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_reply_to_a_post_means(case: Case, run: Run, wire: WireServer) -> None:
    wire.steps = [case.step]
    (result,) = run(settings_for(wire, timeout=case.timeout), lambda client: client.open_ticket(TICKET))
    if case.opening is None:
        assert isinstance(result, OpenedTicket), result
        assert result.ai_contact_id in OPENED
    else:
        assert type(result) is case.opening, result
        assert result.sent == ("maybe" if case.opening is MAYBE else "no")
        assert case.says in str(result)
        assert result.retry_after == case.retry_after
        for secret in (KEY, PHONE[1:], EMAIL, TEXT, "Rodriguez"):
            assert secret not in str(result)
    assert len(wire.seen) == 1, "a POST is never repeated"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_reply_to_a_read_means(case: Case, run: Run, wire: WireServer) -> None:
    wire.steps = [case.step]
    settings = settings_for(wire, timeout=case.timeout)
    (result,) = run(settings, lambda client: client.search_contacts(phone=PHONE, email=EMAIL))
    assert type(result) is case.reading, result
    assert result.sent == "no"
    # What another try may mend is tried again; a refusal and a setting that is wrong are not.
    repeatable = case.reading in (READ, VambeRateLimitError)
    assert len(wire.seen) >= 2 if repeatable else len(wire.seen) == 1
    for secret in (KEY, PHONE[1:], EMAIL):
        assert secret not in str(result)


def test_a_read_succeeds_when_a_later_try_does(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(status="503 Unavailable"), reply('[{"id": "c1", "phone": null}]')]
    (found,) = run(settings_for(wire), lambda client: client.search_contacts(phone="5678"))
    assert [contact.id for contact in found] == ["c1"]


def test_a_read_does_not_wait_longer_than_its_cap(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(status="429 Slow", Retry_After="3000")]
    (error,) = run(settings_for(wire), lambda client: client.get_pipelines())
    assert (type(error), error.retry_after, len(wire.seen)) == (VambeRateLimitError, 3000.0, 1)


def test_a_connection_that_dies_under_a_post_is_no_reason_to_send_it_again(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(OPENED), raw(b""), reply(OPENED)]
    first, second = run(settings_for(wire), *[lambda client: client.open_ticket(TICKET)] * 2)
    assert isinstance(first, OpenedTicket)
    assert type(second) is VambeMaybeSentError
    assert [seen.connection for seen in wire.seen] == [1, 1], "the kept connection was used, and nothing followed"


def test_a_connection_that_the_server_closed_is_not_used_again(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(OPENED, close=True, Connection="close")]
    results = run(settings_for(wire), *[lambda client: client.open_ticket(TICKET)] * 2)
    assert [type(result) for result in results] == [OpenedTicket, OpenedTicket]
    assert [seen.connection for seen in wire.seen] == [1, 2]


def test_a_reply_that_is_too_long_does_not_spoil_the_next_call(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(b"x" * (3 * 1024 * 1024)), reply(OPENED)]
    first, second = run(settings_for(wire), *[lambda client: client.open_ticket(TICKET)] * 2)
    assert type(first) is VambeMaybeSentError
    assert isinstance(second, OpenedTicket)


DONE = [
    Case("empty", reply(), None),
    Case("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n", close=False), None),
    Case("ok", reply(body({"status": "ok"}), status="201 Created"), None),
    Case("a list", reply("[]"), None),
    Case("a hotel's page", reply("<html><title>Log in</title></html>"), MAYBE),
    Case("failed", reply(body({"status": "error"})), MAYBE),
    Case("cut off", raw(HEAD + b"Content-Length: 70\r\n\r\n"), MAYBE, says="cut off"),
    Case("400", reply(nest(400, "no active ticket"), status="400 Bad Request"), REFUSED),
    Case("400 without a body", reply(status="400 Bad Request"), MAYBE),
    Case("503 without a body", reply(status="503 Unavailable"), MAYBE),
    Case("closed", raw(b""), MAYBE),
]


@pytest.mark.parametrize("case", DONE, ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["close_ticket", "update_contact_metadata", "update_ticket_amount"])
def test_what_a_reply_to_another_write_means(case: Case, name: str, run: Run, wire: WireServer) -> None:
    acts = {
        "close_ticket": lambda client: client.close_ticket("c1"),
        "update_contact_metadata": lambda client: client.update_contact_metadata("c1", {"a": "b"}),
        "update_ticket_amount": lambda client: client.update_ticket_amount(1, ticket_id="t1"),
    }
    wire.steps = [case.step]
    (result,) = run(settings_for(wire), acts[name])
    if case.opening is None:
        assert result is None
    else:
        assert type(result) is case.opening, result
        assert case.says in str(result)
    assert len(wire.seen) == 1


LISTS = [
    ("a list", "[]", []),
    ("wrapped", '{"items": []}', []),
    ("an object without a list", '{"total": 0}', VambeReadError),
    ("a list of something else", "[1]", VambeReadError),
    ("contacts without an id", '[{"name": "x"}]', VambeReadError),
    ("failed", '{"success": false, "contacts": []}', VambeReadError),
]


@pytest.mark.parametrize(("text", "result"), [item[1:] for item in LISTS], ids=[item[0] for item in LISTS])
def test_a_list_is_read_whole_or_not_at_all(text: str, result: Any, run: Run, wire: WireServer) -> None:
    wire.steps = [reply(text)]
    (found,) = run(settings_for(wire), lambda client: client.search_contacts(phone="1"))
    assert found == result or type(found) is result


def test_a_server_that_ignores_the_page_is_not_read_for_ever(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(body([{"id": "a"}, {"id": "b"}]))]
    (contacts,) = run(settings_for(wire), lambda client: client.list_contacts(days=1, page_size=2))
    assert [contact.id for contact in contacts] == ["a", "b"]
    assert len(wire.seen) == 2


def test_a_list_is_read_no_further_than_asked(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(body([{"id": f"{page}{row}"} for row in "ab"])) for page in range(9)]
    (contacts,) = run(settings_for(wire), lambda client: client.list_contacts(days=1, page_size=2, max_pages=3))
    assert [contact.id for contact in contacts] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert [seen.target.partition("offset=")[2] for seen in wire.seen] == ["0", "2", "4"]


def test_a_contact_that_moves_to_the_next_page_is_returned_once(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(body([{"id": "a"}, {"id": "b"}])), reply(body([{"id": "b"}, {"id": "c"}])), reply("[]")]
    (contacts,) = run(settings_for(wire), lambda client: client.list_contacts(days=1, page_size=2))
    assert [contact.id for contact in contacts] == ["a", "b", "c"]


def test_messages_that_never_end(run: Run, wire: WireServer) -> None:
    wire.steps = [reply(body({"messages": [{"id": 1, "created_at": None}], "hasMore": True}))]
    (messages,) = run(settings_for(wire), lambda client: client.get_messages("c1"))
    assert [message.id for message in messages] == ["1"]
    assert len(wire.seen) == 2, "a page without anything new is the last one"


@pytest.mark.parametrize("key", ["contact", "data", None])
def test_a_contact_in_a_wrapper(key: str | None, run: Run, wire: WireServer) -> None:
    contact = {"id": "c1", "data": {"plan": "x"}, "status": "rejected"}
    wire.steps = [reply(body({key: contact} if key else contact))]
    (found,) = run(settings_for(wire), lambda client: client.get_contact("c1"))
    assert (found.id, found.model_dump()["data"]) == ("c1", {"plan": "x"})
