"""Which contact policy a task has: its argument, or else what its connection says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from datetime import timedelta

    from vambe_provider.api import ConnectionSettings
    from vambe_provider.contact_policy.policy import ContactPolicy
    from vambe_provider.delivery.optouts import OptOuts
    from vambe_provider.delivery.permission import Permission


def check_when_parsed(contact_policy: object) -> None:
    """Refuse an invalid policy when the Dag is parsed; one with a template can only be read when the task runs.

    :raises VambeConfigError: names the field and what it may be.
    """
    if contact_policy is not None and "{{" not in str(contact_policy):
        from vambe_provider.contact_policy.policy import read_policy

        read_policy(contact_policy)


def permission_for(
    contact_policy: object,
    settings: ConnectionSettings,
    *,
    ledger_conn_id: str | None,
    override: str | None = None,
) -> Permission | None:
    """Return what asks the policy of a task; None when neither the task nor its connection has one.

    :param contact_policy: as for :func:`policy_for`.
    :param override: why tickets are sent although no window is open.
    :param ledger_conn_id: the connection of the ledger; None without one.
    :raises VambeConfigError: names what is wrong, or what nobody can look up.
    """
    from vambe_provider.delivery.permission import Permission, check_served

    policy = policy_for(contact_policy, settings)
    if policy is None:
        if override is not None:
            raise VambeConfigError(
                "window_override: there is no contact policy to override", fix="Leave it out, or give a contact_policy."
            )
        return None
    check_served(policy, lists=True, remembers=ledger_conn_id is not None)
    opt_outs = _opt_outs(policy, settings, ledger_conn_id)
    return Permission(policy, timeout=settings.timeout, override=override, opt_outs=opt_outs)


def _opt_outs(policy: ContactPolicy, settings: ConnectionSettings, ledger_conn_id: str | None) -> OptOuts | None:
    from vambe_provider.contact_policy.numbers import canonical_number
    from vambe_provider.delivery.optouts import OptOuts
    from vambe_provider.transfers.source import SqlSource

    asked = policy.opt_outs
    if asked.sql is None:
        return None
    conn_id = asked.conn_id or ledger_conn_id
    if conn_id is None:
        raise VambeConfigError(
            "contact_policy.suppression.conn_id: is missing, and there is no ledger to run the query on",
            fix="Name the connection of the database that holds the opt-outs.",
        )
    source = SqlSource(conn_id=conn_id, sql=asked.sql, argument="contact_policy.suppression.conn_id")

    @contextmanager
    def read() -> Iterator[Iterable[object]]:
        with source.open() as rows:
            yield (row[0] for row in rows.values)

    def canonical(value: object) -> str:
        return canonical_number(
            value,
            default_region=settings.default_region,
            repair=settings.repair,
            allowed_countries=settings.allowed_countries,
        )

    max_age = cast("timedelta", asked.max_age).total_seconds()
    return OptOuts(read, max_age=max_age, canonical=canonical)


def warnings_about(policy: ContactPolicy) -> list[str]:
    """Return what a person should know before a run: an old library of holidays, an old preset."""
    from datetime import UTC, datetime

    from vambe_provider.contact_policy.checks import policy_warnings

    return policy_warnings(policy, datetime.now(UTC))


def policy_for(contact_policy: object, settings: ConnectionSettings) -> ContactPolicy | None:
    """Return the policy of a task; None when neither the task nor its connection has one.

    :param contact_policy: the argument, which wins: a ``ContactPolicy``, a mapping of its fields, the name of a preset,
        or JSON text.
    :param settings: the connection, whose extra ``contact_policy`` holds for every task without the argument.
    :raises VambeConfigError: names the field and what it may be, or windows that are never open.
    """
    from datetime import UTC, datetime

    from vambe_provider.contact_policy.checks import check_policy
    from vambe_provider.contact_policy.policy import read_policy

    if contact_policy is not None:
        policy = read_policy(contact_policy)
    else:
        try:
            policy = read_policy(settings.contact_policy)
        except VambeConfigError as error:
            raise VambeConfigError(f"connection {settings.name}: extra {error.message}", fix=error.fix) from None
    if policy is not None:
        check_policy(policy, datetime.now(UTC))
    return policy
