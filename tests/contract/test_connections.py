"""Between a request and the wire: kept connections, the last look before the bytes leave, and the deadline."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.contract.given import OPENED, TICKET, settings_for
from tests.contract.wire import WireServer, again, drip, forever, hang, raw, reply, running_wire
from vambe_provider.api import AsyncVambeClient, ConnectionSettings, OpenedTicket, VambeClient
from vambe_provider.api.environment import CA_VARIABLES
from vambe_provider.exceptions import (
    VambeMaybeSentError,
    VambeNotSentError,
    VambeTicketHeldError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Run


def opened(contact: str) -> bytes:
    body = json.dumps({"aiContactId": contact, "status": "ok"})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


def open_ticket(client: Any) -> Any:
    return client.open_ticket(TICKET)


class TestKeptConnections:
    def test_a_reply_that_is_sent_twice_at_once_is_not_the_next_ones(self, run: Run, wire: WireServer) -> None:
        wire.steps = [raw(opened("a") * 2, close=False), raw(opened("b"), close=False)]
        first, second = run(settings_for(wire), open_ticket, open_ticket)
        assert (first.ai_contact_id, second.ai_contact_id) == ("a", "b")
        assert [seen.connection for seen in wire.seen] == [1, 2]

    def test_a_reply_that_is_sent_again_while_the_loop_is_blocked_is_not_the_next_ones(
        self, run: Run, wire: WireServer
    ) -> None:
        asked, done = threading.Event(), threading.Event()
        wire.steps = [again(opened("a"), asked=asked, done=done), raw(opened("b"), close=False)]

        def meanwhile(_: Any) -> None:
            asked.set()
            assert done.wait(30)

        first, _, second = run(settings_for(wire), open_ticket, meanwhile, open_ticket)
        assert (first.ai_contact_id, second.ai_contact_id) == ("a", "b")
        assert [seen.connection for seen in wire.seen] == [1, 2]

    async def test_a_reply_that_is_sent_again_while_the_loop_runs_is_not_the_next_ones(self, wire: WireServer) -> None:
        asked, done = threading.Event(), threading.Event()
        wire.steps = [again(opened("a"), asked=asked, done=done), raw(opened("b"), close=False)]
        async with AsyncVambeClient(settings_for(wire)) as client:
            first = await client.open_ticket(TICKET)
            asked.set()
            assert await asyncio.to_thread(done.wait, 30)
            second = await client.open_ticket(TICKET)
        assert (first.ai_contact_id, second.ai_contact_id) == ("a", "b")
        assert [seen.connection for seen in wire.seen] == [1, 2]

    def test_a_connection_that_ends_while_nobody_looks_costs_nothing(self, run: Run, wire: WireServer) -> None:
        ended = threading.Event()

        async def then_end(writer: asyncio.StreamWriter) -> None:
            writer.write(opened("a"))
            await writer.drain()
            writer.close()
            ended.set()

        wire.steps = [then_end, raw(opened("b"), close=False)]
        first, _, second = run(settings_for(wire), open_ticket, lambda _: ended.wait(30), open_ticket)
        assert (first.ai_contact_id, second.ai_contact_id) == ("a", "b")


class LateServer:
    """A TLS server that does something between accepting a connection and greeting it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.meanwhile = lambda: None
        self.received = b""
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        self.meanwhile()
        with self._context.wrap_socket(plain, server_side=True) as connection:
            self.received = connection.recv(100_000)
            if self.received:
                while not self.received.endswith(b"}"):
                    self.received += connection.recv(100_000)
                connection.sendall(opened("a"))

    def close(self) -> None:
        self._thread.join(30)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateServer]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = LateServer(context)
    yield server
    server.close()


class Lease:
    """A lease that somebody ends while a request waits."""

    def __init__(self) -> None:
        self.holds = True
        self.asked = 0

    def end(self) -> None:
        self.holds = False

    def __call__(self) -> None:
        self.asked += 1
        if not self.holds:
            raise VambeNotSentError("The lease ran out before the ticket could be posted")


def settings_of(url: str) -> ConnectionSettings:
    return ConnectionSettings(api_key="k", base_url=url, phone_id="qr-main", timeout=30)


class TestGuard:
    def test_a_lease_that_ends_while_the_connection_is_made_keeps_every_byte_back(
        self, run: Run, late: LateServer
    ) -> None:
        lease = Lease()
        late.meanwhile = lease.end
        (error,) = run(settings_of(late.url), lambda client: client.open_ticket(TICKET, guard=lease))
        late.close()
        assert type(error) is VambeNotSentError
        assert str(error) == "The lease ran out before the ticket could be posted. Nothing was sent."
        assert (error.sent, lease.asked, late.received) == ("no", 1, b"")

    def test_a_lease_that_holds_is_asked_once_and_changes_nothing(self, run: Run, late: LateServer) -> None:
        lease = Lease()
        (result,) = run(settings_of(late.url), lambda client: client.open_ticket(TICKET, guard=lease))
        assert isinstance(result, OpenedTicket)
        assert lease.asked == 1

    def test_a_kept_connection_is_guarded_too(self, run: Run, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        over = Lease()
        over.end()
        results = run(
            settings_for(wire),
            open_ticket,
            lambda client: client.open_ticket(TICKET, guard=over),
            open_ticket,
        )
        assert [type(result) for result in results] == [OpenedTicket, VambeNotSentError, OpenedTicket]
        assert len(wire.seen) == 2

    def test_another_error_of_ours_comes_out_as_it_is(self, run: Run, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        held = VambeTicketHeldError("somebody else's")

        def guard() -> None:
            raise held

        (error,) = run(settings_for(wire), lambda client: client.open_ticket(TICKET, guard=guard))
        assert error is held
        assert wire.seen == []

    def test_a_guard_with_a_mistake_in_it_keeps_the_request_back(self, run: Run, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]

        def guard() -> None:
            raise KeyError("a mistake")

        (error,) = run(settings_for(wire), lambda client: client.open_ticket(TICKET, guard=guard))
        assert (type(error), error.sent) == (VambeNotSentError, "no")
        assert wire.seen == []

    def test_many_guards_of_one_client_each_guard_their_own_request(self, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        leases = [Lease() for _ in range(20)]
        for lease in leases[::2]:
            lease.end()

        async def main() -> list[Any]:
            async with AsyncVambeClient(settings_for(wire), max_connections=3) as client:
                waiting = [client.open_ticket(TICKET, guard=lease) for lease in leases]
                return await asyncio.gather(*waiting, return_exceptions=True)

        results = asyncio.run(main())
        assert [type(result) for result in results] == [VambeNotSentError, OpenedTicket] * 10
        assert len(wire.seen) == 10


ENDLESS = {
    "header": drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
    "100 Continue": forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": forever(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "status line": drip(b"HTTP/1.1 200 "),
    "body with a length": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
    "body without a length": drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunk": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "nothing": hang(),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_no_reply_holds_a_request_beyond_its_timeout(name: str, run: Run, wire: WireServer) -> None:
    """Without a deadline for the whole request each of these would last until the test is stopped."""
    wire.steps = [ENDLESS[name]]
    (error,) = run(settings_for(wire, timeout=0.5), open_ticket)
    assert type(error) is VambeMaybeSentError


def test_a_body_of_exactly_one_mebibyte_is_read(run: Run, wire: WireServer) -> None:
    body = OPENED.encode().ljust(1024 * 1024)
    wire.steps = [reply(body), reply(body + b" "), raw(b"HTTP/1.1 200 OK\r\n\r\n" + body + b" ")]
    results = run(settings_for(wire), *[open_ticket] * 3)
    assert [type(result) for result in results] == [OpenedTicket, VambeMaybeSentError, VambeMaybeSentError]
    assert "larger than 1 MiB" in str(results[1])
    assert "larger than 1 MiB" in str(results[2])


class TestBlockingClient:
    def test_it_works_where_an_event_loop_runs_already(self, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]

        async def main() -> Any:
            with VambeClient(settings_for(wire)) as client:
                return client.open_ticket(TICKET)

        assert isinstance(asyncio.run(main()), OpenedTicket)

    def test_it_can_be_closed_and_used_again(self, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        client = VambeClient(settings_for(wire))
        for _ in range(2):
            assert isinstance(client.open_ticket(TICKET), OpenedTicket)
            client.close()
            client.close()
        assert [seen.connection for seen in wire.seen] == [1, 2]

    def test_threads_that_share_it_wait_for_each_other(self, wire: WireServer) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        results: list[Any] = []
        with VambeClient(settings_for(wire)) as client:
            threads = [threading.Thread(target=lambda: results.append(open_ticket(client))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [type(result) for result in results] == [OpenedTicket] * 8

    def test_one_that_is_forgotten_complains_about_nothing(
        self, wire: WireServer, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
    ) -> None:
        wire.steps = [raw(opened("a"), close=False)]
        client = VambeClient(settings_for(wire))
        open_ticket(client)
        del client
        import gc

        gc.collect()
        assert not [record for record in caplog.records if "nclosed" in record.getMessage()]
        assert not [warning for warning in recwarn if "unclosed" in str(warning.message).lower()]


def test_a_company_certificate_is_trusted_through_the_variable_of_requests(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with running_wire(tls=context) as server:
        server.steps = [raw(opened("a"), close=False)]
        url = f"https://localhost:{server.port}"
        for name in CA_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        (error,) = run(settings_of(url), open_ticket)
        assert type(error) is VambeNotSentError
        assert "SSL_CERT_FILE or REQUESTS_CA_BUNDLE" in str(error)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        (result,) = run(settings_of(url), open_ticket)
        assert isinstance(result, OpenedTicket)
        # OpenSSL's own variable goes before that of another library; in this folder it finds no hashed names.
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        (error,) = run(settings_of(url), open_ticket)
        assert type(error) is VambeNotSentError
        assert len(server.seen) == 1
