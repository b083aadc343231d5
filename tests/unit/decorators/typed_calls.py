"""Calls that mypy reads when the project is linted; an ignore that nothing needs is an error there."""

from __future__ import annotations

from typing import Any, assert_type

from vambe_provider.compat import XComArg
from vambe_provider.decorators.vambe import vambe_open_ticket_task


@vambe_open_ticket_task
def plain(order: int, *, name: str = "") -> dict[str, Any]:
    return {"order": order, "name": name}


@vambe_open_ticket_task(stage="Orders / Late", retries=2)
def with_arguments(order: int) -> dict[str, Any] | None:
    return {"order": order}


@vambe_open_ticket_task  # type: ignore[type-var]
def no_request(order: int) -> str:
    return str(order)


def calls() -> None:
    assert_type(plain(7, name="Ana"), XComArg)
    assert_type(with_arguments(7), XComArg)
    plain("seven")  # type: ignore[arg-type]
    plain(7, nam="Ana")  # type: ignore[call-arg]
    with_arguments("seven")  # type: ignore[arg-type]
