"""Open one Vambe ticket, or one for each row of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import BaseOperator, context_merge
from vambe_provider.exceptions import VambeError, VambeValidationError
from vambe_provider.links.vambe import VambeConversationLink, conversation_url, push_link
from vambe_provider.operators.arguments import (
    DEFAULT_CONNECTION,
    delivery_options,
    flag,
    given,
    given_text,
    origin_of,
    person_secret,
    persons,
    stated,
)
from vambe_provider.operators.asset_events import tell_outlets
from vambe_provider.operators.batch import VambeTicketsOperator
from vambe_provider.operators.errors import permanent_errors_fail
from vambe_provider.operators.ledgers import ledger_for
from vambe_provider.operators.metrics import count_outcomes
from vambe_provider.operators.rows import HandedRows
from vambe_provider.operators.stages import Stages, check_sender, refuse_policy

if TYPE_CHECKING:
    from vambe_provider.compat import Context, XComArg
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.model import Origin, Result, Work
    from vambe_provider.hooks.vambe import VambeHook

_HOW_TO_RESEND = (
    "It was opened before, so nothing was sent. To send it again on purpose, run the task with resend=True, as "
    'by resend="{{ dag_run.conf.get(\'resend\', False) }}" and a run with the conf {"resend": true}.'
)


class VambeOpenTicketOperator(BaseOperator):
    """Open one ticket, exactly once.

    Every argument that is text is a template. Values may be native Python types or what a template makes of them: a
    number for a phone, JSON text for a dict, ``"True"`` for a boolean. Null, an empty text and the text ``None`` mean
    that a field is not given; only a message has to be left out, since without one Vambe's assistant may write first.
    All problems of a ticket are named in one error, and nothing is sent.

    Follows https://docs.vambe.me/reference/ticket/open-ticket-web-whatsapp.

    On a task retry, and when the task is cleared, the ticket is not sent again: the ledger knows it (see
    ``ledger_conn_id``), and what may have been sent is looked up in Vambe first.

    :param to_phone_number: number with country code, or without one when the connection has a ``default_region``.
    :param stage: where the ticket starts: ``Support / New``, ``New``, or the id.
    :param contact_name: full name of the contact.
    :param email: e-mail address of the contact; Airflow's own mails about this task go to the ``email`` of
        ``default_args``, as for any task, and never here. In a mapped task, give it in ``ticket``.
    :param contact_metadata: facts about the person; values are sent as text, nulls are left out.
    :param ticket_metadata: facts about this ticket; likewise.
    :param integration_data: ids in other systems; likewise.
    :param message: the first message: a text, or ``{content, templateId, ai_generated}``. None sends none.
    :param ticket: the whole request as one dict, from an XCom for instance. Fields that are also given on their own
        win; of the three metadata objects, only the names that are given.
    :param phone_id: the sender; default the connection's.
    :param channel: ``web-whatsapp`` or ``whatsapp``; default the connection's.
    :param vambe_conn_id: the connection, of the type ``vambe``.
    :param ticket_key: what makes this ticket the same one in every try, such as ``order-late/{{ params.order_id }}``;
        one key is one ticket for ever. The same key with another person is an error. Default: Dag, task and run; in a
        mapped task or a loop also the person. Put no personal data in it.
    :param namespace: the set in which ``ticket_key`` is unique; default the Dag's id. Set it to share keys between
        Dags, or to rename a Dag.
    :param ledger_conn_id: database connection in which opened tickets are remembered, in the tables
        ``vambe_ticket_ledger`` and ``vambe_ticket_attempts``. Without one, Airflow 3.3 and newer remember in the
        task's state store; where that is empty on a later try, the task looks in Vambe for what an earlier try did.
    :param on_unknown: what to do with a ticket that may exist when no check can tell: ``fail`` leaves it to a person,
        ``resend`` sends it again.
    :param dry_run: check everything, send nothing, and answer ``dry_run``.
    :param resend: open the ticket again although it is open, once per Dag run; a boolean or a template.
    :param allow_placeholders: send a message or a name that holds ``None``, ``nan`` or braces as of a template; by
        default such a ticket is refused.
    :return: ``{"ai_contact_id", "ticket_key", "outcome", "stage_id", "link", "account", "mark", "opened_at",
        "opened_until"}``; the outcome is ``opened``, ``already_opened``, ``reconciled`` or ``dry_run``. The last three
        tell a later wait which ticket it waits for: what stands in its metadata, and between which times by Vambe's
        clock it was opened, as ISO 8601 in UTC; null when they are not known.
    :raises AirflowFailException: when a retry could not change anything: wrong data, a refused request, a wrong key, or
        a ticket of which nobody can tell whether it exists.
    :raises VambeError: when a retry may work.
    """

    # What Airflow's base class calls `email` and `dry_run` is something else, so these two have other names inside.
    template_fields: Sequence[str] = (
        "to_phone_number",
        "stage",
        "contact_name",
        "contact_email",
        "contact_metadata",
        "ticket_metadata",
        "integration_data",
        "message",
        "ticket",
        "phone_id",
        "channel",
        "vambe_conn_id",
        "ticket_key",
        "namespace",
        "ledger_conn_id",
        "on_unknown",
        "validate_only",
        "resend",
        "allow_placeholders",
    )
    template_fields_renderers = {
        "contact_metadata": "json",
        "ticket_metadata": "json",
        "integration_data": "json",
        "ticket": "json",
    }
    operator_extra_links = (VambeConversationLink(),)
    ui_color = "#dcf8c6"

    def __init__(
        self,
        *,
        to_phone_number: str | int | None = None,
        stage: str | None = None,
        contact_name: str | None = None,
        email: str | None = None,
        contact_metadata: Mapping[str, Any] | str | None = None,
        ticket_metadata: Mapping[str, Any] | str | None = None,
        integration_data: Mapping[str, Any] | str | None = None,
        message: Mapping[str, Any] | str | None = None,
        ticket: Mapping[str, Any] | XComArg | str | None = None,
        phone_id: str | None = None,
        channel: str | None = None,
        vambe_conn_id: str = DEFAULT_CONNECTION,
        ticket_key: str | None = None,
        namespace: str | None = None,
        ledger_conn_id: str | None = None,
        on_unknown: str = "fail",
        dry_run: bool | str = False,
        resend: bool | str = False,
        allow_placeholders: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to_phone_number = to_phone_number
        self.stage = stage
        self.contact_name = contact_name
        # Airflow fills an argument of this name from default_args too, where it is who gets mails about failures.
        self.contact_email = None if email == (kwargs.get("default_args") or {}).get("email") else email
        self.contact_metadata = contact_metadata
        self.ticket_metadata = ticket_metadata
        self.integration_data = integration_data
        self.message = message
        self.ticket = ticket
        self.phone_id = phone_id
        self.channel = channel
        self.vambe_conn_id = vambe_conn_id
        self.ticket_key = ticket_key
        self.namespace = namespace
        self.ledger_conn_id = ledger_conn_id
        self.on_unknown = on_unknown
        self.validate_only = dry_run
        self.resend = resend
        self.allow_placeholders = allow_placeholders
        named = {"ticket_key": ticket_key, "namespace": namespace, "ledger_conn_id": ledger_conn_id}
        self._given = frozenset(name for name, value in named.items() if value is not None)

    def execute(self, context: Context) -> dict[str, Any]:
        """Open the ticket, or find that it is open."""
        from vambe_provider.hooks.vambe import VambeHook

        conn_id = given(self.vambe_conn_id) or DEFAULT_CONNECTION
        with permanent_errors_fail(), VambeHook(conn_id) as hook:
            return self._open(hook, context)

    def _open(self, hook: VambeHook, context: Context) -> dict[str, Any]:
        from vambe_provider.delivery.model import Outcome, Result
        from vambe_provider.delivery.one import deliver_one

        sender = {"phone_id": given_text(self.phone_id), "channel": given_text(self.channel)}
        ledger_conn_id = self._stated("ledger_conn_id", "without it less is remembered")
        options = delivery_options(
            origin=origin_of(context, dag_id=self.dag_id, task_id=self.task_id),
            settings=hook.settings,
            on_unknown=self.on_unknown,
            resend=self.resend,
            ledger_conn_id=ledger_conn_id,
            **sender,
        )
        stages = Stages(hook)
        work = self._work(hook, stages, options.origin, sender, context)
        _name_part(context, work.key)
        if flag(self.validate_only, name="dry_run"):
            result = Result(Outcome.DRY_RUN, work.key)
        else:
            with ledger_for(ledger_conn_id, context) as ledger:
                result = deliver_one(
                    work,
                    ledger=ledger,
                    settings=hook.settings,
                    options=options,
                    persons=persons(),
                    log=self.log.info,
                    **sender,
                )
        count_outcomes({result.outcome.value: 1})
        tell_outlets(context, self.outlets, {result.outcome.value: 1})
        if result.error is not None:
            raise result.error
        self._log_outcome(result)
        link = self._link(hook, stages, work.ticket.stage_id, result.ai_contact_id)
        push_link(context, link)
        return {
            "ai_contact_id": result.ai_contact_id,
            "ticket_key": result.key.digest,
            "outcome": result.outcome.value,
            "stage_id": work.ticket.stage_id,
            "link": link,
            "account": options.account,
            **_opening(result),
        }

    def _stated(self, name: str, why: str) -> str | None:
        return stated(getattr(self, name), name=name, was_given=name in self._given, why=why)

    def _work(self, hook: VambeHook, stages: Stages, origin: Origin, sender: dict[str, Any], context: Context) -> Work:
        from vambe_provider.delivery.rows.prepare import prepare_ticket
        from vambe_provider.operators.request import merged_request, placeholders

        refuse_policy(hook.settings)
        check_sender(hook.settings, **sender)
        fields = {
            "to_phone_number": self.to_phone_number,
            "stage": self.stage,
            "contact_name": self.contact_name,
            "email": self.contact_email,
            "contact_metadata": self.contact_metadata,
            "ticket_metadata": self.ticket_metadata,
            "integration_data": self.integration_data,
            "message": self.message,
        }
        request, problems = merged_request(self.ticket, fields)
        namespace = self._stated("namespace", "in another namespace the ticket would be sent again")
        stated_name = self._stated("ticket_key", "without it every run would send the ticket again")
        name = stated_name or f"{origin.dag}/{origin.task}/{origin.run}"
        key = _key(namespace or origin.dag, name, request, given=stated_name is not None)
        try:
            work = prepare_ticket(
                request,
                key=key,
                settings=hook.settings,
                resolve_stage=stages.id_of,
                persons=persons(),
                where="the ticket",
                **sender,
            )
        except VambeValidationError as error:
            problems += error.problems
        if not flag(self.allow_placeholders, name="allow_placeholders"):
            problems += placeholders(request)
        if problems:
            raise VambeValidationError(problems, fix="Correct the arguments of the task or the data behind them.")
        more = "" if stated_name is not None else _what_tells_parts_apart(context, work)
        return replace(work, key=_key(key.namespace, f"{name}{more}", request, given=False)) if more else work

    def _log_outcome(self, result: Result) -> None:
        self.log.info("Ticket %s: %s", result.key.text, result.outcome.value.replace("_", " "))
        if result.note:
            self.log.info(result.note)
        if result.outcome == "already_opened":
            self.log.info(_HOW_TO_RESEND)

    def _link(self, hook: VambeHook, stages: Stages, stage_id: str, ai_contact_id: str | None) -> str | None:
        """Return the address of the conversation; a link is a convenience and never fails a task."""
        if ai_contact_id is None:
            return None
        try:
            pipeline_id = stages.find(stage_id).pipeline_id
        except VambeError as error:
            self.log.info("No link to the conversation: %s", error.message)
            return None
        app_url = hook.settings.app_url
        return conversation_url(app_url=app_url, pipeline_id=str(pipeline_id), ai_contact_id=ai_contact_id)


def _key(namespace: str, name: str, request: Mapping[str, Any], *, given: bool) -> TicketKey:
    """Return the key of a single ticket; personal data in its name is not readable in logs and in the ledger."""
    from vambe_provider.delivery.key import check_namespace, named_key

    personal = [str(request.get(field) or "") for field in ("to_phone_number", "email", "contact_name")]
    return named_key(check_namespace(namespace), name, given=given, personal=personal, secret=person_secret())


def _what_tells_parts_apart(context: Context, work: Work) -> str:
    """Return what the default key has besides Dag, task and run: the person in a mapped task or a loop, and the loop's
    turn. Not the position in a mapped list: a list that changed would then message one person twice and one never.
    """
    ti = context.get("ti")
    turn = getattr(ti, "region_index", None)
    turn = turn if isinstance(turn, int) and turn >= 0 else None
    if turn is None and (getattr(ti, "map_index", -1) or 0) < 0:
        return ""
    return f"/{work.person[:16]}" + ("" if turn is None else f"/loop-{turn}")


def _name_part(context: Context, key: TicketKey) -> None:
    """Call a part of a mapped task by its ticket in Airflow's lists, unless the Dag has a name for it.

    The name is the key as logs show it, with a hash in place of what may be personal.
    """
    if (getattr(context.get("ti"), "map_index", -1) or 0) < 0:
        return
    values: dict[str, Any] = {"vambe_ticket_key": key.text}
    if context.get("map_index_template") is None:
        values["map_index_template"] = "{{ vambe_ticket_key }}"
    context_merge(context, values)


def _opening(result: Result) -> dict[str, Any]:
    """Return what a later wait has to know of the opening, by the API's clock."""
    attempt = result.attempt
    if attempt is None:
        return {"mark": None, "opened_at": None, "opened_until": None}
    return {
        "mark": attempt.mark,
        "opened_at": _iso(attempt.started + result.clock_offset),
        "opened_until": _iso(attempt.ended + result.clock_offset),
    }


def _iso(moment: float) -> str:
    from vambe_provider.api.texts import iso_utc

    return iso_utc(datetime.fromtimestamp(moment, UTC), "milliseconds")


class VambeOpenTicketBatchOperator(VambeTicketsOperator):
    """Open one ticket for each row of a list, each exactly once.

    The rows are data: nothing in an XCom is a template. A row that cannot be sent is rejected with the reason and stops
    no other. For rows of a database, :class:`~vambe_provider.transfers.sql_to_vambe.SqlToVambeTicketsOperator` streams
    them and needs no XCom.

    On a task retry, and when the task is cleared, rows whose ticket is open are not sent again; what may have been sent
    is looked up in Vambe first. A killed task finishes and records what is on its way.

    :param rows: a list of dicts, usually the output of another task.
    :param key_columns: the columns that make a row what it is. One key is one ticket for ever, so a reminder that is to
        come every month needs the month in its key.
    :param ticket: the request: a dict in whose texts ``{column}`` stands for the row's value, or a function from a row
        to such a dict, or to None to skip the row. A value that is nothing but ``{column}`` keeps its type and may be
        null; a null inside a text rejects the row. Formats are Python's, as ``{total:,.0f}``.
    :param namespace: the set in which keys are unique; default ``dag/task``, and needed in a mapped task. Set it, so
        that a renamed Dag sends nothing twice.
    :param ledger_conn_id: database connection in which opened tickets are remembered, in the tables
        ``vambe_ticket_ledger`` and ``vambe_ticket_attempts``; needed.
    :param max_concurrency: requests that may be on their way at once.
    :param rate: tickets per period for the sender, as ``10/minute``, or ``none``; default the connection's.
    :param on_empty: what to do without rows: ``skip`` the task, ``succeed`` or ``fail``.
    :param on_unknown: what to do with a ticket that may exist when no check can tell: ``fail`` leaves it to a person,
        ``resend`` sends it again.
    :param on_change: what to do when the content of an open ticket's row changed: ``ignore``, or ``open_again``.
    :param max_rejected: rejected rows with which the task still succeeds: a number, or a share as ``"5%"``; judged when
        every row was tried.
    :param max_tickets: open at most so many tickets in this run; the other rows are reported as ``left`` and come in
        the next run. None for no limit.
    :param dry_run: check everything and look it up in the ledger, send nothing; the report has a ``preview`` of the
        first 20 rows, with everything personal masked.
    :param seed: record every row as done and send nothing: for the backlog on the first day.
    :param resend: open tickets again although they are open, once per Dag run; a boolean or a template.
    :param contact_policy: when a row may be sent: a ``ContactPolicy``, a mapping of its fields, or a preset's name;
        default the connection's. Asked when a row is taken in and again right before its request. A row that must wait
        is ``postponed`` until a time that the report names; with ``deferrable`` the task sleeps until then and goes on,
        without, a later run does. A row whose ticket is open costs nothing.
    :param window_override: why tickets are sent although no window of the policy is open, up to 200 characters; kept
        with each attempt in the ledger. No other rule can be overridden.
    :param shard_index: which share of the rows this task takes, from 0 on.
    :param shard_count: in how many shares the rows are split; each row belongs to exactly one.
    :param deferrable: give the worker slot back whenever there is nothing to do for 30 seconds because of the rate, a
        429 or the lease of a killed worker. The arguments are rendered and the rows read again on each resumption.
        Airflow 2 counts ``execution_timeout`` from the first start on, deferrals included; Airflow 3 counts it anew
        after each.
    :param vambe_conn_id: the connection, of the type ``vambe``.
    :param phone_id: the sender; default the connection's.
    :param channel: ``web-whatsapp`` or ``whatsapp``; default the connection's.
    :return: the report: rows, counts by outcome, the first 20 errors, contacts, seconds. It is in the XCom of a failed
        task too.
    :raises AirflowFailException: when a retry could not change anything, as with too many rejected rows.
    :raises VambeError: when a retry may work; it goes on with the rows that are left.
    """

    template_fields: Sequence[str] = ("rows", *VambeTicketsOperator.template_fields)
    template_fields_renderers = {**VambeTicketsOperator.template_fields_renderers, "rows": "json"}

    def __init__(self, *, rows: Sequence[Mapping[str, Any]] | XComArg | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows

    @contextmanager
    def open_source(self) -> Iterator[HandedRows]:
        """Return the rows."""
        yield HandedRows(self.rows)
