"""The Airflow hook: one connection of the type ``vambe``, and the calls of the API that it allows."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from vambe_provider.api import endpoints
from vambe_provider.api.calls import aiterating, awaiting, blocking, iterating
from vambe_provider.compat import BaseHook, async_connection, async_extra, async_mask_secret, mask_secret
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeNotSentError,
    VambeReadError,
    VambeRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from vambe_provider.api import AsyncVambeClient, ConnectionSettings, VambeClient
    from vambe_provider.api.calls import Call
    from vambe_provider.compat import Connection

T = TypeVar("T")


class VambeHook(BaseHook):
    """Talk to Vambe with the settings of an Airflow connection.

    Every call has an async twin with an ``a`` in front of its name, which never blocks the event loop. Reads are
    repeated a few times when the network fails; a call that changes something is one request and is never repeated by
    the hook. The calls, and what they raise, are described in :mod:`vambe_provider.api.endpoints`. Close the hook, or
    use it in a ``with`` or ``async with`` block, to give its network connections back.

    The API key is read from the connection only, is masked in every log, and is sent as ``x-api-key`` and nowhere else.

    :param vambe_conn_id: the connection, of the type ``vambe``. It is read at the first call, not here.
    """

    conn_name_attr = "vambe_conn_id"
    default_conn_name = "vambe_default"
    conn_type = "vambe"
    hook_name = "Vambe"

    def __init__(self, vambe_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.vambe_conn_id = vambe_conn_id
        self._settings: ConnectionSettings | None = None
        self._client: VambeClient | None = None
        self._async_client: tuple[asyncio.AbstractEventLoop, AsyncVambeClient] | None = None

    # The connection

    @property
    def settings(self) -> ConnectionSettings:
        """The settings of the connection, read once and checked.

        :raises AirflowNotFoundException: when there is no such connection.
        :raises VambeConfigError: when a field of it is wrong; names the field.
        """
        if self._settings is None:
            connection = self.get_connection(self.vambe_conn_id)
            _check(self.vambe_conn_id, connection)
            for secret in _secrets(connection.password, connection.extra_dejson):
                mask_secret(secret)
            self._settings = _settings(self.vambe_conn_id, connection, connection.extra_dejson)
        return self._settings

    async def asettings(self) -> ConnectionSettings:
        """Return :attr:`settings` without blocking the event loop."""
        if self._settings is None:
            connection = await async_connection(self.vambe_conn_id)
            _check(self.vambe_conn_id, connection)
            extra = await async_extra(connection)
            for secret in _secrets(connection.password, extra):
                await async_mask_secret(secret)
            self._settings = _settings(self.vambe_conn_id, connection, extra)
        return self._settings

    def get_conn(self) -> VambeClient:
        """Return the client of this hook; it is made at the first call and kept until :meth:`close`."""
        if self._client is None:
            from vambe_provider.api import VambeClient

            self._client = VambeClient(self.settings)
        return self._client

    async def aget_conn(self) -> AsyncVambeClient:
        """Return the async client of this hook, made at the first call in an event loop, kept until :meth:`aclose`."""
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._async_client[0] is not loop:
            from vambe_provider.api import AsyncVambeClient

            self._async_client = (loop, AsyncVambeClient(await self.asettings()))
        return self._async_client[1]

    def close(self) -> None:
        """Close the network connections of the sync calls."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the network connections of the async calls."""
        held, self._async_client = self._async_client, None
        if held is not None and held[0] is asyncio.get_running_loop():
            await held[1].aclose()

    def __enter__(self) -> VambeHook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> VambeHook:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # The calls

    open_ticket = blocking(endpoints.open_ticket)
    aopen_ticket = awaiting(endpoints.open_ticket)
    close_ticket = blocking(endpoints.close_ticket)
    aclose_ticket = awaiting(endpoints.close_ticket)
    get_pipelines = blocking(endpoints.get_pipelines)
    aget_pipelines = awaiting(endpoints.get_pipelines)
    find_stage = blocking(endpoints.find_stage)
    afind_stage = awaiting(endpoints.find_stage)
    get_channel = blocking(endpoints.get_channel)
    aget_channel = awaiting(endpoints.get_channel)
    get_contact = blocking(endpoints.get_contact)
    aget_contact = awaiting(endpoints.get_contact)
    search_contacts = blocking(endpoints.search_contacts)
    asearch_contacts = awaiting(endpoints.search_contacts)
    list_contacts = iterating(endpoints.list_contacts)
    alist_contacts = aiterating(endpoints.list_contacts)
    get_messages = blocking(endpoints.get_messages)
    aget_messages = awaiting(endpoints.get_messages)
    update_contact_metadata = blocking(endpoints.update_contact_metadata)
    aupdate_contact_metadata = awaiting(endpoints.update_contact_metadata)
    update_ticket_metadata = blocking(endpoints.update_ticket_metadata)
    aupdate_ticket_metadata = awaiting(endpoints.update_ticket_metadata)
    update_ticket_amount = blocking(endpoints.update_ticket_amount)
    aupdate_ticket_amount = awaiting(endpoints.update_ticket_amount)

    def run(self, call: Call[T]) -> T:
        """Carry out one call; the methods above do it for you."""
        return self.get_conn().run(call)

    async def arun(self, call: Call[T]) -> T:
        """Carry out one call; the methods above do it for you."""
        return await (await self.aget_conn()).arun(call)

    def test_connection(self) -> tuple[bool, str]:
        """Read the pipelines, which changes nothing, and say in words whether key, host and network are right."""
        try:
            with self:
                pipelines = self.get_pipelines()
        except VambeError as error:
            return False, _diagnosis(error)
        stages = sum(len(pipeline.stages) for pipeline in pipelines)
        return (
            True,
            f"Connected to {self.settings.host}: the key can read {len(pipelines)} pipelines with {stages} stages.",
        )

    # The connection form of Airflow 2.11 to 3.1; newer ones read provider_info.py

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which fields the form hides and how it names the others."""
        from vambe_provider.provider_info import UI_FIELD_BEHAVIOUR

        return {
            "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
            "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
            "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields; none where the old web interface is not installed."""
        try:
            fields, validators = import_module("wtforms"), import_module("wtforms.validators")
            text_box = import_module("flask_appbuilder.fieldwidgets").BS3TextFieldWidget
            translated = import_module("flask_babel").lazy_gettext
        except ImportError:
            return {}
        from vambe_provider.provider_info import CONN_FIELDS

        widgets: dict[str, Any] = {}
        for name, field in CONN_FIELDS.items():
            schema = field["schema"]
            kind = fields.IntegerField if "integer" in schema["type"] else fields.StringField
            choice = [validators.any_of(schema["enum"])] if "enum" in schema else []
            widgets[name] = kind(
                translated(field["label"]),
                validators=[validators.Optional(), *choice],
                widget=text_box(),
                description=translated(field["description"]),
            )
        return widgets


def _check(conn_id: str, connection: Connection) -> None:
    """Refuse a connection that is none of ours before anything of it is used: its password belongs to somebody else.

    :raises VambeConfigError: when its type is another one, or its extra is not a JSON object.
    """
    problem, fix = None, None
    if connection.conn_type != VambeHook.conn_type:
        problem = f"its type is {str(connection.conn_type or 'empty')[:40]}, not {VambeHook.conn_type}"
        fix = "Name a connection of the type vambe in vambe_conn_id."
    elif extra := (connection.extra or "").strip():
        try:
            problem = None if isinstance(json.loads(extra), dict) else "extra: this is not a JSON object"
        except (ValueError, RecursionError):
            problem = "extra: this is not JSON"
        fix = 'Write it as {"phone_id": "…"}.'
    if problem is not None:
        error = VambeConfigError(problem, fix=fix)
        error.name_connection(conn_id)
        raise error


def _settings(conn_id: str, connection: Connection, extra: Mapping[str, Any]) -> ConnectionSettings:
    from vambe_provider.api import ConnectionSettings

    try:
        return ConnectionSettings.from_fields(
            host=connection.host,
            password=connection.password,
            extra=extra,
            schema=connection.schema,
            port=connection.port,
            name=conn_id,
        )
    except VambeConfigError as error:
        error.name_connection(conn_id)
        raise


def _secrets(key: str | None, extra: Mapping[str, Any]) -> set[str]:
    """Return the API key and the password of the rate store in every form in which a log could show them."""
    store = extra.get("rate_store")
    plain = {(key or "").strip(), _url_password(store) if isinstance(store, str) else ""}
    forms = {form(secret) for secret in plain for form in (str, quote, _quoted_whole, _json_inner, _python_inner)}
    return forms - {""}


def _url_password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _quoted_whole(text: str) -> str:
    return quote(text, safe="")


def _json_inner(text: str) -> str:
    return json.dumps(text)[1:-1]


def _python_inner(text: str) -> str:
    return repr(text)[1:-1]


def _diagnosis(error: VambeError) -> str:
    """Return an error as sentences; the first says what is wrong: connection, key, network or host."""
    match error:
        case VambeConfigError() if "missing" in error.message:
            cause = "The connection is not complete"
        case VambeConfigError():
            cause = "A value of the connection cannot be used"
        case VambeAuthError():
            cause = "The API key is wrong"
        case VambeRefusedError():
            cause = "The host is reached, but it does not look like the Vambe API: check the base URL"
        case VambeReadError(status=int(status)) if 300 <= status < 500:
            cause = "The host is reached, but it does not look like the Vambe API: check the base URL"
        case VambeNotSentError(status=None):
            cause = "The host cannot be reached: check the base URL and the network"
        case _:
            cause = "The host is reached, but Vambe gives no proper answer now"
    said = f"Vambe said: {error.said}" if error.said else None
    return " ".join(f"{part.rstrip('.')}." for part in (cause, error.message, said, error.fix) if part)
