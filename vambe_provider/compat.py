"""The only file that knows that Airflow 2 and 3 differ.

Every Airflow name that the rest of the provider uses is imported from here. Names are looked up when they are asked
for: a module pays only for what it uses, and a name that an older Airflow lacks is missed only where it is needed.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow.providers.common.compat.sdk import (
        DAG,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowOptionalProviderFeatureException,
        AirflowSensorTimeout,
        AirflowSkipException,
        Asset,
        BaseHook,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        DecoratedOperator,
        PokeReturnValue,
        Stats,
        TaskDeferred,
        XCom,
        XComArg,
        conf,
        context_merge,
        determine_kwargs,
        mask_secret,
        task_decorator_factory,
    )
    from airflow.sdk import RetryPolicy
    from airflow.sdk.bases.decorator import TaskDecorator
    from airflow.sdk.types import TaskInstanceKey
    from airflow.triggers.base import (
        BaseEventTrigger,
        BaseTrigger,
        TriggerEvent,
    )
    from airflow.triggers.shared_stream import SharedStreamProducer

    AIRFLOW_V_3_0_PLUS: bool
    AIRFLOW_V_3_1_PLUS: bool
    AIRFLOW_V_3_2_PLUS: bool
    AIRFLOW_V_3_3_PLUS: bool
else:

    def __getattr__(name: str) -> Any:
        """Look an Airflow name up where this Airflow keeps it, and remember it."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name.startswith("AIRFLOW_V_"):
            value = _is_at_least(name)
        elif name in ("BaseTrigger", "BaseEventTrigger", "TriggerEvent"):
            value = _trigger_class(name)
        elif name == "SharedStreamProducer":
            value = _shared_stream_producer()
        elif name == "RetryPolicy":
            value = _retry_policy()
        elif name == "mask_secret":
            value = _mask_secret()
        else:
            from airflow.providers.common.compat import sdk

            value = getattr(sdk, name)
        globals()[name] = value
        return value


__all__ = [
    "AIRFLOW_V_3_0_PLUS",
    "AIRFLOW_V_3_1_PLUS",
    "AIRFLOW_V_3_2_PLUS",
    "AIRFLOW_V_3_3_PLUS",
    "DAG",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowOptionalProviderFeatureException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "Asset",
    "BaseEventTrigger",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Connection",
    "Context",
    "DecoratedOperator",
    "PokeReturnValue",
    "RetryPolicy",
    "SharedStreamProducer",
    "StateStore",
    "Stats",
    "TaskDecorator",
    "TaskDeferred",
    "TaskInstanceKey",
    "TriggerEvent",
    "XCom",
    "XComArg",
    "async_connection",
    "async_extra",
    "async_mask_secret",
    "conf",
    "context_merge",
    "determine_kwargs",
    "mask_secret",
    "read_connections_outside_of_tasks",
    "task_decorator_factory",
    "task_state_store",
    "time_trigger",
]


class StateStore(Protocol):
    """What a task keeps from one try to the next, on Airflow 3.3 and newer."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value."""
        ...


class _LastingStore:
    """Airflow's store of one task instance, with values that stay as long as the Dag run does.

    Left to itself, Airflow forgets them after 30 days, and a task cleared later would message its customer again.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str, default: Any = None) -> Any:
        return self._store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._store.set(key, value, retention=NEVER_EXPIRE)


def task_state_store(context: Mapping[str, Any]) -> StateStore | None:
    """Return the store that survives a retry of this task, or None where Airflow has none (before 3.3)."""
    store = context.get("task_state_store")
    return None if store is None else _LastingStore(store)


def read_connections_outside_of_tasks() -> None:
    """Let this process read connections from Airflow's database too, as ``airflow connections`` does.

    Since Airflow 3 only tasks and processes that say so find more than environment variables and secrets backends.
    """
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


async def async_connection(conn_id: str) -> Connection:
    """Return a connection without blocking the event loop.

    :raises AirflowNotFoundException: when there is no such connection.
    """
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
    from asgiref.sync import sync_to_async

    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # Under ``airflow dags test`` of Airflow 3.3, this way does not reach the metadata database, and the other does.
        return await sync_to_async(BaseHook.get_connection)(conn_id)


async def async_extra(connection: Connection) -> dict[str, Any]:
    """Return a connection's extra without blocking the event loop.

    Reading it also masks its secrets, which is a blocking call before Airflow 3.3.2.
    """
    if hasattr(connection, "aextra_dejson"):
        return dict(await connection.aextra_dejson())
    from asgiref.sync import sync_to_async

    return dict(await sync_to_async(lambda: connection.extra_dejson)())


async def async_mask_secret(secret: str) -> None:
    """Hide a text in every log, without blocking the event loop."""
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:
        from asgiref.sync import sync_to_async

        await sync_to_async(_mask_secret())(secret)
    else:
        await amask_secret(secret)


def time_trigger(moment: datetime) -> BaseTrigger:
    """Return a trigger that fires at a moment; Airflow 2 may have it in its core only.

    :param moment: with a time zone.
    """
    try:
        module = import_module("airflow.providers.standard.triggers.temporal")
    except ImportError:
        module = import_module("airflow.triggers.temporal")
    trigger: BaseTrigger = module.DateTimeTrigger(moment=moment)
    return trigger


def _is_at_least(flag: str) -> bool:
    """Return whether this Airflow is the version of a flag such as ``AIRFLOW_V_3_1_PLUS``, or newer."""
    from airflow import __version__

    major, minor = flag.removeprefix("AIRFLOW_V_").removesuffix("_PLUS").split("_")
    here = __version__.split(".")
    return (int(here[0]), int(here[1])) >= (int(major), int(minor))


def _trigger_class(name: str) -> Any:
    """Return a name of ``airflow.triggers.base``; Airflow 2 has no event triggers, where a plain trigger stands in."""
    from airflow.triggers import base

    return getattr(base, name, base.BaseTrigger)


def _shared_stream_producer() -> Any:
    """Return the base of a poll that event triggers share; ``object`` before Airflow 3.3, which has none."""
    try:
        from airflow.triggers.shared_stream import SharedStreamProducer
    except ImportError:
        return object
    return SharedStreamProducer


def _retry_policy() -> Any:
    """Return the base of retry policies; ``object`` before Airflow 3.3, which has none."""
    try:
        from airflow.sdk import RetryPolicy
    except ImportError:
        return object
    return RetryPolicy


def _mask_secret() -> Any:
    """Return ``mask_secret``, which ``common-compat`` offers only from 1.22 on."""
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        return import_module("airflow.utils.log.secrets_masker").mask_secret
    return mask_secret
