"""Who may talk to the sandbox."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from vambe_provider.sandbox import running_sandbox
from vambe_provider.sandbox import state as state_module
from vambe_provider.sandbox.guard import is_loopback

if TYPE_CHECKING:
    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox

KEY = "a key of my own"
EVERYWHERE = "0.0.0.0"


@pytest.mark.parametrize(
    "path", ["/", "/pipeline", "/__sandbox__/state", "/__sandbox__/requests", "/api/public/pipeline"]
)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8700", "localhost.evil.example", "192.0.2.1", "[::2]", "["]
)
def test_a_name_that_was_made_to_lead_here_reads_nothing(http: httpx.Client, api: Api, path: str, host: str) -> None:
    api.opened(contact_name="Ana")
    reply = http.get(path, headers={"Host": host})
    assert reply.status_code in (400, 403)
    assert "Ana" not in reply.text
    assert "56912345678" not in reply.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:1", "127.8.8.8:8700", "[::1]:8700", "vambe.localhost", "LOCALHOST."]
)
def test_names_of_this_machine_are_answered(http: httpx.Client, host: str) -> None:
    assert http.get("/", headers={"Host": host}).status_code == 200


def test_a_change_needs_a_good_name_too(http: httpx.Client, sandbox: Sandbox, api: Api) -> None:
    api.opened()
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert http.post("/__sandbox__/reset", headers=evil).status_code == 403
    assert sandbox.ticket_count == 1


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "", "192.0.2.7"])
@pytest.mark.parametrize("switches", [{}, {"api_key": "short"}])
def test_other_machines_need_a_key_of_ones_own(host: str, switches: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--api-key"), running_sandbox(host=host, **switches):
        pass


def test_the_command_refuses_other_machines_without_a_key() -> None:
    command = [sys.executable, "-m", "vambe_provider.sandbox", "--host", EVERYWHERE, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--api-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_a_public_address_the_page_and_the_control_api_ask_for_the_key() -> None:
    with running_sandbox(host=EVERYWHERE, api_key=KEY) as sandbox:
        address = sandbox.url.replace(EVERYWHERE, "127.0.0.1")
        for path in ("/", "/__sandbox__/state", "/pipeline"):
            refused = httpx.get(f"{address}{path}")
            assert refused.status_code == 401
            assert "Basic" in refused.headers["WWW-Authenticate"]
            assert httpx.get(f"{address}{path}", auth=("anybody", "wrong")).status_code == 401
        assert httpx.get(address, auth=("anybody", KEY)).status_code == 200
        assert httpx.get(f"{address}/__sandbox__/state", headers={"x-api-key": KEY}).status_code == 200
        assert httpx.get(f"{address}/api/public/pipeline").status_code == 401


def test_the_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    file.touch(mode=0o644)
    with running_sandbox(state=file) as sandbox:
        sandbox.seed_contact("+56 9 6123 4567")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("state.sqlite") == 0o600
    assert set(modes.values()) <= {0o600}


def test_the_log_of_requests_forgets_old_bodies(api: Api, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "LOGGED_BYTES", 10_000)
    for number in range(12):
        api.opened(contact_name="x" * 2_000, to_phone_number=f"+5690000000{number:02d}")
    assert sandbox.ticket_count == sandbox.request_count == 12
    kept = sandbox.requests("open_ticket")
    assert [request["phone"] for request in kept] == [
        "5690000000" + f"{number:02d}" for number in range(12 - len(kept), 12)
    ]
    assert 1 < len(kept) < 6


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.2", True), ("::1", True), ("0.0.0.0", False), ("x", False)])
def test_what_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
