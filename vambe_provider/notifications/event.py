"""What happened, as far as the context of a callback tells. Pure: no Airflow, no network, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

SHOWN = 5
"""Names of failed tests that a message holds; the others are counted."""

Kind = Literal["failure", "deadline", "tests", "approval", "event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a callback is about; nothing in it is personal.

    :param task: empty when it is about the whole Dag run.
    :param error: the name of the exception's class; its text may quote rows, and is left out.
    :param reason: why a Dag run ended, in Airflow's own word.
    :param deadline: the time that was missed.
    :param tests: the names of failed tests, from the context of Cosmos.
    :param results: what they said.
    :param started: when the Dag run began, where that is known.
    """

    kind: Kind
    dag: str
    run: str
    task: str = ""
    map_index: int = -1
    try_number: int = 1
    error: str = ""
    reason: str = ""
    deadline: str = ""
    tests: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    started: datetime | None = None

    def __str__(self) -> str:
        task = f"task {self.task} of the " if self.task else ""
        return f"the {task}Dag {self.dag or '(unknown)'} in the run {self.run or '(unknown)'}"

    def text(self) -> str:
        """Return the message that is sent when the user gives none."""
        what = f"the task {self.task} of the Dag {self.dag}" if self.task else f"the Dag {self.dag}"
        match self.kind:
            case "failure":
                text = f"{what} failed in the run {self.run}" + (f", try {self.try_number}" if self.task else "")
            case "deadline":
                text = f"the run {self.run} of the Dag {self.dag} missed its deadline of {self.deadline}"
            case "tests":
                text = f"tests of {what} did not pass in the run {self.run}"
            case "approval":
                text = f"{what} waits for a decision in the run {self.run}"
            case _:
                text = f"{what} needs attention in the run {self.run}"
        parts = [f"Airflow: {text}."]
        if self.error or self.reason:
            parts.append(f"Reason: {self.error or self.reason}.")
        if self.tests:
            parts.append(f"Tests: {_some(self.tests)}.")
        return " ".join(parts)

    def facts(self) -> dict[str, str]:
        """Return what stands in the ticket's metadata."""
        named = {
            "event": self.kind,
            "dag": self.dag,
            "task": self.task,
            "run": self.run,
            "error": self.error or self.reason,
            "deadline": self.deadline,
            "tests": _some(self.tests),
            "test_results": _some(self.results),
        }
        return {name: value for name, value in named.items() if value}


def read_event(context: Mapping[str, Any]) -> Event:
    """Return what happened; a context without a task instance, as that of a Dag or of a deadline, is enough."""
    ti = context.get("ti") or context.get("task_instance")
    # Airflow says why only where the callback is the Dag's, and then names some task of it, which is not to blame.
    of_dag = ti is None or "reason" in context
    run = context.get("dag_run")
    started = _of(run, "start_date")
    exception = context.get("exception")
    return Event(
        kind=_kind(context, of_dag=of_dag),
        dag=_first(_of(ti, "dag_id"), _of(run, "dag_id"), _of(context.get("dag"), "dag_id")),
        run=_first(_of(ti, "run_id"), _of(run, "run_id"), _of(run, "dag_run_id"), context.get("run_id")),
        task="" if of_dag else _first(_of(ti, "task_id")),
        map_index=-1 if of_dag else _number(_of(ti, "map_index"), -1),
        try_number=1 if of_dag else max(_number(_of(ti, "try_number"), 1), 1),
        error=type(exception).__name__ if isinstance(exception, BaseException) else "",
        reason=_first(context.get("reason")),
        deadline=_first(_of(context.get("deadline"), "deadline_time")),
        tests=_texts(context.get("test_names")),
        results=_texts(context.get("test_results")),
        started=started if isinstance(started, datetime) else None,
    )


def _kind(context: Mapping[str, Any], *, of_dag: bool) -> Kind:
    if context.get("deadline") is not None:
        return "deadline"
    if context.get("exception") is not None or (of_dag and "reason" in context):
        return "failure"
    if context.get("test_names"):
        return "tests"
    task = context.get("task")
    if hasattr(task, "subject") and hasattr(task, "options"):
        return "approval"
    state = _of(context.get("ti"), "state")
    return "failure" if str(state).rpartition(".")[2].lower() in ("failed", "up_for_retry") else "event"


def _of(thing: object, name: str) -> Any:
    """Return a field of what is an object in a task, and a dict in the context of a deadline."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _first(*values: object) -> str:
    return next((str(value) for value in values if value not in (None, "")), "")


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
