from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import redact

from vambe_provider import compat
from vambe_provider.api import AsyncVambeClient, VambeClient, endpoints
from vambe_provider.api.settings import EXTRA_FIELDS
from vambe_provider.exceptions import VambeAuthError, VambeConfigError, VambeValidationError
from vambe_provider.hooks.vambe import VambeHook

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"


def _ticket(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    return {"to_phone_number": PHONE, "stage_id": sandbox.stage_id("Support / New"), **fields}


def test_making_a_hook_reads_nothing() -> None:
    VambeHook("a_connection_that_does_not_exist")


def test_one_ticket_is_one_request(vambe_sandbox: Sandbox, connect: Connect) -> None:
    with VambeHook(connect()) as hook:
        opened = hook.open_ticket(_ticket(vambe_sandbox, message="Hola"))
    assert [ticket["ai_contact_id"] for ticket in vambe_sandbox.tickets()] == [opened.ai_contact_id]


def test_the_sender_can_be_another_one_for_one_ticket(vambe_sandbox: Sandbox, connect: Connect) -> None:
    with VambeHook(connect()) as hook:
        hook.open_ticket(_ticket(vambe_sandbox), phone_id="1951", channel="whatsapp")
    assert vambe_sandbox.requests("open_ticket")[0]["path"].endswith("/whatsapp/1951")


def test_a_wrong_request_names_every_problem_and_sends_nothing(vambe_sandbox: Sandbox, connect: Connect) -> None:
    with VambeHook(connect()) as hook, pytest.raises(VambeValidationError) as caught:
        hook.open_ticket({"to_phone_number": "abc", "email": "nobody"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["to_phone_number", "stage_id", "email"]
    assert vambe_sandbox.requests() == []


def test_what_a_support_team_does_with_the_hook(vambe_sandbox: Sandbox, connect: Connect) -> None:
    with VambeHook(connect()) as hook:
        assert hook.find_stage("support / new").id == vambe_sandbox.stage_id("Support / New")
        assert [pipeline.name for pipeline in hook.get_pipelines()] == ["Support", "Orders", "Payments"]
        assert hook.get_channel().id == "qr-main"
        contact = hook.open_ticket(_ticket(vambe_sandbox, message="Hola")).ai_contact_id
        assert [found.id for found in hook.search_contacts(PHONE)] == [contact]
        assert [found.id for found in hook.list_contacts(days=1)] == [contact]
        assert hook.get_contact(contact).id == contact
        vambe_sandbox.customer_replies(contact, "Gracias")
        assert [message.body for message in hook.get_messages(contact)] == ["Hola", "Gracias"]
        hook.update_ticket_metadata({"order": 7}, ai_contact_id=contact)
        hook.update_contact_metadata(contact, {"plan": "gold"})
        hook.update_ticket_amount("1500", currency="clp", ai_contact_id=contact)
        hook.close_ticket(contact)
    [ticket] = vambe_sandbox.tickets()
    assert ticket["ticket_metadata"]["order"] == "7"
    assert ticket["closed_at"]


async def test_the_async_twins_do_the_same(vambe_sandbox: Sandbox, connect: Connect) -> None:
    async with VambeHook(connect()) as hook:
        assert (await hook.afind_stage("Support / New")).id == vambe_sandbox.stage_id("Support / New")
        assert len(await hook.aget_pipelines()) == 3
        assert (await hook.aget_channel("web-whatsapp")).id == "qr-main"
        contact = (await hook.aopen_ticket(_ticket(vambe_sandbox, message="Hola"))).ai_contact_id
        assert [found.id for found in await hook.asearch_contacts(phone=PHONE)] == [contact]
        assert [found.id async for found in hook.alist_contacts(days=1)] == [contact]
        assert (await hook.aget_contact(contact)).id == contact
        assert [message.body for message in await hook.aget_messages(contact)] == ["Hola"]
        await hook.aupdate_ticket_metadata({"order": 7}, ai_contact_id=contact)
        await hook.aupdate_contact_metadata(contact, {"plan": "gold"})
        await hook.aupdate_ticket_amount(1500, currency="CLP", ai_contact_id=contact)
        await hook.aclose_ticket(contact)
    [ticket] = vambe_sandbox.tickets()
    assert ticket["ticket_metadata"]["order"] == "7"
    assert ticket["closed_at"]


def test_every_call_has_an_async_twin_with_the_same_arguments() -> None:
    names = {name for name, call in vars(endpoints).items() if inspect.isgeneratorfunction(call)} - {"_ticket"}
    assert len(names) > 10
    for name in [name for name in names if not name.startswith("_")]:
        call, twin, described = getattr(VambeHook, name), getattr(VambeHook, f"a{name}"), getattr(endpoints, name)
        assert inspect.signature(twin) == inspect.signature(call) == inspect.signature(described)
        assert call.__doc__ == twin.__doc__ == described.__doc__
        for client in (VambeClient, AsyncVambeClient):
            assert getattr(client, name).__doc__ == described.__doc__


class TestStages:
    @pytest.mark.parametrize("stage", ["Support / New", "support/new"])
    async def test_a_ticket_may_name_its_stage(self, vambe_sandbox: Sandbox, connect: Connect, stage: str) -> None:
        ticket = {"to_phone_number": PHONE, "stage": stage}
        with VambeHook(connect()) as hook:
            await asyncio.to_thread(hook.open_ticket, ticket)
        async with VambeHook(connect()) as hook:
            await hook.aopen_ticket(ticket)
        wanted = vambe_sandbox.stage_id("Support / New")
        assert [request["body"]["stage_id"] for request in vambe_sandbox.requests("open_ticket")] == [wanted] * 2

    def test_the_pipelines_are_read_once(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        with VambeHook(connect()) as hook:
            for _ in range(3):
                hook.open_ticket({"to_phone_number": PHONE, "stage": "Support / New"})
        assert len(vambe_sandbox.requests("get_pipelines")) == 1

    def test_a_stage_that_does_not_exist_opens_nothing(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        with VambeHook(connect("sales")) as hook, pytest.raises(VambeConfigError) as caught:
            hook.open_ticket({"to_phone_number": PHONE, "stage": "Suport / New"})
        assert str(caught.value).startswith("connection sales: stage: there is no stage with this name or id.")
        assert "Did you mean Support / New?" in str(caught.value)
        assert vambe_sandbox.requests("open_ticket") == []

    def test_a_wrong_request_is_refused_at_once(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        both = _ticket(vambe_sandbox, stage="Support / New")
        for ticket in ({"to_phone_number": "abc", "stage": "Support / New"}, both):
            with VambeHook(connect()) as hook, pytest.raises(VambeValidationError):
                hook.open_ticket(ticket)
        assert vambe_sandbox.requests() == []


def test_one_hook_serves_one_event_loop_after_the_other(vambe_sandbox: Sandbox, connect: Connect) -> None:
    hook = VambeHook(connect())

    async def once() -> int:
        async with hook:
            return len(await hook.aget_pipelines())

    assert [asyncio.run(once()), asyncio.run(once())] == [3, 3]


class TestTestConnection:
    def test_it_reads_the_pipelines_and_changes_nothing(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        worked, text = VambeHook(connect(port=0)).test_connection()
        assert worked
        assert "3 pipelines with 10 stages" in text
        assert [request["method"] for request in vambe_sandbox.requests()] == ["GET"]

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"password": "another-key"}, "API key is wrong"),
            ({"password": None}, "password: the API key is missing"),
            ({"host": "http://127.0.0.1:1"}, "cannot be reached"),
            ({"host": "http://api.vambe.me"}, "http would send the API key in the clear"),
            ({"extra": {"timeout": "soon"}}, "extra timeout"),
        ],
    )
    def test_it_says_which_part_is_wrong(self, connect: Connect, fields: dict[str, Any], expected: str) -> None:
        worked, text = VambeHook(connect(**fields)).test_connection()
        assert not worked
        assert expected in text
        assert "another-key" not in text

    def test_a_host_that_is_not_vambe(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        worked, text = VambeHook(connect(host=f"{vambe_sandbox.url}/shop")).test_connection()
        assert not worked
        assert "does not look like the Vambe API" in text

    def test_a_vambe_that_is_down(self, vambe_sandbox: Sandbox, connect: Connect) -> None:
        vambe_sandbox.fault("get_pipelines", kind="failure_body", times="forever")
        worked, text = VambeHook(connect()).test_connection()
        assert not worked
        assert "gives no proper answer" in text


class TestSecrets:
    @pytest.mark.parametrize("key", ['a"quoted\\key', "plus+slash/equals=key"])
    def test_no_form_of_the_key_reaches_a_log(self, connect: Connect, key: str) -> None:
        connect(password=key, extra={"rate_store": "redis://me:redis-password@localhost/0"})
        assert key in VambeHook().settings.api_key
        line = " ".join([key, json.dumps(key), repr(key), quote(key), quote(key, safe=""), "redis-password"])
        masked = str(redact(line))
        assert "key" not in masked
        assert "redis-password" not in masked

    def test_the_key_is_in_no_repr_and_in_no_error(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        hook = VambeHook(connect(password="top-secret-key"))
        with caplog.at_level(logging.DEBUG), pytest.raises(VambeAuthError) as caught:
            hook.get_pipelines()
        texts = [str(caught.value), repr(hook), repr(hook.settings), repr(hook.get_conn()), caplog.text]
        assert not [text for text in texts if "top-secret-key" in text]

    def test_a_wrong_connection_is_named(self, connect: Connect) -> None:
        with pytest.raises(VambeConfigError, match="connection other: extra chanel: there is no such field"):
            VambeHook(connect("other", extra={"chanel": "whatsapp"})).get_conn()


class TestWrongConnections:
    @pytest.mark.parametrize("kind", ["slack", "http", ""])
    async def test_the_password_of_another_kind_of_connection_goes_nowhere(
        self, vambe_sandbox: Sandbox, connect: Connect, kind: str
    ) -> None:
        hook = VambeHook(connect("team_slack", conn_type=kind, password="xoxb-token", extra={"rate": "nonsense"}))
        said = f"connection team_slack: its type is {kind or 'empty'}, not vambe."
        with pytest.raises(VambeConfigError) as caught:
            await asyncio.to_thread(hook.get_pipelines)
        assert str(caught.value).startswith(said)
        with pytest.raises(VambeConfigError) as caught:
            await hook.aget_pipelines()
        assert str(caught.value).startswith(said)
        assert vambe_sandbox.requests() == []

    @pytest.mark.parametrize(
        ("extra", "said"),
        [
            ('["phone_id"]', "extra: this is not a JSON object"),
            ('"phone_id"', "extra: this is not a JSON object"),
            ("phone_id=qr-main", "extra: this is not JSON"),
            ('{"phone_id": "secret-id"', "extra: this is not JSON"),
        ],
    )
    async def test_an_extra_that_cannot_be_read_is_named(
        self, vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, extra: str, said: str
    ) -> None:
        fields = {"conn_type": "vambe", "host": vambe_sandbox.url, "password": "k", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps(fields))
        for read in (lambda: asyncio.to_thread(lambda: VambeHook("broken").settings), VambeHook("broken").asettings):
            with pytest.raises(VambeConfigError) as caught:
                await read()
            assert str(caught.value).startswith(f"connection broken: {said}.")
            assert "secret-id" not in str(caught.value)

    async def test_an_error_of_a_call_names_the_connection(self, connect: Connect) -> None:
        hook = VambeHook(connect("sales", password="another-key"))
        with pytest.raises(VambeAuthError, match=r"^connection sales: Could not read the pipelines"):
            hook.get_pipelines()
        async with hook:
            with pytest.raises(VambeAuthError, match=r"^connection sales: Could not read the pipelines"):
                await hook.aget_pipelines()


async def test_settings_are_the_same_sync_and_async(connect: Connect) -> None:
    hook = VambeHook(connect(extra={"timeout": "12", "default_region": None}))
    assert await hook.asettings() == VambeHook().settings
    del os.environ["AIRFLOW_CONN_VAMBE_DEFAULT"]
    assert hook.settings.timeout == 12  # read once


FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [item for item in HookMetaService.hook_meta_data() if item.connection_type == "vambe"]
print(form.hook_name, *(form.extra_fields or ()))
"""


class TestForm:
    def test_the_hook_and_the_provider_describe_the_same_form(self) -> None:
        behaviour = VambeHook.get_ui_field_behaviour()
        assert behaviour["relabeling"]["password"] == "API key"
        assert "port" not in behaviour["hidden_fields"]

    def test_airflow_2_draws_every_field(self) -> None:
        wtforms = pytest.importorskip("wtforms")
        multi_dict = pytest.importorskip("werkzeug.datastructures").MultiDict

        form = type("Form", (wtforms.Form,), VambeHook.get_connection_form_widgets())
        filled = form(multi_dict({"channel": "whatsapp", "timeout": "20"}))
        assert filled.validate(), filled.errors
        assert filled.data["timeout"] == 20
        assert set(filled.data) == set(EXTRA_FIELDS)
        assert not form(multi_dict({"channel": "telegram"})).validate()

    def test_airflow_shows_the_fields_in_its_own_way(self) -> None:
        """Newer versions take it from the provider's metadata, older ones from the hook."""
        if compat.AIRFLOW_V_3_0_PLUS:
            # In a process of its own: Airflow 3.1 replaces modules for this, which other tests have loaded already.
            done = subprocess.run([sys.executable, "-c", FORM], capture_output=True, text=True, check=True)
            name, *fields = done.stdout.splitlines()[-1].split()
            assert name == "Vambe"
            # Airflow 3.0 draws no provider's own fields where the old web interface is not installed.
            drawn = compat.AIRFLOW_V_3_1_PLUS or find_spec("flask_appbuilder") is not None
            assert ({"phone_id", "channel", "timeout"} <= set(fields)) is drawn
        else:
            from airflow.providers_manager import ProvidersManager

            assert "extra__vambe__phone_id" in ProvidersManager().connection_form_widgets
