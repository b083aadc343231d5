"""How a wait ends: what its task returns, and what it says when the time is over. Pure: no Airflow, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.exceptions import VambeDeliveryError
from vambe_provider.waiting.conditions import Finding
from vambe_provider.waiting.patience import kind_of

if TYPE_CHECKING:
    from vambe_provider.waiting.look import Look
    from vambe_provider.waiting.tickets import Target

_STATUSES = frozenset({"success", "timeout", "error"})


def checked_event(event: Any) -> dict[str, Any]:
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


def seen_by_the_trigger(event: Mapping[str, Any], targets: Sequence[Target], mode_of: str) -> frozenset[str]:
    """Return the contacts, as they are compared, for which the trigger saw that it happened."""
    if event["status"] != "success":
        return frozenset()
    if mode_of == "all":
        return frozenset(target.key for target in targets)
    return frozenset(str(contact).lower() for contact in event.get("ai_contact_ids", ()))


def results(look: Look, *, also_done: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Return what the task returns.

    :param also_done: contacts for which it was seen before: it counts, also when it has changed again since.
    """
    found = [(finding, finding.as_dict(seen_at=_now())) for finding in look.findings]
    return [{**item, "done": finding.done or finding.ai_contact_id.lower() in also_done} for finding, item in found]


def results_of_event(targets: Sequence[Target], seen: frozenset[str], *, until: str) -> list[dict[str, Any]]:
    """Return what the trigger saw; only Vambe could tell the details, and it is away."""
    found = [(target, Finding(target.contact_id, until)) for target in targets]
    return [{**finding.as_dict(seen_at=_now()), "done": target.key in seen} for target, finding in found]


def timeout_text(look: Look | None, *, count: int, until: str, timeout: float, failing: object) -> str:
    """Return what is still waited for, and whether Vambe could be asked at all.

    :param look: the last one; None when it failed.
    :param count: contacts of the task.
    :param timeout: seconds after which the wait was given up.
    :param failing: why the last looks failed, if they did.
    """
    why = kind_of(failing) if isinstance(failing, BaseException) else failing
    errors = look.errors if look is not None else {}
    waiting = [finding for finding in look.findings if not finding.done] if look is not None else []
    over = f"After {timeout:g} s, {len(waiting) or count} of {count} contacts are still waited for (until {until})"
    unread = [item for item in waiting if item.ai_contact_id in errors]
    if len(unread) == len(waiting):
        why = kind_of(errors[unread[0].ai_contact_id]) if unread else why
        which = f" for {unread[0].ai_contact_id}" if unread else ""
        return f"{over}, and the last look at Vambe failed ({why}), so whether it has happened{which} is not known."
    first = waiting[0]
    if first in unread:
        state = f"it could not be read ({kind_of(errors[first.ai_contact_id])})"
    elif first.ticket_id is None:
        state = f"chat status {first.chat_status}, no ticket of this run is shown"
    else:
        state = f"chat status {first.chat_status}, ticket {first.ticket_id} in stage {first.stage_id}"
    before = f" Before, Vambe could not be read ({why})." if why and not unread else ""
    return f"{over}. The first is {first.ai_contact_id}: {state}.{before}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
