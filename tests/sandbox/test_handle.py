"""Starting, stopping, waiting, resetting, and the switches."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.sandbox.helpers import Api
from vambe_provider.sandbox import running_sandbox
from vambe_provider.sandbox.storage import StateFileError

if TYPE_CHECKING:
    from pathlib import Path

    from vambe_provider.sandbox import Sandbox


def test_two_run_side_by_side_and_a_stopped_one_is_gone() -> None:
    with running_sandbox() as first:
        with running_sandbox(api_key="other") as second:
            assert first.url != second.url
            assert second.api_key == "other"
        assert httpx.get(f"{first.url}/").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{second.url}/")


def test_a_port_that_is_taken_is_an_error_at_once(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address"), running_sandbox(port=port):
        pass


def test_an_error_inside_the_block_stops_it_too() -> None:
    urls = []

    def fail() -> None:
        with running_sandbox() as sandbox:
            urls.append(sandbox.url)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[0])


def test_it_stops_while_a_request_hangs() -> None:
    with ThreadPoolExecutor() as pool:
        with running_sandbox() as sandbox:
            fault = sandbox.fault("get_pipelines", kind="hang")
            reply = pool.submit(httpx.get, f"{sandbox.url}/api/public/pipeline", timeout=30)
            sandbox.wait_for(lambda _: fault.hits == 1)
        assert reply.exception(timeout=30) is None or isinstance(reply.exception(), httpx.TransportError)


def test_waiting_ends_with_the_change_or_with_an_error(api: Api, sandbox: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(sandbox.wait_for, lambda seen: len(seen.tickets()) == 2, 20)
        api.opened()
        api.opened(to_phone_number="+56900000001")
        waiting.result(timeout=20)
    with pytest.raises(TimeoutError, match="did not get there"):
        sandbox.wait_for(lambda _: False, timeout=0.01)


async def test_waiting_without_blocking_the_loop(sandbox: Sandbox) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url, headers={"x-api-key": sandbox.api_key}) as http:
        waiting = asyncio.create_task(sandbox.wait_for_async(lambda seen: seen.request_count == 1))
        await http.get("/api/public/pipeline")
        await waiting


def test_waiting_sees_a_request_before_and_after_its_answer(api: Api, sandbox: Sandbox) -> None:
    fault = sandbox.fault(kind="hang")
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(api.open)
        sandbox.wait_for(lambda _: fault.hits == 1 and sandbox.hanging == 1)
        assert sandbox.requests()[0]["status"] is None
        sandbox.release()
        sandbox.wait_for(lambda seen: seen.requests()[0]["status"] == 200)
        reply.result()


def test_reset_goes_back_to_the_start(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="status", times="forever")
    sandbox.configure(success_status=201)
    api.open()
    sandbox.reset()
    assert (sandbox.tickets(), sandbox.contacts(), sandbox.messages(), sandbox.requests()) == ([], [], [], [])
    assert api.open().status_code == 200


def test_a_request_from_before_a_reset_has_no_effect_after_it(api: Api, sandbox: Sandbox) -> None:
    sandbox.fault(kind="hang", when="before")
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(api.open)
        sandbox.wait_for(lambda _: sandbox.hanging == 1)
        sandbox.reset()
        assert isinstance(reply.exception(timeout=20), httpx.TransportError)
    assert sandbox.tickets() == []


def test_requests_are_remembered_with_their_bodies(api: Api, sandbox: Sandbox) -> None:
    api.open(email="wrong")
    api.opened()
    api.search(phone="+569")
    first, second, third = sandbox.requests()
    assert (first["endpoint"], first["method"], first["path"]) == (
        "open_ticket",
        "POST",
        "/api/public/ticket/open/web-whatsapp/qr-main",
    )
    assert (first["status"], first["effect"]) == (400, False)
    assert (first["phone"], first["body"]["email"]) == ("56912345678", "wrong")
    assert (second["status"], second["effect"]) == (200, True)
    assert third["query"] == {"phone": "+569"}
    assert sandbox.requests("search_contacts") == [third]


def test_the_request_log_is_bounded() -> None:
    with running_sandbox(request_log=2) as sandbox:
        for _ in range(3):
            httpx.get(f"{sandbox.url}/api/public/pipeline")
        assert (len(sandbox.requests()), sandbox.request_count) == (2, 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sucess_status": 201}, "sucess_status"),
        ({"success_status": 204}, "success_status"),
        ({"success_status": True}, "success_status"),
        ({"strict_required": 1}, "strict_required"),
        ({"latency_ms": "fast"}, "latency_ms"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"disconnected_phones": "qr-main"}, "disconnected_phones"),
        ({"rate_limit": "often"}, "rate_limit"),
        ({"contacts_default_limit": "all"}, "contacts_default_limit"),
    ],
)
def test_a_wrong_switch_is_refused_and_changes_nothing(sandbox: Sandbox, changes: dict[str, Any], named: str) -> None:
    before = sandbox.config
    with pytest.raises(ValueError, match=named):
        sandbox.configure(clock_skew_seconds=5, **changes)
    assert sandbox.config == before


def test_the_handle_shows_no_data_in_its_repr(api: Api, sandbox: Sandbox) -> None:
    api.opened()
    assert repr(sandbox) == f"<Sandbox {sandbox.url}>"


def test_tickets_survive_a_restart_with_a_state_file(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    with running_sandbox(state=file) as sandbox, _api(sandbox) as http:
        api = Api(http)
        first = api.opened(email="a@example.com", ticket_metadata={"n": "1"})
        second = api.opened(to_phone_number="+56900000001")
        api.close(first)
        sandbox.customer_replies(second, "Hi")
        sandbox.merge_contacts(api.opened(to_phone_number="+56900000002"), second)
        before = (sandbox.tickets(), sandbox.contacts(), sandbox.messages())
    with running_sandbox(state=file) as sandbox, _api(sandbox) as http:
        api = Api(http)
        assert (sandbox.tickets(), sandbox.contacts(), sandbox.messages()) == before
        assert api.opened() == first
        assert api.found(email="A@EXAMPLE") == [first]
        assert api.listed(updated_after="2020-01-01T00:00:00Z") == [second, first]
        sandbox.reset()
    with running_sandbox(state=file) as sandbox:
        assert sandbox.tickets() == []


def _api(sandbox: Sandbox) -> httpx.Client:
    return httpx.Client(base_url=sandbox.url, headers={"x-api-key": sandbox.api_key})


@pytest.mark.parametrize("content", [b"no database at all, but some text that is long enough", None])
def test_a_state_file_that_cannot_be_used_is_an_error_with_the_way_out(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "state.sqlite"
    if content is None:
        with running_sandbox(state=file):
            pass
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            unknown = json.dumps({"id": "x", "colour": "red"})
            database.execute("INSERT INTO thing VALUES ('contact', 'x', ?)", (unknown,))
    else:
        file.write_bytes(content)
    with pytest.raises(StateFileError, match=r"cannot be used|delete it"), running_sandbox(state=file):
        pass


def test_a_state_file_in_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot be opened"), running_sandbox(state=tmp_path / "no" / "state"):
        pass


def test_importing_the_package_is_light() -> None:
    code = "import sys, vambe_provider.sandbox; print('aiohttp' in sys.modules, 'airflow' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", "False"]


def test_running_it_needs_neither_airflow_nor_the_rest_of_the_provider() -> None:
    code = (
        "import sys, vambe_provider.sandbox.server, vambe_provider.sandbox.cli\n"
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('vambe_provider.')}\n"
        "print('airflow' in sys.modules, *ours)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", "sandbox"]


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import vambe_provider.sandbox as package

    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018


def test_it_hands_out_a_connection_that_airflow_understands(sandbox: Sandbox) -> None:
    connection = json.loads(sandbox.airflow_connection(rate="10/minute"))
    assert connection["conn_type"] == "vambe"
    assert (connection["host"], connection["password"]) == (sandbox.url, sandbox.api_key)
    assert connection["extra"] == {"phone_id": "qr-main", "rate": "10/minute"}
