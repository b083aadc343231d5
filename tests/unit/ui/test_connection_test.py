"""What the button Test says, asked through Airflow's own API server."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.ui.conftest import Browser, needs_page

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

pytestmark = needs_page
Press = Callable[..., dict[str, Any]]


@pytest.fixture
def press(browser: Browser, vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Press:
    """Return a function that presses the button for a new connection with these fields."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    admin = browser("ada")

    def test(extra: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        form = {
            "connection_id": "vambe_new",
            "conn_type": "vambe",
            "host": vambe_sandbox.url,
            "password": vambe_sandbox.config.api_key,
            "extra": json.dumps(extra or {}),
        }
        headers = {"Authorization": f"Bearer {admin.cookies['_token']}"}
        reply = admin.post("/api/v2/connections/test", json=form | fields, headers=headers)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    return test


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def test_a_connection_without_a_port_works(press: Press) -> None:
    for port in ({}, {"port": None}, {"port": 0}):
        answer = press(**port)
        assert answer["status"], answer
        assert "the key can read 3 pipelines with 10 stages" in answer["message"]


@pytest.mark.parametrize(
    ("extra", "fields", "said", "way_out"),
    [
        ({"timeout": "soon"}, {}, "A value of the connection cannot be used", "Write it as 30."),
        ({"rate": "often"}, {}, "rate: not a rate", "Write it as 10/minute"),
        ({"channel": "telegram"}, {}, "channel: not one of", "leave it empty for web-whatsapp"),
        ({"default_region": "Chile"}, {}, "extra default_region", "Write it as CL, MX or BR."),
        ({"repair": "all"}, {}, "extra repair", "Write one of them, or leave it empty."),
        ({"account": "a" * 200}, {}, "extra account", "such as chile"),
        ({"phone_di": "1"}, {}, "extra phone_di: there is no such field", "Did you mean phone_id?"),
        ({}, {"password": None}, "The connection is not complete", "developer settings"),
        ({}, {"password": "not-the-key"}, "The API key is wrong", "key"),
        ({}, {"host": "http://api.vambe.me"}, "http would send the API key in the clear", "Use https"),
        ({}, {"host": "ftp://api.vambe.me"}, "not an http or https URL", "Write it as https://"),
    ],
)
def test_each_problem_has_a_way_out(
    press: Press, extra: dict[str, Any], fields: dict[str, Any], said: str, way_out: str
) -> None:
    answer = press(extra, **fields)
    assert not answer["status"]
    assert said in answer["message"]
    assert way_out in answer["message"].split(said, 1)[1]
    assert "not-the-key" not in answer["message"]


def test_a_server_that_is_down_and_one_that_is_no_vambe(press: Press, vambe_sandbox: Sandbox) -> None:
    down = press(host=f"http://127.0.0.1:{closed_port()}")
    assert not down["status"]
    assert "The host cannot be reached: check the base URL and the network." in down["message"]
    other = press(host=f"{vambe_sandbox.url}/shop")
    assert not other["status"]
    assert "does not look like the Vambe API: check the base URL." in other["message"]
