"""The sensor that waits for what becomes of tickets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from vambe_provider.compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from vambe_provider.exceptions import VambeConfigError, VambeError
from vambe_provider.links.vambe import VambeConversationLink, conversation_url, is_below, push_link
from vambe_provider.waiting.patience import (
    MAX_FAILURES,
    Patience,
    Refusals,
    is_mistake,
    is_refusal,
    kind_of,
    refuses_the_key,
)

if TYPE_CHECKING:
    from vambe_provider.compat import Context
    from vambe_provider.hooks.vambe import VambeHook
    from vambe_provider.waiting.conditions import Wait
    from vambe_provider.waiting.look import Look

MIN_INTERVAL = 1.0
MAX_REMEMBERED = 100
"""Contacts up to which a deferred wait keeps what it recognised; more would not fit into every metadata database."""
_GAVE_UP = ("Trigger timeout", "Trigger/execution timeout")
"""What Airflow says when a deferral took too long: from 3.0 on, and before."""
_A_START = 5.0
"""Seconds that a task takes from its start to its first look."""


class VambeTicketSensor(BaseSensorOperator):
    """Wait until the customer answered, the ticket was closed, or it reached a stage.

    What is waited for is the ticket of this run. Hand over the result of the task that opened it: it says which ticket
    that is. For a bare id it is inferred from the start of the Dag run. Nothing from before answers.

    It only reads. A look costs one request for each contact, and one more where messages matter; deferred waits share
    one request for all contacts of a connection. A task retry looks again from the start, with a new timeout.

    Airflow's own arguments of a sensor work as always. ``soft_fail`` is about the timeout only: then the task is
    skipped, and every other error still fails it. A wait leaves nothing in Vambe that a killed task would have to undo.

    :param ai_contact_ids: what is waited for: the result of ``VambeOpenTicketOperator`` or the report of a batch, as an
        upstream task returned it, an id, or a list. A list without any contact is done at once.
    :param until: ``replied`` (the customer wrote after the ticket was opened), ``closed``, ``stage`` (the ticket is in
        one of ``stages``) or ``chat_status`` (the conversation has one of ``statuses``). A state that came and went
        between two looks is not seen.
    :param stages: with ``stage``: a name such as ``Support / Solved``, an id, or a list of them.
    :param statuses: with ``chat_status``: a word such as ``ATTENDED``, or a list; upper and lower case are the same.
    :param since: only what happened from this time on counts, such as messages; an aware datetime or ISO 8601. By
        default since the ticket was opened, or, for a bare id, since this Dag run started for the first time.
    :param mode_of: ``all`` contacts, at the same time, or ``any`` of them.
    :param vambe_conn_id: the connection.
    :param deferrable: wait in the triggerer; default Airflow's ``[operators] default_deferrable``.
    :param shared_poll: with ``deferrable``: False reads each contact in every round, in case that Vambe does not list
        it as changed.
    :param max_failures: looks in a row that may fail; default 30. A look for which Vambe said how long to wait does not
        count, and in the mode ``reschedule`` none does, since nothing is remembered there.
    :param poke_interval: seconds between two looks, at least 1; default 60.
    :param timeout: seconds until the wait is given up; default Airflow's ``[sensors] default_timeout``, a week.
    :return: a list with one dict for each contact: ``ai_contact_id``, ``until``, ``done``, ``at`` (when it happened, as
        Vambe says, else null), ``seen_at``, ``message_id``, ``ticket_id``, ``ticket_known_by`` (``mark``, ``id`` or
        ``time`` of the opening, or ``inferred``), ``stage_id``, ``chat_status``.
    :raises AirflowFailException: when an id is malformed, unknown or was merged into another contact, or the key is
        refused at the first look.
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
        max_failures: int = MAX_FAILURES,
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
        with self._only_the_timeout_skips():
            if self.deferrable:
                return self._look_or_defer(context)
            self._waits = _Waits(self._patience())
            try:
                return super().execute(context)
            except AirflowSensorTimeout:
                failing = self._waits.patience.error
                raise AirflowSensorTimeout(self._timeout_text(self._waits.last, failing)) from None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; also when the triggerer was down for so long that Airflow itself gave the wait up."""
        with self._only_the_timeout_skips():
            if next_method == "__fail__" and (next_kwargs or {}).get("error") in _GAVE_UP:
                return self.execute_complete(context, {"status": "timeout"})
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, in the modes ``poke`` and ``reschedule``; a look that fails for the moment is followed by others.

        :raises AirflowFailException: when an argument is wrong, or the API says no to the first look, or repeatedly.
        """
        from vambe_provider.waiting.ends import results

        waits = self._waits = getattr(self, "_waits", None) or _Waits(self._patience())
        waits.next_look(_first_look(context))
        with self._errors():
            try:
                with self._hook() as hook:
                    look = self._look(hook, context, began=waits.began)
                    self._push_link(hook, context, look)
            except (VambeError, AirflowNotFoundException) as error:
                waits.last = None
                self._bear(error)
                return PokeReturnValue(False)
            waits.last = look
            over = self._is_over(look)
            if look.errors and not over:
                self._bear_contacts(look)
            elif not look.errors:
                waits.good()
        if over:
            self._say_done(look)
        return PokeReturnValue(over, xcom_value=results(look) if over else None)

    def execute_complete(self, context: Context, event: Any = None, began: float | None = None) -> list[dict[str, Any]]:
        """Go on after the triggerer has waited: read the details, and say how it ended.

        :param event: what the trigger fired.
        :param began: when the wait began, in seconds since 1970.
        :raises AirflowSensorTimeout: when the time is over and a last look shows that it has not happened, or fails.
        """
        from vambe_provider.waiting.ends import checked_event, results, results_of_event, seen_by_the_trigger
        from vambe_provider.waiting.ids import targets

        with self._errors():
            event = checked_event(event)
        look, failing = None, None
        try:
            with self._hook() as hook:
                look = self._look(hook, context, began=began)
        except Exception as error:  # noqa: BLE001 - a secrets backend that is away raises whatever it likes
            # The trigger has seen how it ended, or the time is over. Neither changes because Vambe, or the place where
            # Airflow keeps the connection, is away now.
            failing = error
            self.log.warning("The last look failed (%s)", kind_of(error))
        if event["status"] != "success" and not (look is not None and self._is_over(look)):
            raise AirflowSensorTimeout(self._timeout_text(look, failing or event.get("failing")))
        contacts = targets(self.ai_contact_ids)
        seen = seen_by_the_trigger(event, contacts, self.mode_of)
        if look is None:
            return results_of_event(contacts, seen, until=self.until)
        self._say_done(look)
        return results(look, also_done=seen)

    # What is waited for

    def _hook(self) -> VambeHook:
        from vambe_provider.hooks.vambe import VambeHook

        return VambeHook(self.vambe_conn_id)

    def _patience(self) -> Patience:
        from vambe_provider.operators.arguments import whole_number

        with self._errors():
            return Patience(whole_number(self.max_failures, name="max_failures", least=1), self._interval())

    def _interval(self) -> float:
        return max(MIN_INTERVAL, float(self.poke_interval))

    def _wait(self, hook: VambeHook, context: Mapping[str, Any], began: float | None) -> Wait:
        from vambe_provider.operators.arguments import choice
        from vambe_provider.waiting.conditions import MODES, UNTIL, Wait
        from vambe_provider.waiting.ids import names

        until = choice(self.until, name="until", allowed=UNTIL)
        self.mode_of = choice(self.mode_of, name="mode_of", allowed=MODES)
        stages, statuses = names(self.stages), names(self.statuses)
        for name, given in (("stage", stages), ("chat_status", statuses)):
            if (until == name) != bool(given):
                argument = "stages" if name == "stage" else "statuses"
                raise VambeConfigError(f'{argument}: belongs to until="{name}", and is needed there')
        return Wait(
            until=until,
            stages=frozenset(hook.find_stage(stage).id.lower() for stage in stages),
            statuses=frozenset(status.lower() for status in statuses),
            since=_seconds(self.since, name="since"),
            started=_first_start(context.get("dag_run")),
            began=began,
        )

    def _look(self, hook: VambeHook, context: Mapping[str, Any], *, began: float | None) -> Look:
        from vambe_provider.api import AsyncVambeClient
        from vambe_provider.waiting.ids import check_account, targets
        from vambe_provider.waiting.look import look_at

        found = targets(self.ai_contact_ids)
        settings = hook.settings
        check_account(found, getattr(settings, "account", None), conn_id=self.vambe_conn_id)
        wait = self._wait(hook, context, began)

        async def look() -> Look:
            async with AsyncVambeClient(settings) as client:
                return await look_at(client, found, wait)

        return asyncio.run(look())

    def _is_over(self, look: Look) -> bool:
        from vambe_provider.waiting.conditions import is_over

        return is_over((finding.done for finding in look.findings), self.mode_of)

    def _look_or_defer(self, context: Context) -> Any:
        from vambe_provider.waiting.ends import results

        self._patience()
        began = time.time()
        with self._errors(), self._hook() as hook:
            look = self._look(hook, context, began=began)
            self._push_link(hook, context, look)
            if self._is_over(look):
                self._say_done(look)
                return results(look)
            final = [error for error in look.errors.values() if _is_final(error)]
            if final and (self.mode_of == "all" or len(final) == len(look.targets)):
                raise final[0]
        return self._defer(look, began)

    def _defer(self, look: Look, began: float) -> NoReturn:
        from vambe_provider.triggers.vambe import VambeTicketTrigger

        for contact, error in look.errors.items():
            self.log.warning("Contact %s could not be read (%s); the wait goes on", contact, kind_of(error))
        wait, targets, interval = look.wait, look.targets, self._interval()
        now = wait.began or began
        again = {
            target.key: wait.settles_at(target) if found.later else now
            for target, found in zip(targets, look.findings, strict=True)
            if found.later or target.contact_id in look.errors
        }
        told = [target.to_json() for target in targets]
        if len(targets) > MAX_REMEMBERED:
            told = [{name: item[name] for name in item.keys() - {"ticket_id", "created_at"}} for item in told]
        trigger = VambeTicketTrigger(
            vambe_conn_id=self.vambe_conn_id,
            ai_contact_ids=[target.contact_id for target in targets],
            tickets=told if any(told) else [],
            until=wait.until,
            stages=sorted(wait.stages),
            statuses=sorted(wait.statuses),
            mode_of=self.mode_of,
            since=wait.since,
            started=wait.started,
            looked_at=now - look.records_behind,
            began=now,
            again=again,
            deadline=time.time() + self.timeout,
            poll_interval=interval,
            max_failures=int(self.max_failures),
            shared_poll=self.shared_poll and look.changes_are_listed,
        )
        # The trigger ends by itself. Airflow's own timeout, which would not come back to this task, is only for a
        # triggerer that is down.
        backstop = timedelta(seconds=self.timeout + 2 * interval + 600)
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"began": began}, timeout=backstop)
        raise AssertionError("a deferral does not return")

    # What is borne

    def _bear(self, error: Exception) -> None:
        """Go on after a look that failed, or raise when that is the end."""
        waits = self._waits
        if is_mistake(error) or (waits.is_first and (_is_final(error) or isinstance(error, AirflowNotFoundException))):
            raise error
        if waits.patience.fail(error, now=time.monotonic()) and self.mode == "poke":
            raise error
        self.log.warning("This look failed (%s); the next one comes in %g s", kind_of(error), self.poke_interval)

    def _bear_contacts(self, look: Look) -> None:
        """Go on although contacts could not be read, or raise when the API has said so repeatedly."""
        waits, now = self._waits, time.monotonic()
        error = next(iter(look.errors.values()))
        if self.mode_of == "any" and len(look.errors) < len(look.targets):
            self.log.warning("%d contacts could not be read (%s)", len(look.errors), kind_of(error))
            return
        for contact, said in look.errors.items():
            known = waits.refusals.setdefault(contact, Refusals())
            if is_refusal(said):
                known.add(said, now=now)
            if known.final(self._interval(), now=now):
                raise said
        self._bear(error)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Make errors reach Airflow the same way whether the task waits here or in the triggerer."""
        try:
            yield
        except VambeError as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, since never_fail is set: {error}") from error
            if error.permanent:
                raise AirflowFailException(str(error)) from error
            raise

    @contextmanager
    def _only_the_timeout_skips(self) -> Iterator[None]:
        """Have ``soft_fail`` mean the timeout alone: Airflow would skip the task for other errors, too."""
        soft, self.soft_fail = self.soft_fail, False
        try:
            yield
        except AirflowSensorTimeout as timeout:
            if soft:
                raise AirflowSkipException(f"Skipped, since soft_fail is set: {timeout}") from timeout
            raise
        finally:
            self.soft_fail = soft

    # How it ends

    def _say_done(self, look: Look) -> None:
        done = sum(finding.done for finding in look.findings)
        self.log.info("The wait is over: until %s, %d of %d contacts", look.wait.until, done, len(look.findings))

    def _timeout_text(self, look: Look | None, failing: object) -> str:
        from vambe_provider.waiting.ends import timeout_text
        from vambe_provider.waiting.ids import targets

        count = len(targets(self.ai_contact_ids))
        return timeout_text(look, count=count, until=str(self.until), timeout=self.timeout, failing=failing)

    def _push_link(self, hook: VambeHook, context: Context, look: Look) -> None:
        """Leave the URL of the first conversation; a wait never fails for the want of a link."""
        handed_on = self.ai_contact_ids.get("link") if isinstance(self.ai_contact_ids, Mapping) else None
        if handed_on and is_below(handed_on, hook.settings.app_url):
            push_link(context, handed_on)
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


class _Waits:
    """What a task that pokes remembers between its looks.

    :param patience: how many may fail.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.refusals: dict[str, Refusals] = {}
        self.last: Look | None = None
        self.began: float | None = None
        self.is_first = False

    def next_look(self, first: float) -> None:
        """Begin a look.

        :param first: when this try of the task looked for the first time, perhaps in another process.
        """
        self.is_first = self.began is None and time.time() - first < _A_START
        self.began = self.began or first

    def good(self) -> None:
        """Note that all contacts could be read."""
        self.refusals.clear()
        self.patience.good()


def _is_final(error: BaseException) -> bool:
    """Return whether the first look has shown that no other one will do: it asks for a refusal repeatedly."""
    return is_refusal(error) or refuses_the_key(error) or is_mistake(error)


def _first_start(run: Any) -> float | None:
    """Return when a Dag run started for the first time; clearing it moves its start, and not from when on it ran."""
    times = [getattr(run, "start_date", None)]
    if getattr(run, "clear_number", 0):
        times += [getattr(run, "run_after", None) or getattr(run, "data_interval_end", None)]
    known = [when.timestamp() for when in times if when is not None]
    return min(known, default=None)


def _first_look(context: Mapping[str, Any]) -> float:
    """Return when this try of the task looked for the first time, also when it was rescheduled since."""
    ti = context.get("ti")
    ask = getattr(ti, "get_first_reschedule_date", None)
    # Airflow 2 does not move the start of a task that was rescheduled.
    first = ask(context) if ask is not None else getattr(ti, "start_date", None)
    return float(first.timestamp()) if first is not None else time.time()


def _seconds(value: object, *, name: str) -> float | None:
    from vambe_provider.operators.arguments import given

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
