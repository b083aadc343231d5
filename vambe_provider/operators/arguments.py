"""How the arguments of tasks are read: what a template makes of them, and what the configuration adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import conf
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings
    from vambe_provider.delivery.model import Origin
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.person import Persons

DEFAULT_CONNECTION = "vambe_default"

_YES, _NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def given(value: object) -> Any:
    """Return a value, or None for what means nothing: null, empty text, and the text that a template makes of null."""
    return None if isinstance(value, str) and value.strip() in ("", "None") else value


def given_text(value: object) -> str | None:
    """Return an argument as text, also when native rendering made a number of it; None for what means nothing."""
    value = given(value)
    return None if value is None else str(value).strip()


def stated(value: object, *, name: str, was_given: bool, why: str) -> str | None:
    """Return an argument that decides how strong the promise is; None when it was left out.

    :param was_given: the Dag names it, so that nothing must not stand in for it.
    :param why: what it is for, for the error.
    :raises VambeConfigError: when it was given, and its template gave nothing.
    """
    if given(value) is None or not str(value).strip():
        if was_given:
            raise VambeConfigError(
                f"{name}: is given, and its template gave nothing; {why}",
                fix=f"Leave {name} out to use its default, or mend the template.",
            )
        return None
    return str(value)


def flag(value: object, *, name: str) -> bool:
    """Return a boolean that a template may have turned into text.

    :raises VambeConfigError: when it is neither yes nor no.
    """
    text = "" if value is None else str(value).strip().lower()
    if text not in _YES and text not in _NO | {"none"}:
        raise VambeConfigError(
            f"{name}: is neither true nor false", fix="Give a boolean, or a template that makes one."
        )
    return text in _YES


def choice(value: object, *, name: str, allowed: tuple[str, ...]) -> Any:
    """Return one of a few words; the first one when nothing is given.

    :raises VambeConfigError: when it is another one.
    """
    text = str(given(value) or allowed[0]).strip()
    if text not in allowed:
        raise VambeConfigError(f"{name}: is not one of {', '.join(allowed)}", fix=f"Give one of {', '.join(allowed)}.")
    return text


def whole_number(value: object, *, name: str, least: int) -> int:
    """Return a whole number that a template may have turned into text.

    :raises VambeConfigError: when it is none, or below ``least``.
    """
    text = str(value).strip()
    if not re.fullmatch("[0-9]+", text) or int(text) < least:
        raise VambeConfigError(f"{name}: is not a whole number from {least} on", fix=f"Give a number such as {least}.")
    return int(text)


def origin_of(context: Mapping[str, Any], *, dag_id: str, task_id: str) -> Origin:
    """Return which task delivers, from its context."""
    from vambe_provider.delivery.model import Origin

    ti = context.get("ti")
    if ti is None:  # a test that calls execute() with a context of its own
        return Origin(dag_id, task_id, "-")
    return Origin(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number or 1)


def delivery_options(
    *,
    origin: Origin,
    settings: ConnectionSettings,
    on_unknown: object,
    resend: object,
    on_change: object = "ignore",
    phone_id: str | None = None,
    channel: str | None = None,
    ledger_conn_id: str | None = None,
) -> DeliveryOptions:
    """Return how to deliver: the task's own arguments, and the section ``vambe`` of Airflow's configuration.

    :raises VambeConfigError: when one of them is wrong; names it.
    """
    from vambe_provider.delivery.options import DeliveryOptions

    return DeliveryOptions(
        origin=origin,
        account=settings.account,
        sender=f"{channel or settings.channel}/{phone_id or settings.phone_id}",
        on_unknown=choice(on_unknown, name="on_unknown", allowed=("fail", "resend")),
        on_change=choice(on_change, name="on_change", allowed=("ignore", "open_again")),
        resend=flag(resend, name="resend"),
        lease=_seconds("lease", "120"),
        polls=tuple(_numbers("reconcile_polls", "1,3,6,10,20")),
        young=3600 * _seconds("reconcile_hours", "6"),
        retry_budget=_seconds("retry_budget", "120"),
        ledger_conn_id=ledger_conn_id,
        page=ledger_page(ledger_conn_id),
    )


def shown_ledgers() -> list[str]:
    """Return the connections of the ledgers that the page shows, in the order of ``[vambe] ledger_conn_ids``."""
    names = str(conf.get("vambe", "ledger_conn_ids", fallback="") or "").split(",")
    return [name.strip() for name in names if name.strip()]


def ledger_page(conn_id: str | None) -> str | None:
    """Return the address of the page that shows a ledger.

    :return: None before Airflow 3.1, or where this process is not told of the page: by ``[vambe] ledger_conn_ids`` that
        it shows the ledger, and by ``[api] base_url`` where Airflow is.
    """
    from vambe_provider.compat import AIRFLOW_V_3_1_PLUS

    base = str(conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
    return f"{base}/vambe" if base and AIRFLOW_V_3_1_PLUS and conn_id in shown_ledgers() else None


def persons() -> Persons:
    """Return what makes the hash of a person, with the secret of Airflow's configuration."""
    from vambe_provider.delivery.person import Persons

    return Persons(person_secret())


def person_secret() -> str | None:
    """Return the secret of the keyed hashes that stand for persons and personal keys; None when there is none."""
    return str(conf.get("vambe", "person_secret", fallback="") or "").strip() or None


def _seconds(option: str, default: str) -> float:
    numbers = _numbers(option, default)
    if len(numbers) != 1:
        raise VambeConfigError(f"[vambe] {option}: one number is needed", fix=f"Write it as {default}.")
    return numbers[0]


def _numbers(option: str, default: str) -> list[float]:
    text = str(conf.get("vambe", option, fallback=default))
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1.0]
    if not all(0 <= number < 1e7 for number in numbers):
        raise VambeConfigError(f"[vambe] {option}: {text[:40]!r} is not a number", fix=f"Write it as {default}.")
    return numbers
