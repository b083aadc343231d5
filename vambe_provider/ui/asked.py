"""What a request may hold. Nothing in it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from vambe_provider.delivery.ledger.decisions import Choice
from vambe_provider.ui.queries import Filter, Place

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.entry import Entry

ROWS = 50
"""Tickets on one page of the list."""


@dataclass(frozen=True)
class Asked:
    """The query of an address."""

    ledger: str = ""
    namespace: str = ""
    state: str = ""
    dag: str = ""
    run: str = ""
    search: str = ""
    since: str = ""
    until: str = ""
    after: str = ""
    key: str = ""
    account: str = ""

    def filter(self) -> Filter:
        """Return which tickets are asked for.

        :raises HTTPException: when a day is not one.
        """
        return Filter(
            namespace=self.namespace,
            state=self.state,
            dag=self.dag,
            # Airflow 3.1 writes a run's id into the address of a tab as it is, so that its plus arrives as a space.
            run=self.run.replace(" ", "+"),
            search=self.search.strip(),
            since=_day("since", self.since),
            until=_day("until", self.until),
        )

    def place(self) -> Place | None:
        """Return after which ticket the page begins.

        :raises HTTPException: when it is not one that an earlier page named.
        """
        if not self.after:
            return None
        try:
            at, key, account = self.after.split("~", 2)
            return Place(datetime.fromisoformat(at).replace(tzinfo=None), key, account)
        except ValueError:
            raise HTTPException(400, "after: this is not a place in the list. Begin with the newest.") from None


def place_of(ticket: Entry) -> str:
    """Return what stands in the address of the page that begins after this ticket."""
    return f"{ticket.created_at.isoformat()}~{ticket.ticket_key}~{ticket.account}"


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise HTTPException(400, f"{name}: this is not a day. Write it as 2026-01-31.") from None


class PersonBody(BaseModel):
    """Who is looked for. The number stands in no address, because addresses stand in logs."""

    ledger: str
    phone: Annotated[str, Field(max_length=40, repr=False)]


class Meant(BaseModel):
    """A ticket as the visitor saw it."""

    key: str
    account: str
    seen: str


class DecisionBody(BaseModel):
    """What is decided, and about which tickets."""

    ledger: str
    decision: Choice
    tickets: Annotated[list[Meant], Field(min_length=1, max_length=ROWS)]
    contact: Annotated[str | None, Field(max_length=100)] = None
