"""The sensor that waits for what becomes of tickets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeError
from vambe_provider.links.vambe import VambeConversationLink, conversation_url, push_link

if TYPE_CHECKING:
    from vambe_provider.compat import Context
    from vambe_provider.hooks.vambe import VambeHook
    from vambe_provider.waiting.conditions import Wait
    from vambe_provider.waiting.look import Look

MIN_INTERVAL = 1.0
_STATUSES = frozenset({"success", "timeout", "error"})


class VambeTicketSensor(BaseSensorOperator):
    """Wait until the customer answered, the ticket was closed, or it reached a stage.

    It only reads. A look costs one request for each contact, and one more where messages matter; deferred waits share
    one request for all contacts of a connection. A task retry looks again from the start, with a new timeout.

    Airflow's own arguments of a sensor work as always. With ``soft_fail``, a timeout skips the task; a wrong id, a
    refused key and other errors still fail it. A wait leaves nothing in Vambe that a killed task would have to undo.

    :param ai_contact_ids: what is waited for: an id, a list, the result of ``VambeOpenTicketOperator`` or the report of
        a batch, as an upstream task returned it. A list without any contact is done at once.
    :param until: ``replied`` (the customer wrote after the ticket was opened), ``closed``, ``stage`` (the ticket is in
        one of ``stages``) or ``chat_status`` (the conversation has one of ``statuses``). A state that came and went
        between two looks is not seen.
    :param stages: with ``stage``: a name as ``Support / Solved``, an id, or a list of them.
    :param statuses: with ``chat_status``: a word as ``ATTENDED``, or a list; upper and lower case are the same.
    :param since: with ``replied``: only messages from this time on count; an aware datetime or ISO 8601. By default
        since the ticket was opened, or, where Vambe does not show that, since this Dag run started.
    :param mode_of: ``all`` contacts, at the same time, or ``any`` of them.
    :param vambe_conn_id: the connection.
    :param deferrable: wait in the triggerer; default Airflow's ``[operators] default_deferrable``.
    :param shared_poll: with ``deferrable``: False reads each contact in every round, in case that Vambe does not list
        it as changed.
    :param max_failures: with ``deferrable``: looks that may fail one after the other.
    :param poke_interval: seconds between two looks, at least 1; default 60.
    :param timeout: seconds until the wait is given up; default Airflow's ``[sensors] default_timeout``, a week.
    :return: a list with one dict for each contact: ``ai_contact_id``, ``until``, ``done``, ``at`` (when it happened, as
        Vambe says, else null), ``seen_at``, ``message_id``, ``ticket_id``, ``stage_id``, ``chat_status``.
    :raises AirflowFailException: when an id is malformed, unknown or was merged into another contact, or the key is
        refused.
    :raises AirflowSensorTimeout: when the time is over; says how many are still waited for.
    """

    template_fields: Sequence[str] = (
        "ai_contact_ids",
        "until",
        "stages",
        "statuses",
        "since",
        "mode_of",
        "vambe_conn_id",
    )
    operator_extra_links = (VambeConversationLink(),)
    ui_color = "#e4f7ec"

    def __init__(
        self,
        *,
        ai_contact_ids: Any,
        until: str = "replied",
        stages: str | Sequence[str] | None = None,
        statuses: str | Sequence[str] | None = None,
        since: datetime | str | None = None,
        mode_of: str = "all",
        vambe_conn_id: str = "vambe_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        shared_poll: bool = True,
        max_failures: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ai_contact_ids = ai_contact_ids
        self.until = until
        self.stages = stages
        self.statuses = statuses
        self.since = since
        self.mode_of = mode_of
        self.vambe_conn_id = vambe_conn_id
        self.deferrable = deferrable
        self.shared_poll = shared_poll
        self.max_failures = max_failures

    def execute(self, context: Context) -> Any:
        """Look once; when it has not happened yet, wait in the way that the arguments say."""
        if not self.deferrable:
            return super().execute(context)
        with self._errors(), self._hook() as hook:
            contacts, wait = self._contacts(), self._wait(hook, context)
            look = self._look(hook, contacts, wait)
            self._push_link(hook, context, look)
            if self._is_over(look):
                return _results(look)
        return self._defer(contacts, wait, look)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, in the modes ``poke`` and ``reschedule``."""
        with self._errors(), self._hook() as hook:
            look = self._look(hook, self._contacts(), self._wait(hook, context))
            self._push_link(hook, context, look)
        done = self._is_over(look)
        return PokeReturnValue(done, xcom_value=_results(look) if done else None)

    def execute_complete(self, context: Context, event: Any = None) -> list[dict[str, Any]]:
        """Go on after the triggerer has waited: read the details, and say how it ended.

        :param event: what the trigger fired.
        :raises AirflowSensorTimeout: when the time is over and a last look shows that it has not happened.
        """
        with self._errors():
            event = _checked_event(event)
            with self._hook() as hook:
                look = self._look(hook, self._contacts(), self._wait(hook, context))
        if event["status"] == "success" or self._is_over(look):
            # What the trigger saw counts, also when it has changed again since.
            seen = (
                {finding.ai_contact_id for finding in look.findings}
                if self.mode_of == "all"
                else set(event.get("ai_contact_ids", ()))
            )
            return _results(look, also_done=seen if event["status"] == "success" else frozenset())
        raise AirflowSensorTimeout(self._timeout_text(look))

    # What is waited for

    def _hook(self) -> VambeHook:
        from vambe_provider.hooks.vambe import VambeHook

        return VambeHook(self.vambe_conn_id)

    def _contacts(self) -> list[str]:
        from vambe_provider.waiting.ids import contact_ids

        return contact_ids(self.ai_contact_ids)

    def _wait(self, hook: VambeHook, context: Mapping[str, Any]) -> Wait:
        from vambe_provider.operators.common import choice
        from vambe_provider.waiting.conditions import MODES, UNTIL, Wait
        from vambe_provider.waiting.ids import names

        until = choice(self.until, name="until", allowed=UNTIL)
        self.mode_of = choice(self.mode_of, name="mode_of", allowed=MODES)
        stages, statuses = names(self.stages), names(self.statuses)
        for name, given in (("stage", stages), ("chat_status", statuses)):
            if (until == name) != bool(given):
                argument = "stages" if name == "stage" else "statuses"
                raise VambeConfigError(f'{argument}: belongs to until="{name}", and is needed there')
        run = context.get("dag_run")
        return Wait(
            until=until,
            stages=frozenset(hook.find_stage(stage).id.lower() for stage in stages),
            statuses=frozenset(status.lower() for status in statuses),
            since=_seconds(self.since, name="since"),
            started=run.start_date.timestamp() if run is not None and run.start_date else None,
        )

    def _look(self, hook: VambeHook, contacts: list[str], wait: Wait) -> Look:
        from vambe_provider.api import AsyncVambeClient
        from vambe_provider.waiting.look import look_at

        settings = hook.settings

        async def look() -> Look:
            async with AsyncVambeClient(settings) as client:
                return await look_at(client, contacts, wait)

        return asyncio.run(look())

    def _is_over(self, look: Look) -> bool:
        from vambe_provider.waiting.conditions import is_over

        return is_over((finding.done for finding in look.findings), self.mode_of)

    def _defer(self, contacts: list[str], wait: Wait, look: Look) -> None:
        from vambe_provider.triggers.vambe import VambeTicketTrigger

        interval = max(MIN_INTERVAL, self.poke_interval)
        trigger = VambeTicketTrigger(
            vambe_conn_id=self.vambe_conn_id,
            ai_contact_ids=contacts,
            until=wait.until,
            stages=sorted(wait.stages),
            statuses=sorted(wait.statuses),
            mode_of=self.mode_of,
            since=wait.since,
            started=wait.started,
            looked_at=look.began,
            deadline=time.time() + self.timeout,
            poll_interval=interval,
            max_failures=self.max_failures,
            shared_poll=self.shared_poll and look.changes_are_listed,
        )
        # The trigger ends by itself. Airflow's own timeout, which would not come back to this task, is only for a
        # triggerer that is down.
        backstop = timedelta(seconds=self.timeout + 2 * interval + 600)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=backstop)

    # How it ends

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Make errors reach Airflow the same way whether the task waits here or in the triggerer.

        With ``soft_fail``, Airflow would skip the task for its own exceptions; only a timeout is meant by it.
        """
        try:
            yield
        except VambeError as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, since never_fail is set: {error}") from error
            if error.permanent and not self.soft_fail:
                raise AirflowFailException(str(error)) from error
            raise

    def _timeout_text(self, look: Look) -> str:
        waiting = [finding for finding in look.findings if not finding.done]
        first = waiting[0]
        return (
            f"After {self.timeout:g} s, {len(waiting)} of {len(look.findings)} contacts are still waited for "
            f"(until {self.until}). The first is {first.ai_contact_id}: chat status {first.chat_status}, "
            f"ticket {first.ticket_id} in stage {first.stage_id}."
        )

    def _push_link(self, hook: VambeHook, context: Context, look: Look) -> None:
        """Leave the URL of the first conversation; a wait never fails for the want of a link."""
        if isinstance(self.ai_contact_ids, Mapping) and self.ai_contact_ids.get("link"):
            push_link(context, str(self.ai_contact_ids["link"]))
            return
        first = next((finding for finding in look.findings if finding.stage_id), None)
        if first is None or first.stage_id is None or getattr(self, "_has_link", False):
            return
        self._has_link = True
        try:
            pipeline_id = hook.find_stage(first.stage_id).pipeline_id
        except VambeError as error:
            self.log.info("There is no link to the conversation (%s)", error.kind)
            return
        if pipeline_id:
            url = conversation_url(
                app_url=hook.settings.app_url, pipeline_id=pipeline_id, ai_contact_id=first.ai_contact_id
            )
            push_link(context, url)


def _results(look: Look, *, also_done: frozenset[str] | set[str] = frozenset()) -> list[dict[str, Any]]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = [finding.as_dict(seen_at=now) for finding in look.findings]
    return [{**item, "done": item["done"] or item["ai_contact_id"] in also_done} for item in found]


def _checked_event(event: Any) -> dict[str, Any]:
    """Return the trigger's event.

    :raises VambeError: that which ended the wait, or one that says that the event is not understood.
    """
    if not isinstance(event, dict) or event.get("status") not in _STATUSES:
        raise VambeDeliveryError(
            "The trigger fired an event that this version of the provider does not know",
            fix="Run the same version of the provider in the triggerer and the workers.",
        )
    if event["status"] == "error":
        error = VambeDeliveryError(f"Waiting failed: {event.get('message')}")
        error.permanent = bool(event.get("permanent"))
        raise error
    return event


def _seconds(value: object, *, name: str) -> float | None:
    from vambe_provider.operators.common import given

    value = given(value)
    if value is None:
        return None
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise VambeConfigError(f"{name}: this is not an ISO 8601 time") from None
    if when.tzinfo is None:
        raise VambeConfigError(f"{name}: the time has no time zone", fix="Write it as 2026-03-01T12:00:00+00:00.")
    return when.timestamp()
