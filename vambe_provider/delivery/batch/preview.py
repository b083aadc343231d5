"""What a dry run shows of its first rows: the request without what is personal, and what the contact policy says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vambe_provider.api.texts import iso_utc
from vambe_provider.contact_policy.numbers import mask_number

if TYPE_CHECKING:
    from vambe_provider.delivery.model import Outcome, Work
    from vambe_provider.delivery.permission import Ruling

_PLAIN = ("stage_id", "templateId", "ai_generated")
"""Fields whose values come from the Dag and name nobody."""
_SHOWN_INSIDE = ("message",)


def preview(work: Work, outcome: Outcome, ruling: Ruling | None, *, judged: bool) -> dict[str, Any]:
    """Return one row as plain JSON values.

    :param outcome: what would become of it.
    :param ruling: why the contact policy would hold it back; None when it would not.
    :param judged: whether there is a policy.
    """
    return {
        "row": work.number,
        "key": work.key.text,
        "outcome": outcome.value,
        "policy": _answer(ruling) if judged else None,
        "request": {name: _shown(name, value) for name, value in work.ticket.body().items()},
    }


def _answer(ruling: Ruling | None) -> dict[str, Any]:
    if ruling is None:
        return {"decision": "send", "rule": None, "reason": None, "until": None}
    found = ruling.decision
    until = None if found.until is None else iso_utc(found.until)
    return {"decision": found.decision, "rule": found.rule, "reason": found.reason, "until": until}


def _shown(name: str, value: Any) -> Any:
    if name == "to_phone_number":
        return mask_number(str(value))
    if name in _PLAIN:
        return value
    if isinstance(value, Mapping):
        # The names of other objects may come from a column, and tell more than their number.
        inside = {field: _shown(field, item) for field, item in value.items()}
        return inside if name in _SHOWN_INSIDE else f"({len(value)} fields)"
    return f"({len(str(value))} characters)"
