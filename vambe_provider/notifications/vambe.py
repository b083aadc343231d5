"""Tell a person on WhatsApp that a Dag failed, missed a deadline or waits for a decision: one ticket, however often."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AIRFLOW_V_3_1_PLUS, BaseNotifier
from vambe_provider.exceptions import VambeConfigError, VambeError
from vambe_provider.notifications.event import Event, read_event
from vambe_provider.notifications.memory import Memory, seen_as_a_task
from vambe_provider.operators.arguments import DEFAULT_CONNECTION, delivery_options, given, given_text

if TYPE_CHECKING:
    from vambe_provider.compat import Context
    from vambe_provider.hooks.vambe import VambeHook


class VambeNotifier(BaseNotifier):
    """Open one ticket for a failure, a missed deadline or a decision that is waited for, and close it on recovery.

    For ``on_failure_callback``, ``on_retry_callback``, ``on_success_callback``, for the callback of a
    ``DeadlineAlert``, and for the ``notifiers`` of the operators that wait for a person. All arguments are plain
    values. Texts are templates with the names of the callback's context, such as ``dag_run``, ``ti`` and ``exception``;
    the callbacks of a Dag and of a deadline have no ``ti``. The notifier never fails a task: what goes wrong is one
    line in the log.

    One ticket is opened for each Dag, task and run, and a later event of the same is written to the ticket's metadata:
    ``airflow_last_event``, ``airflow_last_error``, ``airflow_last_run``, ``airflow_last_task``, ``airflow_last_at``. A
    retried or repeated callback sends nothing twice: the ledger knows the ticket. Without a ledger, Airflow 3.3 and
    newer remember in the task's state store, and where that is empty on a later try, the notifier looks in Vambe first
    and opens no ticket when nobody can tell.

    Follows https://docs.vambe.me/reference/ticket/open-ticket-web-whatsapp.

    :param to_phone_number: the number of the person on duty, with country code; needed to open.
    :param stage: where the ticket starts, as ``Operations / Alerts``; needed to open.
    :param message: the first message; default a sentence with Dag, task, run, the class of the exception and the names
        of failed tests. The text of the exception may quote data and is only in it when a template names it.
    :param contact_name: full name of the contact.
    :param ticket_metadata: further facts about the ticket; those of the event come as ``airflow_event`` and so on.
    :param action: ``open``, or ``close`` for recovery: the tickets are closed that a notifier of the same Dag and task
        has opened within 7 days, the newest 5. Of a Dag's own callback these are the tickets of the Dag's callbacks.
    :param throttle: at most one ticket for the whole Dag in so much time, as ``6 hours`` or a ``timedelta``; later
        events are written to its metadata. Needs ``ledger_conn_id``. Default: none. A ``close`` needs it too, to
        close such tickets.
    :param ledger_conn_id: database connection in which opened tickets are remembered. Without one only this run's
        ticket can be closed, and the asynchronous way refuses, because a triggerer may run a callback twice.
    :param namespace: the set in which the keys are unique; default ``alert/`` with the Dag and the task.
    :param ticket_key: what is one ticket in place of the run, such as ``{{ ds }}``; not with ``throttle``.
    :param vambe_conn_id: the connection, of the type ``vambe``.
    :param phone_id: the sender; default the connection's.
    :param channel: ``web-whatsapp`` or ``whatsapp``; default the connection's.
    :raises VambeConfigError: when the Dag file is read, for arguments that can never work.
    """

    template_fields: Sequence[str] = (
        "to_phone_number",
        "stage",
        "message",
        "contact_name",
        "ticket_metadata",
        "ledger_conn_id",
        "namespace",
        "ticket_key",
        "vambe_conn_id",
        "phone_id",
        "channel",
    )

    def __init__(
        self,
        *,
        to_phone_number: str | int | None = None,
        stage: str | None = None,
        message: str | None = None,
        contact_name: str | None = None,
        ticket_metadata: Mapping[str, Any] | None = None,
        action: str = "open",
        throttle: str | timedelta | None = None,
        ledger_conn_id: str | None = None,
        namespace: str | None = None,
        ticket_key: str | None = None,
        vambe_conn_id: str = DEFAULT_CONNECTION,
        phone_id: str | None = None,
        channel: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.to_phone_number = to_phone_number
        self.stage = stage
        self.message = message
        self.contact_name = contact_name
        self.ticket_metadata = ticket_metadata
        self.action = action
        self.throttle = throttle
        self.ledger_conn_id = ledger_conn_id
        self.namespace = namespace
        self.ticket_key = ticket_key
        self.vambe_conn_id = vambe_conn_id
        self.phone_id = phone_id
        self.channel = channel
        if AIRFLOW_V_3_1_PLUS:
            super().__init__(**kwargs)
        else:  # takes no context yet
            super().__init__()
        self._seconds = self._checked()
        self._written = {name: getattr(self, name) for name in self.template_fields}
        self._broken: Exception | None = None

    def _checked(self) -> float | None:
        """Return the seconds of the throttle.

        :raises VambeConfigError: for what can never work, so that it shows before the first failure.
        """
        if self.action not in ("open", "close"):
            raise VambeConfigError("action: is neither open nor close", fix="Give one of them.")
        if self.action == "open" and (self.to_phone_number is None or self.stage is None):
            raise VambeConfigError("to_phone_number, stage: both are needed to open a ticket", fix="Give both.")
        if self.throttle is None:
            return None
        if self.ledger_conn_id is None:
            raise VambeConfigError(
                "throttle: nothing remembers the last ticket without a ledger", fix="Set ledger_conn_id."
            )
        if self.ticket_key is not None:
            raise VambeConfigError("ticket_key: has no meaning with throttle", fix="Leave one of them out.")
        from vambe_provider.contact_policy.fields import duration

        return duration(self.throttle, "throttle").total_seconds()

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Fill the templates anew for each event, and keep what is wrong with them for the log."""
        self._broken = None
        for name, value in self._written.items():
            setattr(self, name, value)
        try:
            super().render_template_fields(context, jinja_env)
        except Exception as error:  # noqa: BLE001 - a notifier never fails what it speaks of
            self._broken = error
        for name, value in self._written.items():
            # Airflow 2 leaves a template as it is when it gives nothing.
            if isinstance(value, str) and ("{{" in value or "{%" in value) and getattr(self, name) == value:
                setattr(self, name, "")

    def notify(self, context: Context) -> None:
        """Open the ticket, write a later event to it, or close it."""
        event: Event | None = None
        try:
            self._check_templates()
            event = read_event(context)
            self._act(event, context)
        except Exception as error:  # noqa: BLE001 - a notifier never fails what it speaks of
            self.log.error("VambeNotifier for %s: %s", event or "an event", _in_words(error))  # noqa: TRY400

    def _check_templates(self) -> None:
        if self._broken is not None:
            raise VambeConfigError(
                f"A template of the notifier could not be filled ({type(self._broken).__name__})",
                fix="Use names that this callback has, such as `{{ dag_run.dag_id }}`; a Dag's callback has no ti.",
            ) from self._broken

    async def async_notify(self, context: Context) -> None:
        """Do the same in a triggerer, in a thread of its own; needs a ledger."""
        from asgiref.sync import sync_to_async

        if given(self.ledger_conn_id) is None:
            self.log.error(
                "VambeNotifier: no ticket was opened: a triggerer may run this twice, and nothing would remember. "
                "Set ledger_conn_id."
            )
            return
        await sync_to_async(self.notify, thread_sensitive=False)(context)

    def _act(self, event: Event, context: Context) -> None:
        from vambe_provider.hooks.vambe import VambeHook

        with VambeHook(given_text(self.vambe_conn_id) or DEFAULT_CONNECTION) as hook:
            if self.action == "close":
                self._close(hook, event, context)
                return
            result = self._open(hook, event, context)
            if result["outcome"] == "already_opened":
                self._write(hook, event, result)

    def _open(self, hook: VambeHook, event: Event, context: Context) -> dict[str, Any]:
        """Open the ticket as the operator does, with a task instance that is only looked at."""
        from vambe_provider.operators.vambe import VambeOpenTicketOperator

        facts = {f"airflow_{name}": value for name, value in event.facts().items()}
        operator = VambeOpenTicketOperator(
            task_id="vambe_notifier",
            to_phone_number=self.to_phone_number,
            stage=self.stage,
            contact_name=self.contact_name,
            message=given(self.message) or event.text(),
            ticket_metadata={**facts, **(self.ticket_metadata or {})},
            phone_id=self.phone_id,
            channel=self.channel,
            vambe_conn_id=self.vambe_conn_id,
            ticket_key=self._name(hook, event),
            namespace=self._place(event),
            ledger_conn_id=self.ledger_conn_id,
            # Better an alert that reads None somewhere than no alert.
            allow_placeholders=True,
        )
        return operator._open(hook, seen_as_a_task(event, context))

    def _write(self, hook: VambeHook, event: Event, result: Mapping[str, Any]) -> None:
        """Write a later event to the ticket that is open, or was."""
        from vambe_provider.operators.own_ticket import precisely
        from vambe_provider.waiting.ids import targets

        found = targets(result)
        if not found:
            self.log.info("The ticket of %s is open, and its contact is not known; nothing was written to it", event)
            return
        [target] = found
        facts = {f"airflow_last_{name}": value for name, value in event.facts().items()}
        facts["airflow_last_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        ticket = precisely(hook, target, {"ai_contact_id": target.contact_id, "allow_closed_ticket": True})
        hook.update_ticket_metadata(facts, **ticket)
        self.log.info("Wrote a later event of %s to its ticket", event)

    def _close(self, hook: VambeHook, event: Event, context: Context) -> None:
        from vambe_provider.operators.own_ticket import close_own

        with self._memory(hook, event, context) as memory:
            found = memory.open_ones(self._place(event), self._name(hook, event))
        for target in found:
            closed, ticket_id = close_own(hook, target, store=None)
            if closed:
                self.log.info("Closed the ticket %s of %s, which recovered", ticket_id or "(id not shown)", event)

    def _place(self, event: Event) -> str:
        """Return the namespace of the tickets: those of one task, or those of the whole Dag."""
        if self.namespace is not None:
            # Given and empty, it stays so for the operator to refuse it: in another namespace it would be sent again.
            return given_text(self.namespace) or ""
        of_task = event.task and self._seconds is None
        return f"alert/{event.dag}/{event.task}" if of_task else f"alert/{event.dag}"

    def _name(self, hook: VambeHook, event: Event) -> str:
        """Return what is one ticket within the namespace."""
        if self.ticket_key is not None:
            return given_text(self.ticket_key) or ""
        if self._seconds is not None and self.action == "open":
            return self._period(hook, event, self._seconds)
        if not event.run:
            raise VambeConfigError(
                "The context of this callback names no Dag run", fix="Set ticket_key to what is one ticket."
            )
        return event.run

    def _period(self, hook: VambeHook, event: Event, seconds: float) -> str:
        """Return this period's name, or the last one's when its ticket is younger than a whole period."""
        now, place = time.time(), self._place(event)
        this, last = (f"{seconds:g}s/{int(now // seconds) - back}" for back in (0, 1))
        with self._memory(hook, event, {}) as memory:
            opened = memory.opened(place, last)
        return last if opened is not None and now - opened.started < seconds else this

    @contextmanager
    def _memory(self, hook: VambeHook, event: Event, context: Mapping[str, Any]) -> Iterator[Memory]:
        """Open the ledger to look at it."""
        from vambe_provider.operators.arguments import origin_of
        from vambe_provider.operators.ledgers import ledger_for

        conn_id, inner = given_text(self.ledger_conn_id), seen_as_a_task(event, context)
        options = delivery_options(
            origin=origin_of(inner, dag_id=event.dag, task_id="-"),
            settings=hook.settings,
            on_unknown="fail",
            resend=False,
            ledger_conn_id=conn_id,
        )
        with ledger_for(conn_id, inner) as ledger:
            yield Memory(ledger, options, conn_id)


def _in_words(error: Exception) -> str:
    """Return an error as one line; what is not the provider's own may quote anything, and only its class is said."""
    if isinstance(error, VambeError):
        return str(error)
    return (
        f"{type(error).__name__}. Check with `python -m vambe_provider check` whether the connection works, and that "
        "the connections of the notifier exist."
    )
