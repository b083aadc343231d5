"""Operators for what comes after a ticket was opened: values on it, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import BaseOperator
from vambe_provider.exceptions import VambeConfigError, VambeRefusedError
from vambe_provider.operators.common import DEFAULT_CONNECTION, flag, given, permanent_errors_fail

if TYPE_CHECKING:
    from vambe_provider.compat import Context
    from vambe_provider.hooks.vambe import VambeHook


class _VambeOperator(BaseOperator):
    def __init__(self, *, vambe_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vambe_conn_id = vambe_conn_id

    def _hook(self) -> VambeHook:
        from vambe_provider.hooks.vambe import VambeHook

        return VambeHook(self.vambe_conn_id)


class VambeCloseTicketOperator(_VambeOperator):
    """Close the active ticket of a contact.

    Vambe names this endpoint and does not document it: which body it takes, what it answers when there is no active
    ticket, and whether the ticket counts as won or lost is unknown. What is sent is an empty body. Whether it worked
    can be seen with ``VambeTicketSensor(until="closed")``.

    A task retry looks first: when no ticket is active any more, it is done. The look cannot tell tickets apart, so a
    ticket that was opened between two tries is closed too.

    :param ai_contact_id: the contact; also the result of ``VambeOpenTicketOperator``.
    :param missing_ok: whether it is fine that there is no active ticket; default true.
    :param vambe_conn_id: the connection.
    :return: ``{"ai_contact_id", "outcome"}``; the outcome is ``closed`` or ``no_active_ticket``.
    :raises AirflowFailException: when the contact does not exist, or has no active ticket and ``missing_ok`` is false.
    """

    template_fields: Sequence[str] = ("ai_contact_id", "missing_ok", "vambe_conn_id")

    def __init__(self, *, ai_contact_id: Any, missing_ok: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ai_contact_id = ai_contact_id
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> dict[str, Any]:
        """Look whether there is something to close, and close it."""
        with permanent_errors_fail(), self._hook() as hook:
            contact_id = _one_contact(self.ai_contact_id)
            missing_ok = flag(self.missing_ok, name="missing_ok")
            if not self._is_closed(hook, contact_id):
                hook.close_ticket(contact_id)
                return {"ai_contact_id": contact_id, "outcome": "closed"}
            if not missing_ok:
                raise VambeConfigError(
                    f"Contact {contact_id} has no active ticket", fix="Set missing_ok to accept that."
                )
        self.log.info("Contact %s has no active ticket, so nothing was closed", contact_id)
        return {"ai_contact_id": contact_id, "outcome": "no_active_ticket"}

    @staticmethod
    def _is_closed(hook: VambeHook, contact_id: str) -> bool:
        from vambe_provider.waiting.conditions import the_ticket
        from vambe_provider.waiting.look import missing

        try:
            info = hook.get_contact(contact_id).model_dump()
        except VambeRefusedError as error:
            raise (missing(contact_id) if error.status == 404 else error) from None
        ticket = the_ticket(info, started=None)
        return ticket is not None and ticket.closed


class VambeUpdateTicketOperator(_VambeOperator):
    """Write metadata, an amount, or both to a ticket.

    Metadata are merged into those that are there, and setting the same values again changes nothing: a task retry is
    safe. Vambe may drop a name that is not defined as a field of the ticket's type. Follows its pages about the
    metadata and the amount of a ticket.

    :param ai_contact_id: the contact whose active ticket it is; also the result of ``VambeOpenTicketOperator``. Exactly
        one of the three ids is needed.
    :param ticket_id: the ticket.
    :param contact_number: the phone number of the contact, with country code.
    :param metadata: names and values; sent as text, null values are left out.
    :param amount: a number, also as text or ``Decimal``.
    :param currency: as ``CLP``; needed where the kind of ticket takes its amount from a price.
    :param allow_closed_ticket: take the ticket that was closed last when none is active; default false.
    :param vambe_conn_id: the connection.
    :return: ``{"updated": ["metadata", "amount"]}``, what was written.
    :raises AirflowFailException: when there is nothing to write, the ids are not exactly one, or Vambe refuses it.
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
        from vambe_provider.api import requests

        with permanent_errors_fail(), self._hook() as hook:
            contact = given(self.ai_contact_id)
            ticket: requests.TicketRef = {
                "ai_contact_id": None if contact is None else _one_contact(contact),
                "ticket_id": given(self.ticket_id),
                "contact_number": given(self.contact_number),
                "allow_closed_ticket": flag(self.allow_closed_ticket, name="allow_closed_ticket"),
            }
            metadata, amount, currency = _mapping(self.metadata), given(self.amount), given(self.currency)
            if not metadata and amount is None:
                raise VambeConfigError("metadata, amount: there is nothing to write")
            # Built before anything is sent, so that a wrong amount does not leave half of it written.
            if amount is not None:
                requests.update_ticket_amount(amount, currency=currency, **ticket)
            updated = []
            if metadata:
                hook.update_ticket_metadata(metadata, **ticket)
                updated.append("metadata")
            if amount is not None:
                hook.update_ticket_amount(amount, currency=currency, **ticket)
                updated.append("amount")
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
            contact_id, metadata = _one_contact(self.ai_contact_id), _mapping(self.metadata)
            hook.update_contact_metadata(contact_id, metadata)
        return {"ai_contact_id": contact_id, "updated": sorted(metadata)}


def _one_contact(value: object) -> str:
    from vambe_provider.waiting.ids import contact_ids

    found = contact_ids(value, name="ai_contact_id")
    if len(found) != 1:
        raise VambeConfigError(f"ai_contact_id: one contact is needed, not {len(found)}", fix="Map the task over them.")
    return found[0]


def _mapping(value: object) -> dict[str, Any]:
    """Return metadata that a template may have turned into text, without null values."""
    from vambe_provider.api.texts import mapping_from

    parsed = mapping_from(given(value))
    if parsed is None:
        return {}
    if not isinstance(parsed, Mapping):
        raise VambeConfigError(f"metadata: a dict is needed, not a {type(parsed).__name__}")
    return {str(key): item for key, item in parsed.items() if item is not None}
