"""Which contact policy a task has: its argument, or else what its connection says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings
    from vambe_provider.contact_policy.policy import ContactPolicy
    from vambe_provider.delivery.permission import Permission


def check_when_parsed(contact_policy: object) -> None:
    """Refuse an invalid policy when the Dag is parsed; one with a template can only be read when the task runs.

    :raises VambeConfigError: names the field and what it may be.
    """
    if contact_policy is not None and "{{" not in str(contact_policy):
        from vambe_provider.contact_policy.policy import read_policy

        read_policy(contact_policy)


def permission_for(
    contact_policy: object, settings: ConnectionSettings, *, override: str | None = None, remembers: bool = True
) -> Permission | None:
    """Return what asks the policy of a task; None when neither the task nor its connection has one.

    :param contact_policy: as for :func:`policy_for`.
    :param override: why tickets are sent although no window is open.
    :param remembers: whether the task has a ledger in a database.
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
    check_served(policy, remembers=remembers)
    return Permission(policy, timeout=settings.timeout, override=override)


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
