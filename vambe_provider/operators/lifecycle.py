"""Operators for what comes after a ticket was opened: values on it, and its end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import BaseOperator, task_state_store
from vambe_provider.exceptions import VambeConfigError
from vambe_provider.operators.arguments import DEFAULT_CONNECTION, flag, given
from vambe_provider.operators.errors import permanent_errors_fail
from vambe_provider.operators.own_ticket import close_own, precisely

if TYPE_CHECKING:
    from vambe_provider.api.requests import TicketRef
    from vambe_provider.compat import Context
    from vambe_provider.hooks.vambe import VambeHook
    from vambe_provider.waiting.tickets import Target

_TICKET_FIX = "It is the ticket_id that VambeTicketSensor and VambeCloseTicketOperator return."
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_CURRENCY = re.compile("[A-Za-z]{3}")


class _VambeOperator(BaseOperator):
    def __init__(self, *, vambe_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vambe_conn_id = vambe_conn_id

    def _hook(self) -> VambeHook:
        from vambe_provider.hooks.vambe import VambeHook

        return VambeHook(self.vambe_conn_id)


class VambeCloseTicketOperator(_VambeOperator):
    """Close a ticket.

    Vambe names this endpoint and does not document it: which body it takes, what it answers when there is no active
    ticket, and whether the ticket counts as won or lost is unknown. What is sent is an empty body. Whether it worked
    can be seen with ``VambeTicketSensor(until="closed")``.

    Vambe closes whatever ticket of the contact is active. Given the result of the task that opened the ticket, the
    operator looks first, and closes nothing when that ticket is closed already or another one has become active. Given
    a bare id, it closes the active ticket. A task retry looks again; on Airflow 3.3 and newer it also knows which
    ticket the try before meant, so that one which was opened between two tries stays open.

    :param ai_contact_id: the result of ``VambeOpenTicketOperator``, or the id of a contact.
    :param missing_ok: whether it is fine that there is nothing to close; default true.
    :param vambe_conn_id: the connection.
    :return: ``{"ai_contact_id", "ticket_id", "outcome"}``; the outcome is ``closed`` or ``no_active_ticket``.
    :raises AirflowFailException: when the contact does not exist, was merged into one that does not have the ticket, or
        there is nothing to close and ``missing_ok`` is false.
    """

    template_fields: Sequence[str] = ("ai_contact_id", "missing_ok", "vambe_conn_id")

    def __init__(self, *, ai_contact_id: Any, missing_ok: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ai_contact_id = ai_contact_id
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> dict[str, Any]:
        """Look whether there is something to close, and close it."""
        with permanent_errors_fail(), self._hook() as hook:
            target = _one_target(self.ai_contact_id)
            missing_ok = flag(self.missing_ok, name="missing_ok")
            closed, ticket_id = close_own(hook, target, store=task_state_store(context))
            if not closed and not missing_ok:
                raise VambeConfigError(
                    f"Contact {target.contact_id} has no active ticket of this task's",
                    fix="Set missing_ok to accept that.",
                )
        if closed:
            self.log.info("Closed the ticket %s of contact %s", ticket_id or "(id not shown)", target.contact_id)
        else:
            self.log.info("Contact %s has no ticket to close, so nothing was closed", target.contact_id)
        outcome = "closed" if closed else "no_active_ticket"
        return {"ai_contact_id": target.contact_id, "ticket_id": ticket_id, "outcome": outcome}


class VambeUpdateTicketOperator(_VambeOperator):
    """Write metadata, an amount, or both to a ticket.

    Given the result of the task that opened the ticket, the operator looks first which ticket that is, and writes to no
    other one. Given a bare id, it writes to the active ticket of the contact.

    Metadata are merged into those that are there, and setting the same values again changes nothing: a task retry is
    safe. Vambe may drop a name that is not defined as a field of the ticket's type. Follows its pages about the
    metadata and the amount of a ticket.

    :param ai_contact_id: the result of ``VambeOpenTicketOperator``, or the contact whose active ticket it is. Exactly
        one of the three ids is needed.
    :param ticket_id: the ticket.
    :param contact_number: the phone number of the contact, with country code.
    :param metadata: names and values; sent as text, null values are left out.
    :param amount: a number, also as text or ``Decimal``.
    :param currency: three letters such as ``CLP``; needed where the kind of ticket takes its amount from a price.
    :param allow_closed_ticket: take the ticket that was closed last when none is active; default false.
    :param vambe_conn_id: the connection.
    :return: ``{"updated": ["metadata", "amount"]}``, what was written.
    :raises AirflowFailException: when there is nothing to write, the ids are not exactly one, another ticket has become
        active, or Vambe refuses it.
    """

    template_fields: Sequence[str] = (
        "ai_contact_id",
        "ticket_id",
        "contact_number",
        "metadata",
        "amount",
        "currency",
        "allow_closed_ticket",
        "vambe_conn_id",
    )

    def __init__(
        self,
        *,
        ai_contact_id: Any = None,
        ticket_id: str | None = None,
        contact_number: str | int | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        amount: Any = None,
        currency: str | None = None,
        allow_closed_ticket: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ai_contact_id = ai_contact_id
        self.ticket_id = ticket_id
        self.contact_number = contact_number
        self.metadata = metadata
        self.amount = amount
        self.currency = currency
        self.allow_closed_ticket = allow_closed_ticket

    def execute(self, context: Context) -> dict[str, Any]:
        """Check everything, then write what is given."""
        from vambe_provider.api.requests import amount_from, metadata_from, ticket_named
        from vambe_provider.waiting.ids import check_id

        with permanent_errors_fail(), self._hook() as hook:
            contact, ticket_id = given(self.ai_contact_id), given(self.ticket_id)
            target = None if contact is None else _one_target(contact)
            ticket: TicketRef = {
                "ai_contact_id": target.contact_id if target else None,
                "ticket_id": None if ticket_id is None else check_id(ticket_id, "ticket_id", fix=_TICKET_FIX),
                "contact_number": given(self.contact_number),
                "allow_closed_ticket": flag(self.allow_closed_ticket, name="allow_closed_ticket"),
            }
            metadata, amount, currency = _mapping(self.metadata), _amount(self.amount), _currency(self.currency)
            if not metadata and amount is None:
                raise VambeConfigError("metadata, amount: there is nothing to write")
            # Looked at before anything is sent, so that a wrong amount does not leave half of it written.
            ticket_named(**ticket)
            if metadata:
                metadata_from(metadata)
            if amount is not None:
                amount_from(amount, currency)
            if target is not None and target.to_json():
                ticket = precisely(hook, target, ticket)
            updated = []
            if metadata:
                hook.update_ticket_metadata(metadata, **ticket)
                updated.append("metadata")
            if amount is not None:
                hook.update_ticket_amount(amount, currency=currency, **ticket)
                updated.append("amount")
        where = ticket["ticket_id"] or ticket["ai_contact_id"] or "of the given number"
        self.log.info("Wrote %s to the ticket %s", " and ".join(updated), where)
        return {"updated": updated}


class VambeUpdateContactOperator(_VambeOperator):
    """Write custom fields of a contact.

    Setting the same values again changes nothing: a task retry is safe. Vambe writes names in snake_case and maps
    values to its definitions of the fields. Follows its page about the metadata of a contact.

    :param ai_contact_id: the contact; also the result of ``VambeOpenTicketOperator``.
    :param metadata: names and values; sent as text, null values are left out.
    :param vambe_conn_id: the connection.
    :return: ``{"ai_contact_id", "updated": [names]}``.
    :raises AirflowFailException: when there is nothing to write, or Vambe refuses it.
    """

    template_fields: Sequence[str] = ("ai_contact_id", "metadata", "vambe_conn_id")

    def __init__(self, *, ai_contact_id: Any, metadata: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ai_contact_id = ai_contact_id
        self.metadata = metadata

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the fields."""
        with permanent_errors_fail(), self._hook() as hook:
            contact_id, metadata = _one_target(self.ai_contact_id).contact_id, _mapping(self.metadata)
            hook.update_contact_metadata(contact_id, metadata)
        self.log.info("Wrote %d fields of contact %s", len(metadata), contact_id)
        return {"ai_contact_id": contact_id, "updated": sorted(metadata)}


def _one_target(value: object) -> Target:
    from vambe_provider.waiting.ids import targets

    found = targets(value, name="ai_contact_id")
    if len(found) != 1:
        raise VambeConfigError(f"ai_contact_id: one contact is needed, not {len(found)}", fix="Map the task over them.")
    return found[0]


def _amount(value: object) -> Any:
    """Return an amount that a template may have turned into text.

    :raises VambeConfigError: when a text is not a plain number, such as ``1_000`` or ``1,000``.
    """
    value = given(value)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise VambeConfigError("amount: is not a number", fix="Write it as 15990 or 15990.50.")
    return value


def _currency(value: object) -> str | None:
    """Return three letters.

    :raises VambeConfigError: when it is something else.
    """
    value = given(value)
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value.strip()):
        raise VambeConfigError("currency: is not three letters", fix="Write it as CLP or USD.")
    return value.strip().upper()


def _mapping(value: object) -> dict[str, Any]:
    """Return metadata that a template may have turned into text, without null values."""
    from vambe_provider.api.texts import mapping_from

    parsed = mapping_from(given(value))
    if parsed is None:
        return {}
    if not isinstance(parsed, Mapping):
        raise VambeConfigError(f"metadata: a dict is needed, not a {type(parsed).__name__}")
    return {str(key): item for key, item in parsed.items() if item is not None}
