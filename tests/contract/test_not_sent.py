"""Failures before the request leaves, and what the environment may and may not change."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.contract.given import OPENED, TICKET, settings_for
from tests.contract.wire import WireServer, closed_port, hang, raw, reply, reset, running_wire
from vambe_provider.api import AsyncVambeClient, ConnectionSettings, OpenedTicket
from vambe_provider.api.environment import CA_VARIABLES
from vambe_provider.exceptions import VambeConfigError, VambeMaybeSentError, VambeNotSentError

if TYPE_CHECKING:
    from tests.contract.conftest import Run


def settings_of(url: str) -> ConnectionSettings:
    return ConnectionSettings(api_key="k", base_url=url, phone_id="qr-main", timeout=30)


@pytest.fixture
def untrusted() -> Iterator[WireServer]:
    """A TLS server whose certificate nobody here trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with running_wire(tls=context) as server:
        server.steps = [reply(OPENED)]
        yield server


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port on which connections are neither accepted nor refused."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    yield port
    for one in [listener, *waiting]:
        one.close()


def test_nobody_listens(run: Run) -> None:
    (error,) = run(settings_of(f"http://127.0.0.1:{closed_port()}"), lambda client: client.open_ticket(TICKET))
    assert (type(error), error.sent) == (VambeNotSentError, "no")
    assert "no connection to 127.0.0.1" in str(error)
    assert "host and port" in str(error)


def test_unknown_host(run: Run) -> None:
    (error,) = run(settings_of("https://vambe.invalid"), lambda client: client.open_ticket(TICKET))
    assert type(error) is VambeNotSentError
    assert "the host name vambe.invalid is not known" in str(error)


def test_untrusted_certificate(run: Run, untrusted: WireServer) -> None:
    url = untrusted.url.replace("http:", "https:")
    (error,) = run(settings_of(url), lambda client: client.open_ticket(TICKET))
    assert type(error) is VambeNotSentError
    assert "no trusted TLS connection to 127.0.0.1" in str(error)
    assert untrusted.seen == []


def test_tls_to_a_port_that_speaks_plain_http(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            conversation, _ = listener.accept()
            with conversation:
                conversation.recv(1000)
                conversation.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        (error,) = run(settings_of(url), lambda client: client.open_ticket(TICKET))
        thread.join(10)
    assert type(error) is VambeNotSentError
    assert "no trusted TLS connection" in str(error)


def test_nobody_accepts(run: Run, full_backlog: int) -> None:
    settings = ConnectionSettings(api_key="k", base_url=f"http://127.0.0.1:{full_backlog}", phone_id="p", timeout=0.4)
    (error,) = run(settings, lambda client: client.open_ticket(TICKET))
    assert (type(error), error.sent) == (VambeNotSentError, "no")


def test_no_free_connection_is_not_sent(wire: WireServer) -> None:
    release = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        release.set()
        await writer.wait_closed()

    wire.steps = [slowly]

    async def main() -> list[object]:
        async with AsyncVambeClient(settings_for(wire, timeout=2), max_connections=1) as client:
            return await asyncio.gather(*(client.open_ticket(TICKET) for _ in range(2)), return_exceptions=True)

    kinds = {type(result) for result in asyncio.run(main())}
    assert kinds == {VambeMaybeSentError, VambeNotSentError}
    assert len(wire.seen) == 1


TUNNELS = {
    "refused with a page": raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\n<html>"),
    "needs a password": raw(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
    "bad gateway": raw(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
    "closed": raw(b""),
    "reset": reset(),
    "not HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "silent": hang(),
    "opened, and then no TLS": raw(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize("name", TUNNELS)
def test_whatever_a_proxy_does_before_the_tunnel_stands_nothing_was_sent(
    name: str, run: Run, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", wire.url.replace("//", "//somebody:hush@"))
    wire.steps = [TUNNELS[name]]
    settings = ConnectionSettings(api_key="k", base_url="https://vambe.invalid", phone_id="qr-main", timeout=1)
    (error,) = run(settings, lambda client: client.open_ticket(TICKET))
    assert (type(error), error.sent) == (VambeNotSentError, "no"), error
    assert "hush" not in str(error)
    assert [seen.method for seen in wire.seen] == ["CONNECT"]
    assert wire.seen[0].headers["proxy-authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "proxy",
    ["http://user:hush@proxy:port", "http://[::1", "http://user:hush@", f"http://{'a' * 64}.example", "ftp://x"],
)
def test_a_proxy_that_cannot_be_one_is_named_at_once(proxy: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(VambeConfigError, match=r"names a proxy for vambe\.invalid that") as caught:
        run(settings_of("https://vambe.invalid"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", CA_VARIABLES)
def test_certificates_that_are_missing_or_broken_are_named_and_nothing_is_sent(
    name: str, run: Run, wire: WireServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for other in CA_VARIABLES:
        monkeypatch.delenv(other, raising=False)
    (tmp_path / "broken.pem").write_text("nothing that a certificate could be")
    for place in ("missing.pem", "broken.pem"):
        monkeypatch.setenv(name, str(tmp_path / place))
        (error,) = run(settings_for(wire), lambda client: client.open_ticket(TICKET))
        assert (type(error), error.sent) == (VambeConfigError, "no")
        assert f"The environment variable {name} names certificates that cannot be read" in str(error)
    assert wire.seen == []


def test_proxy_of_the_environment_is_used_for_a_remote_host(
    run: Run, wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", wire.url)
    wire.steps = [raw(b"HTTP/1.1 403 Forbidden\r\n\r\n")]
    (error,) = run(settings_of("https://vambe.invalid"), lambda client: client.open_ticket(TICKET))
    assert type(error) is VambeNotSentError, "a proxy that does not connect has passed on nothing"
    assert "proxy" in str(error)
    assert [(seen.method, seen.target) for seen in wire.seen] == [("CONNECT", "vambe.invalid:443")]
    assert "x-api-key" not in wire.seen[0].headers


def test_a_loopback_host_needs_no_proxy(run: Run, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    wire.steps = [reply(OPENED)]
    (result,) = run(settings_for(wire), lambda client: client.open_ticket(TICKET))
    assert isinstance(result, OpenedTicket)


def test_no_proxy_is_respected(run: Run, wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", wire.url.removeprefix("http://"))
    monkeypatch.setenv("NO_PROXY", ".invalid")
    (error,) = run(settings_of("https://vambe.invalid"), lambda client: client.open_ticket(TICKET))
    assert "the host name vambe.invalid is not known" in str(error)
    assert wire.seen == []


def test_an_unusable_proxy_is_named_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(VambeConfigError, match="neither http nor https") as caught:
        run(settings_of("https://vambe.invalid"))
    assert "secret" not in str(caught.value)


TRUSTING = """
import asyncio, sys
from vambe_provider.api import AsyncVambeClient, ConnectionSettings, VambeClient

async def main(settings):
    async with AsyncVambeClient(settings) as client:
        await client.get_pipelines()

for url in sys.argv[1:]:
    settings = ConnectionSettings(api_key="k", base_url=url)
    asyncio.run(main(settings))
    with VambeClient(settings) as client:
        client.get_pipelines()
"""


def test_a_company_certificate_is_trusted_through_the_environment(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    environment = {**os.environ, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    with running_wire(tls=context) as server:
        server.steps = [reply("[]")]
        good, bad = f"https://localhost:{server.port}", f"https://127.0.0.1:{server.port}"
        for url, expected in ((good, 0), (bad, 1)):
            command = [sys.executable, "-c", TRUSTING, url]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == expected, done.stderr
        assert "no trusted TLS connection to 127.0.0.1" in done.stderr, "the name has to be right, too"
        assert len(server.seen) == 2
