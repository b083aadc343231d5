"""What the tasks share that open one ticket for each of many rows, wherever the rows come from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import urlencode

from vambe_provider.compat import AirflowSkipException, BaseOperator, time_trigger
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError
from vambe_provider.operators.arguments import (
    DEFAULT_CONNECTION,
    choice,
    delivery_options,
    flag,
    given,
    given_text,
    ledger_page,
    origin_of,
    persons,
    stated,
    whole_number,
)
from vambe_provider.operators.asset_events import tell_outlets
from vambe_provider.operators.errors import permanent_errors_fail
from vambe_provider.operators.ledgers import sql_ledger
from vambe_provider.operators.metrics import count_outcomes
from vambe_provider.operators.policies import check_when_parsed, permission_for, warnings_about
from vambe_provider.operators.stages import Stages, check_sender

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from vambe_provider.api import ConnectionSettings
    from vambe_provider.api.rate import Rate
    from vambe_provider.compat import Context
    from vambe_provider.delivery.batch.report import Report
    from vambe_provider.delivery.batch.source import Rows
    from vambe_provider.delivery.permission import Permission
    from vambe_provider.delivery.rows.mapping import TicketTemplate
    from vambe_provider.delivery.rows.prepare import Preparer
    from vambe_provider.hooks.vambe import VambeHook

DEFER_AFTER = 30.0
"""Seconds with nothing to do for which a deferrable task leaves its worker slot."""
MAX_IDLE = 5
"""Parts of a deferrable task in a row in which nothing could be sent, after which the task fails."""


class Source(Protocol):
    """Where the rows of a batch come from."""

    def open(self) -> AbstractContextManager[Rows]:
        """Open the rows; this and their reading happen in a thread of their own."""
        ...

    def total(self) -> int | None:
        """Return how many rows there are, or None when telling would cost a query."""
        ...


class VambeTicketsOperator(BaseOperator):
    """Base of the operators that open one ticket for each row; see them for the parameters."""

    template_fields: Sequence[str] = (
        "ticket",
        "key_columns",
        "namespace",
        "ledger_conn_id",
        "rate",
        "on_empty",
        "on_unknown",
        "on_change",
        "max_rejected",
        "max_tickets",
        "validate_only",
        "seed",
        "resend",
        "contact_policy",
        "window_override",
        "shard_index",
        "shard_count",
        "vambe_conn_id",
        "phone_id",
        "channel",
    )
    template_fields_renderers = {"ticket": "json"}
    ui_color = "#dcf8c6"

    def __init__(
        self,
        *,
        key_columns: Sequence[str] | str,
        ticket: TicketTemplate,
        namespace: str | None = None,
        ledger_conn_id: str | None = None,
        max_concurrency: int = 8,
        rate: str | None = None,
        on_empty: str = "skip",
        on_unknown: str = "fail",
        on_change: str = "ignore",
        max_rejected: int | str = 0,
        max_tickets: int | str | None = None,
        dry_run: bool | str = False,
        seed: bool | str = False,
        resend: bool | str = False,
        contact_policy: object | None = None,
        window_override: str | None = None,
        shard_index: int | str = 0,
        shard_count: int | str = 1,
        deferrable: bool = False,
        vambe_conn_id: str = DEFAULT_CONNECTION,
        phone_id: str | None = None,
        channel: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.key_columns = key_columns
        self.ticket = ticket
        if callable(ticket):
            # A function is no template, and its address in memory would make every parse of the Dag file a new version.
            self.template_fields = tuple(name for name in self.template_fields if name != "ticket")
        self.namespace = namespace
        self.ledger_conn_id = ledger_conn_id
        self.max_concurrency = max_concurrency
        self.rate = rate
        self.on_empty = on_empty
        self.on_unknown = on_unknown
        self.on_change = on_change
        self.max_rejected = max_rejected
        self.max_tickets = max_tickets
        self.seed = seed
        self._given = frozenset(
            name for name, value in (("namespace", namespace), ("ledger_conn_id", ledger_conn_id)) if value is not None
        )
        # The base class has a method `dry_run`, which is something else.
        self.validate_only = dry_run
        self.resend = resend
        self.contact_policy = contact_policy
        check_when_parsed(contact_policy)
        self.window_override = window_override
        self.shard_index = shard_index
        self.shard_count = shard_count
        self.deferrable = deferrable
        self.vambe_conn_id = vambe_conn_id
        self.phone_id = phone_id
        self.channel = channel
        self._stop: threading.Event | None = None
        self._earlier: dict[str, Any] | None = None
        self._delivered: dict[str, Any] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Open the tickets and return the report."""
        return self._run(context)

    def resume(
        self, context: Context, event: object = None, *, earlier: dict[str, Any] | None = None, idle: int = 0
    ) -> dict[str, Any]:
        """Go on after the task gave its worker slot back; Airflow calls this.

        :param event: the time, of no interest.
        :param earlier: the report until then. ``dag.test()`` may lose it; rows of earlier parts then count
            as already open.
        :param idle: how often in a row the task has resumed and nothing could be sent.
        """
        self._earlier = earlier
        return self._run(context, idle=idle)

    def _run(self, context: Context, *, idle: int = 0) -> dict[str, Any]:
        from vambe_provider.hooks.vambe import VambeHook

        self._stop = threading.Event()
        conn_id = given(self.vambe_conn_id) or DEFAULT_CONNECTION
        with permanent_errors_fail(), VambeHook(conn_id) as hook:
            report = self._deliver(hook, context)
            # Whoever sleeps until a window opens has not tried in vain.
            idle = 0 if report.advanced(self._earlier) else idle + (not report.waits_for_policy)
            report.merge(self._earlier)
            self._delivered = {"account": hook.settings.account, "sender": self._sender(hook.settings)}
            self._delivered["counts"] = report.to_json()["counts"]
            if idle >= MAX_IDLE and report.resume_in is not None and not report.waits_for_policy:
                report.stopped, report.resume_in = f"nothing could be sent {MAX_IDLE} times in a row", None
            if report.resume_in is None:
                return self._conclude(report, context)
        self._leave_slot(report, report.resume_in, idle)

    def _leave_slot(self, report: Report, seconds: float, idle: int) -> NoReturn:
        """Defer until there is something to do; the ledger knows where the task was."""
        from vambe_provider.delivery.pace.rate import duration

        self.log.info("%s; going on in %s, until then without a worker slot", report.summary(), duration(seconds))
        self.defer(
            trigger=time_trigger(datetime.now(UTC) + timedelta(seconds=seconds)),
            method_name="resume",
            kwargs={"earlier": report.to_json(), "idle": idle},
        )

    def _sender(self, settings: ConnectionSettings) -> str:
        channel = given_text(self.channel) or settings.channel
        return f"{channel}/{given_text(self.phone_id) or settings.phone_id or 'default'}"

    def query(self) -> tuple[str, str] | None:
        """Return the connection and the text of the query that gave the rows, or None when none did."""
        return None

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage what was read and what became of it; its provider calls this, also after a failure.

        :param task_instance: of no interest.
        """
        if self._delivered is None:
            return None
        from vambe_provider.lineage import lineage_of

        return lineage_of(**self._delivered, query=self.query())

    def on_kill(self) -> None:
        """Begin no further ticket; what is on its way is finished and recorded."""
        if self._stop is not None:
            self._stop.set()

    def open_source(self) -> AbstractContextManager[Source]:
        """Return the source of the rows, closed when the block ends."""
        raise NotImplementedError

    def ledger_connection(self) -> str:
        """Return the connection of the ledger.

        :raises VambeConfigError: when none is given, or its template gave nothing.
        """
        conn_id = self.stated("ledger_conn_id", "without it nothing remembers what was sent")
        if conn_id is None:
            raise VambeConfigError(
                "ledger_conn_id: is missing", fix="Name a database connection; the tables of the ledger are made in it."
            )
        return conn_id

    def stated(self, name: str, why: str) -> str | None:
        """Return one of the arguments that nothing must not stand in for; None when it was left out."""
        return stated(getattr(self, name), name=name, was_given=name in self._given, why=why)

    def key_namespace(self, context: Context) -> str:
        """Return the set in which the keys are unique; by default the task's own.

        :raises VambeConfigError: when it is not a usable name, or a mapped task has none.
        """
        from vambe_provider.delivery.key import check_namespace

        name = self.stated("namespace", "with another namespace everything would be sent again")
        if name is None and getattr(context.get("ti"), "map_index", -1) >= 0:
            raise VambeConfigError(
                "namespace: a mapped task needs one, because all of its parts share the task's name",
                fix="Give the parts that read the same rows one namespace, such as 'late-orders', and all others a "
                "namespace of their own, such as 'late-orders-cl'.",
            )
        # A slash is in no Dag id and no task id, so that two tasks never have the same default.
        return check_namespace(name or f"{self.dag_id}/{self.task_id}")

    def keys(self) -> list[str]:
        """Return the names of the key columns; a text may hold several, separated by commas."""
        names = self.key_columns.split(",") if isinstance(self.key_columns, str) else self.key_columns
        return [str(name).strip() for name in names if str(name).strip()]

    def _deliver(self, hook: VambeHook, context: Context) -> Report:
        from vambe_provider.delivery.batch.deliver import deliver_many
        from vambe_provider.delivery.batch.report import allowed

        sender = {"phone_id": given_text(self.phone_id), "channel": given_text(self.channel)}
        ledger_conn_id = self.ledger_connection()
        made = delivery_options(
            origin=origin_of(context, dag_id=self.dag_id, task_id=self.task_id),
            settings=hook.settings,
            on_unknown=self.on_unknown,
            on_change=self.on_change,
            resend=self.resend,
            ledger_conn_id=ledger_conn_id,
            **sender,
        )
        options = replace(made, policy=self._permission(hook.settings, ledger_conn_id))
        self._check_arguments()
        allowed(self.max_rejected, 0)
        prepare = self._preparer(hook, sender, self.key_namespace(context), options.policy)
        rate = self._rate(hook.settings, sender["channel"])
        dry_run = flag(self.validate_only, name="dry_run")
        with self.open_source() as source, sql_ledger(ledger_conn_id) as ledger:
            return deliver_many(
                source.open,
                prepare=prepare,
                ledger=ledger,
                settings=hook.settings,
                options=options,
                persons=persons(),
                max_concurrency=whole_number(self.max_concurrency, name="max_concurrency", least=1),
                max_tickets=self._max_tickets(),
                seed=flag(self.seed, name="seed"),
                rate=rate,
                # Said once, and not on every resumption.
                total=self._expected(source, rate) if rate and not (dry_run or self._earlier) else None,
                dry_run=dry_run,
                defer_after=DEFER_AFTER if self.deferrable else None,
                log=self.log.info,
                warn=self.log.warning,
                stop=self._stop,
                **sender,
            )

    def _max_tickets(self) -> int | None:
        value = given(self.max_tickets)
        return None if value is None else whole_number(value, name="max_tickets", least=0)

    def _check_arguments(self) -> None:
        choice(self.on_empty, name="on_empty", allowed=("skip", "succeed", "fail"))

    def _permission(self, settings: ConnectionSettings, ledger_conn_id: str) -> Permission | None:
        """Return what asks the contact policy; None when neither the task nor its connection has one."""
        override = given_text(self.window_override)
        permission = permission_for(self.contact_policy, settings, ledger_conn_id=ledger_conn_id, override=override)
        if permission is not None and not self._earlier:
            for warning in warnings_about(permission.policy):
                self.log.warning(warning)
        return permission

    def _preparer(
        self, hook: VambeHook, sender: dict[str, Any], namespace: str, permission: Permission | None
    ) -> Preparer:
        from vambe_provider.api.texts import mapping_from
        from vambe_provider.delivery.rows.mapping import compile_ticket
        from vambe_provider.delivery.rows.prepare import Preparer

        check_sender(hook.settings, **sender)
        template: Any = self.ticket if callable(self.ticket) else mapping_from(self.ticket)
        return Preparer(
            compile_ticket(template),
            key_columns=self.keys(),
            namespace=namespace,
            settings=hook.settings,
            resolve_stage=Stages(hook).id_of,
            persons=persons(),
            shard=(
                whole_number(self.shard_index, name="shard_index", least=0),
                whole_number(self.shard_count, name="shard_count", least=1),
            ),
            permission=permission,
            **sender,
        )

    def _rate(self, settings: ConnectionSettings, channel: str | None) -> Rate | None:
        from vambe_provider.api.rate import parse_rate

        rate = given_text(self.rate)
        return parse_rate(rate) if rate else settings.rate_for(channel)

    def _expected(self, source: Source, rate: Rate) -> int | None:
        """Return how many rows to expect, and say what the rate means for them."""
        from vambe_provider.delivery.pace.rate import expected_time

        rows = source.total()
        if rows is None:
            self.log.info("Tickets go out at %s at most", rate)
            return None
        share = -(-rows // int(self.shard_count))
        self.log.info(expected_time(share, rate))
        return share

    def _conclude(self, report: Report, context: Context) -> dict[str, Any]:
        result = report.to_json()
        count_outcomes(result["counts"])
        tell_outlets(context, self.outlets, result["counts"])
        for error in report.errors:
            self.log.warning("%s %s: %s", error["outcome"], error["key"] or "(no key)", error["reason"])
        failure = report.verdict(self.max_rejected, **self._where_to_decide(context))
        if failure is not None:
            # Airflow keeps what a task returns only when it succeeds, and the report matters most when it does not.
            if (ti := context.get("ti")) is not None:
                ti.xcom_push(key="return_value", value=result)
            raise failure
        if not report.any_rows:
            self._nothing_to_do()
        return result

    def _where_to_decide(self, context: Context) -> dict[str, Any]:
        """Return what an error says of the ledger and of the page that shows it."""
        conn_id = self.ledger_connection()
        wanted = {"ledger": conn_id, "namespace": self.key_namespace(context), "state": "unknown"}
        page = ledger_page(conn_id)
        return {"conn_id": conn_id, "page": f"{page}/tickets?{urlencode(wanted)}" if page else None}

    def _nothing_to_do(self) -> None:
        match choice(self.on_empty, name="on_empty", allowed=("skip", "succeed", "fail")):
            case "skip":
                raise AirflowSkipException("There are no rows, so there is nothing to send.")
            case "fail":
                raise VambeDeliveryError(
                    "There are no rows", fix="Check the source, or set on_empty to skip or succeed when that is normal."
                )
