"""Each way in which a request can go wrong, seen from a real client."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.sandbox.helpers import PHONE, Api

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

WHEN = [("before", 0), ("after", 1)]


@pytest.mark.parametrize(("when", "tickets"), WHEN)
@pytest.mark.parametrize("status", [401, 418, 500, 502, 503, 504])
def test_a_status(api: Api, sandbox: Sandbox, status: int, when: str, tickets: int) -> None:
    sandbox.fault(kind="status", status=status, when=when)
    reply = api.open()
    assert reply.status_code == status
    assert reply.json()["statusCode"] == status
    assert sandbox.ticket_count == tickets
    assert api.open().status_code == 200


@pytest.mark.parametrize(("body", "start"), [("html", "<html>"), ("empty", ""), ("json", "{")])
def test_the_body_of_a_status(api: Api, sandbox: Sandbox, body: str, start: str) -> None:
    sandbox.fault(kind="status", status=502, body=body)
    reply = api.open()
    assert reply.text[:6] == start or (start == "{" and reply.text.startswith("{"))
    assert ("html" in reply.headers["Content-Type"]) == (body == "html")


@pytest.mark.parametrize(("when", "tickets"), WHEN)
@pytest.mark.parametrize("mode", ["reset", "close", "half_close"])
def test_a_dropped_connection(api: Api, sandbox: Sandbox, mode: str, when: str, tickets: int) -> None:
    sandbox.fault(kind="drop", mode=mode, when=when)
    with pytest.raises((httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
        api.open()
    assert sandbox.ticket_count == tickets
    (request,) = sandbox.requests()
    assert (request["status"], request["effect"], request["fault"]) == (None, bool(tickets), "drop")


def _connect(sandbox: Sandbox) -> socket.socket:
    host, port = sandbox.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(
        f"GET /api/public/pipeline HTTP/1.1\r\nHost: localhost\r\nx-api-key: {sandbox.api_key}\r\n\r\n".encode()
    )
    return connection


def test_a_connection_can_be_reset_or_ended_in_order(sandbox: Sandbox) -> None:
    sandbox.fault("get_pipelines", kind="drop", mode="reset")
    with _connect(sandbox) as connection, pytest.raises(ConnectionResetError):
        connection.recv(100)
    sandbox.fault("get_pipelines", kind="drop", mode="close")
    with _connect(sandbox) as connection:
        assert connection.recv(100) == b""


def test_a_half_closed_connection_still_accepts_bytes(sandbox: Sandbox) -> None:
    sandbox.fault(kind="drop", mode="half_close", where="get_pipelines")
    with _connect(sandbox) as connection:
        assert connection.recv(100) == b""
        connection.sendall(b"anybody there?")


@pytest.mark.parametrize(("when", "tickets"), WHEN)
def test_a_hang_until_released(api: Api, sandbox: Sandbox, when: str, tickets: int) -> None:
    fault = sandbox.fault(kind="hang", when=when)
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(api.open)
        sandbox.wait_for(lambda _: fault.hits == 1 and sandbox.ticket_count == tickets)
        assert not reply.done()
        sandbox.wait_for(lambda _: bool(sandbox.hanging))
        sandbox.release()
        assert reply.result(timeout=20).status_code == 200
    assert sandbox.ticket_count == 1


def test_a_client_that_gives_up_finds_the_ticket_later(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="hang", when="before")
    api.http.timeout = httpx.Timeout(5, read=0.2)
    with pytest.raises(httpx.ReadTimeout):
        api.open()
    assert sandbox.ticket_count == 0
    sandbox.release()
    sandbox.wait_for(lambda _: sandbox.ticket_count == 1)


def test_a_client_that_hangs_up_during_the_latency_has_opened_a_ticket(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(latency_ms=400)
    api.http.timeout = httpx.Timeout(5, read=0.1)
    with pytest.raises(httpx.ReadTimeout):
        api.open()
    api.http.close()
    sandbox.wait_for(lambda _: sandbox.ticket_count == 1)


def test_half_a_request_has_no_effect(sandbox: Sandbox) -> None:
    path = "/api/public/ticket/open/web-whatsapp/qr-main"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {sandbox.api_key}\r\n"
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{"to_'.encode())
        sandbox.wait_for(lambda _: sandbox.request_count == 1)
    with _connect(sandbox) as connection:
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert sandbox.tickets() == []
    assert sandbox.requests()[0]["effect"] is False


def test_a_hang_of_some_seconds_ends_by_itself(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="hang", seconds=0.01)
    assert api.open().status_code == 200


@pytest.mark.parametrize(("when", "tickets"), WHEN)
def test_a_truncated_reply(api: Api, sandbox: Sandbox, when: str, tickets: int) -> None:
    sandbox.fault(kind="truncated", when=when)
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        api.open()
    assert sandbox.ticket_count == tickets


def test_a_malformed_reply(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="malformed")
    reply = api.open()
    assert reply.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        reply.json()
    assert sandbox.ticket_count == 1


@pytest.mark.parametrize(
    ("failure", "part"), [("success", {"success": False}), ("status", {"status": "error"}), ("ok", {"ok": False})]
)
def test_a_success_that_says_it_failed(api: Api, sandbox: Sandbox, failure: str, part: dict[str, Any]) -> None:
    sandbox.fault(kind="failure_body", failure=failure)
    reply = api.open()
    assert reply.status_code == 200
    assert reply.json() | part == reply.json()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_reply(api: Api, sandbox: Sandbox, chunked: bool) -> None:
    sandbox.fault(kind="huge", chunked=chunked)
    reply = api.open()
    assert len(reply.content) > 1024 * 1024
    assert ("Content-Length" in reply.headers) is not chunked
    assert reply.json()["status"] == "ok"


def test_a_redirect_to_another_host(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="redirect", location="http://127.0.0.1:9/stolen")
    reply = api.open()
    assert (reply.status_code, reply.headers["Location"]) == (307, "http://127.0.0.1:9/stolen")
    assert sandbox.ticket_count == 0


def test_a_reply_that_drips(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="slow", seconds=0)
    with api.http.stream("POST", "/api/public/ticket/open/web-whatsapp/qr-main", json={}) as reply:
        assert len(list(reply.iter_raw())) > 1


@pytest.mark.parametrize(("form", "expected"), [("seconds", "7"), ("date", " GMT"), ("none", None)])
def test_too_many_requests(api: Api, sandbox: Sandbox, form: str, expected: str | None) -> None:
    sandbox.fault(kind="rate_limit", retry_after=7, retry_after_form=form)
    reply = api.open()
    assert reply.status_code == 429
    header = reply.headers.get("Retry-After")
    assert header is None if expected is None else header.endswith(expected)
    assert sandbox.ticket_count == 0


def test_a_kept_connection_that_closes_after_the_reply(sandbox: Sandbox) -> None:
    sandbox.fault(kind="close_after_reply", where="get_pipelines")
    with _connect(sandbox) as connection:
        reply = b""
        while part := connection.recv(65536):
            reply += part
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in head.lower()
    assert body.endswith(b"]")


def test_an_idle_connection_that_the_server_has_given_up(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="drop", reused=True)
    api.opened()
    with pytest.raises(httpx.TransportError):
        api.open()
    api.opened()
    assert [request["reused"] for request in sandbox.requests()] == [False, True, False]


def test_a_reply_without_the_contact(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="missing_id")
    assert api.open().json() == {"status": "ok"}


def test_a_reply_whose_status_is_not_ok(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="bad_status")
    assert api.open().json()["status"] == "pending"


def test_a_ticket_whose_message_fails(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="message_fails")
    assert api.open().status_code == 500
    assert sandbox.ticket_count == 1
    assert sandbox.messages() == []


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({}, [0]),
        ({"times": 2}, [0, 1]),
        ({"times": "forever"}, [0, 1, 2, 3, 4, 5]),
        ({"nth": 3}, [2]),
        ({"nth": 3, "times": 2}, [2, 3]),
        ({"every": 2}, [1, 3, 5]),
        ({"every": 2, "times": 1}, [1]),
        ({"probability": 1.0}, [0, 1, 2, 3, 4, 5]),
        ({"probability": 0.0}, []),
    ],
)
def test_which_requests_are_hit(api: Api, sandbox: Sandbox, rule: dict[str, Any], hit: list[int]) -> None:
    fault = sandbox.fault(kind="status", **rule)
    assert [number for number in range(6) if api.open().status_code == 500] == hit
    assert (fault.seen, fault.hits) == (6, len(hit))


def test_a_probability_is_the_same_for_the_same_seed(api: Api, sandbox: Sandbox) -> None:
    def run(seed: int) -> list[int]:
        sandbox.clear_faults()
        sandbox.fault(kind="status", probability=0.5, seed=seed)
        return [api.open().status_code for _ in range(20)]

    assert run(1) == run(1) != run(2)


def test_only_some_numbers_or_endpoints_are_hit(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="status", phone="+56 9 0000", times="forever")
    sandbox.fault(kind="status", phone=lambda digits: digits.endswith("1"), times="forever", status=503)
    sandbox.fault("search_contacts", kind="status", times="forever")
    assert [api.open(to_phone_number=f"+5691111111{end}").status_code for end in (1, 2)] == [503, 200]
    assert api.open(to_phone_number="+56900000000").status_code == 500
    assert api.search(phone=PHONE).status_code == 500
    assert api.contacts(days=1).status_code == 200
    sandbox.fault("*", kind="status", status=504, times="forever")
    assert api.contacts(days=1).status_code == 504
    sandbox.clear_faults()
    assert api.search(phone=PHONE).status_code == 200


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({}, "kind"),
        ({"kind": "explode"}, "kind"),
        ({"kind": "status", "where": "openTicket"}, "where"),
        ({"kind": "status", "when": "later"}, "when"),
        ({"kind": "status", "tims": 1}, "tims"),
        ({"kind": "drop", "mode": "softly"}, "mode"),
        ({"kind": "drop", "times": "often"}, "times: .* a valid integer or Input should be 'forever'"),
    ],
)
def test_a_wrong_fault_is_refused_and_named(sandbox: Sandbox, rule: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sandbox.fault(**rule)


def test_parallel_requests_each_get_their_own_fate(sandbox: Sandbox) -> None:
    sandbox.fault(kind="status", every=2)
    barrier = threading.Barrier(8)

    def post(number: int) -> int:
        with httpx.Client(base_url=sandbox.url, headers={"x-api-key": sandbox.api_key}) as http:
            barrier.wait()
            return Api(http).open(to_phone_number=f"+5690000000{number}").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(post, range(8)))
    assert statuses == [200] * 4 + [500] * 4
    assert sandbox.ticket_count == 4
