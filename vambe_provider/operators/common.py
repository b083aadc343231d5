"""What all tasks that open tickets share: how arguments are read, and how a failure reaches Airflow."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AirflowFailException, conf, task_state_store
from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings, Stage
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.hooks.vambe import VambeHook

DEFAULT_CONNECTION = "vambe_default"

_YES, _NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_RUN = 250


@contextmanager
def permanent_errors_fail() -> Iterator[None]:
    """Turn errors that a task retry cannot cure into one that Airflow does not retry; others pass."""
    try:
        yield
    except VambeError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise


def run_name(context: Mapping[str, Any], *, task_id: str) -> str:
    """Return what names a task instance in all of its tries, as ``dag/task/run/-1``; the last part is the map index."""
    ti = context.get("ti")
    if ti is None:  # a test that calls execute() with a context of its own
        return f"-/{task_id}/-/-1"
    name = f"{ti.dag_id}/{ti.task_id}/{ti.run_id}/{ti.map_index}"
    if len(name) <= _MAX_RUN:
        return name
    from vambe_provider.delivery.key import digest

    return f"{name[:200]}…{digest(name)}"


def given(value: object) -> Any:
    """Return a value, or None for what means nothing: null, empty text, and the text that a template makes of null."""
    return None if isinstance(value, str) and value.strip() in ("", "None") else value


def flag(value: object, *, name: str) -> bool:
    """Return a boolean that a template may have turned into text.

    :raises VambeConfigError: when it is neither yes nor no.
    """
    text = "" if value is None else str(value).strip().lower()
    if text not in _YES and text not in _NO | {"none"}:
        raise VambeConfigError(f"{name}: {text[:20]!r} is neither true nor false")
    return text in _YES


def choice(value: object, *, name: str, allowed: tuple[str, ...]) -> Any:
    """Return one of a few words; the first one when nothing is given.

    :raises VambeConfigError: when it is another one.
    """
    text = str(given(value) or allowed[0]).strip()
    if text not in allowed:
        raise VambeConfigError(f"{name}: {text[:40]!r} is not one of {', '.join(allowed)}")
    return text


def whole_number(value: object, *, name: str, least: int) -> int:
    """Return a whole number that a template may have turned into text.

    :raises VambeConfigError: when it is none, or below ``least``.
    """
    text = str(value).strip()
    if not re.fullmatch("[0-9]+", text) or int(text) < least:
        raise VambeConfigError(f"{name}: {text[:20]!r} is not a whole number from {least} on")
    return int(text)


def delivery_options(*, run: str, on_unknown: object, resend: object, on_change: object = "ignore") -> DeliveryOptions:
    """Return how to deliver: the task's own arguments, and the section ``vambe`` of Airflow's configuration.

    :raises VambeConfigError: when one of them is wrong; names it.
    """
    from vambe_provider.delivery.options import DeliveryOptions

    return DeliveryOptions(
        run=run,
        on_unknown=choice(on_unknown, name="on_unknown", allowed=("fail", "resend")),
        on_change=choice(on_change, name="on_change", allowed=("ignore", "open_again")),
        resend=flag(resend, name="resend"),
        lease=_seconds("lease", "120"),
        polls=tuple(_numbers("reconcile_polls", "1,3,6,10,20")),
        retry_budget=_seconds("retry_budget", "120"),
    )


def _seconds(option: str, default: str) -> float:
    numbers = _numbers(option, default)
    if len(numbers) != 1:
        raise VambeConfigError(f"[vambe] {option}: one number of seconds is needed")
    return numbers[0]


def _numbers(option: str, default: str) -> list[float]:
    text = str(conf.get("vambe", option, fallback=default))
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1.0]
    if not all(0 <= number < 1e7 for number in numbers):
        raise VambeConfigError(f"[vambe] {option}: {text[:40]!r} is not in seconds", fix=f"Write it as {default}.")
    return numbers


@contextmanager
def ledger_for(conn_id: str | None, context: Mapping[str, Any]) -> Iterator[Ledger]:
    """Open the best memory there is for one ticket.

    :param conn_id: a database connection: it remembers for ever and between tasks. Without one, the task state store of
        Airflow 3.3 and newer remembers for this task instance, also when it is cleared; without that, a second try of
        the task reads in Vambe what the first one did.
    :param context: the context of the task.
    """
    from vambe_provider.delivery.ledger.single import NoLedger, StateStoreLedger

    store = task_state_store(context)
    if conn_id is not None:
        with sql_ledger(conn_id) as ledger:
            yield ledger
    elif store is not None:
        yield StateStoreLedger(store)
    else:
        began = getattr(context.get("dag_run"), "start_date", None)
        try_number = getattr(context.get("ti"), "try_number", 1)
        yield NoLedger(second_try=try_number > 1, since=began.timestamp() if began else time.time())


@contextmanager
def sql_ledger(conn_id: str) -> Iterator[Ledger]:
    """Open the ledger behind a database connection; the table is made when it is missing.

    :raises VambeConfigError: when the connection cannot hold a ledger.
    :raises VambeLedgerError: when its database cannot be used.
    """
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.hooks.sql import ledger_engine

    ledger = SqlLedger(ledger_engine(conn_id))
    try:
        yield ledger
    finally:
        ledger.close()


def check_sender(settings: ConnectionSettings, *, phone_id: str | None, channel: str | None) -> None:
    """Refuse a sender to which nothing can be posted, before anything is claimed.

    :raises VambeConfigError: when there is no phone id, or none that fits the channel.
    """
    from vambe_provider.api.requests import open_ticket_path

    open_ticket_path(phone_id=phone_id or settings.phone_id, channel=channel or settings.channel)


class Stages:
    """Finds stages by name or id, and asks Vambe as rarely as possible.

    :param hook: reads the pipelines when a name has to be found.
    """

    def __init__(self, hook: VambeHook) -> None:
        self._hook = hook
        self._known: dict[str, Stage | VambeConfigError] = {}

    def id_of(self, name_or_id: str) -> str:
        """Return the id of a stage; what looks like an id is taken as one.

        :raises VambeConfigError: when no stage or more than one has this name; lists what there is.
        """
        return name_or_id.strip() if _UUID.fullmatch(name_or_id.strip()) else self.find(name_or_id).id

    def find(self, name_or_id: str) -> Stage:
        """Return the stage with its pipeline; a name that was not found is not looked for again.

        :raises VambeConfigError: when no stage or more than one fits.
        """
        if name_or_id not in self._known:
            try:
                self._known[name_or_id] = self._hook.find_stage(name_or_id)
            except VambeConfigError as error:
                self._known[name_or_id] = error
        found = self._known[name_or_id]
        if isinstance(found, VambeConfigError):
            raise found
        return found
