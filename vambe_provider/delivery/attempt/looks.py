"""Look at Vambe for what an attempt may have made: by its mark, by what the ledger knows, and by the person's number.

A look goes on when one endpoint is down, since presence may show at another; it says whether all of it worked, since
absence needs that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from vambe_provider.contact_policy.numbers import number_aliases
from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.facts import Looks, Sight, Witness, seconds
from vambe_provider.delivery.attempt.numbers import Whose, is_elsewhere, whose_number
from vambe_provider.delivery.attempt.reading import PAGE, SEARCH_CAP, SEARCH_DIGITS, Requests, holds, listed_info

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo, Ticket
    from vambe_provider.api.models import Contact
    from vambe_provider.delivery.model import Attempt

MAX_LISTED = 1000
"""Contacts that are looked through when the person's number is not known."""
MAX_UNCLEAR = 10
"""Contacts without a readable number that are looked through for the mark in one look."""
MAX_EARLIER = 5
"""Contacts of earlier tickets that are read."""


class Records(Protocol):
    """What the ledger knows besides the attempt."""

    async def siblings(self, attempt: Attempt) -> Sequence[Attempt]:
        """Return other attempts in its account that were addressed to its person and surely or maybe sent."""
        ...

    async def witnesses(self, attempt: Attempt) -> Sequence[Attempt]:
        """Return attempts in its account that surely opened a ticket for other persons, newest first."""
        ...

    async def earlier(self, attempt: Attempt) -> Sequence[str]:
        """Return the contacts that earlier tickets in its account know for its person, newest first."""
        ...


class Persons(Protocol):
    """Makes the keyed hashes that stand for numbers."""

    def any_of(self, phone: str) -> frozenset[str]:
        """Return the hashes of all spellings of a number."""
        ...


class Looker:
    """Looks for one attempt, as often as it is told to, and remembers what every look saw.

    :param attempt: what is looked for.
    :param requests: the requests to the API.
    :param records: the ledger.
    :param persons: makes the hashes of numbers.
    :param phone: a number that may be the person's; it is used only when it is.
    """

    def __init__(
        self, attempt: Attempt, requests: Requests, records: Records, persons: Persons, *, phone: str | None
    ) -> None:
        self._attempt, self._requests, self._records, self._persons = attempt, requests, records, persons
        self._phone = phone if phone and attempt.person in persons.any_of(phone) else None
        self._spellings = number_aliases(self._phone) if self._phone else frozenset[str]()
        self._began = clock.utc()
        self._by_ledger: dict[str, None] | None = None
        self._met: dict[str, None] = {}
        self._read_now: set[str] = set()
        self._sights: dict[str, Sight] = {}
        self._gone: set[str] = set()
        self._unclear = self._full = False
        self._siblings: Sequence[Attempt] = ()
        self.listed: frozenset[str] | None = None
        """The contacts that the last look found to have changed since the attempt; None when it did not list them."""

    @property
    def by_number(self) -> bool:
        """Whether the person's number is known, so that it can be searched for."""
        return self._phone is not None

    @property
    def met(self) -> bool:
        """Whether a contact of the person was seen."""
        return any(sight.whose == "same" for sight in self._sights.values())

    @property
    def is_busy(self) -> bool:
        """Whether a contact of the person shows an open ticket."""
        same = (sight for sight in self._sights.values() if sight.whose == "same")
        return any(ticket.is_open for sight in same for ticket in sight.tickets)

    def looks(self, *, complete: bool, witnesses: Iterable[Witness]) -> Looks:
        """Return all that was seen so far.

        :param complete: whether enough looks worked.
        """
        return Looks(
            at=self._began,
            read_at=clock.utc(),
            clock=self._requests.clock,
            complete=complete,
            by_number=self.by_number,
            unclear=self._unclear,
            full=self._full,
            gone=frozenset(self._gone),
            sights=tuple(self._sights.values()),
            siblings=tuple(self._siblings),
            witnesses=tuple(witnesses),
        )

    async def look(self, *, last: bool) -> bool:
        """Look once.

        :param last: whether no look is planned after this one.
        :return: whether all of it worked.
        """
        self._began, self._requests.failed, self.listed = clock.utc(), False, None
        self._read_now.clear()
        if self._by_ledger is None:
            known = [self._attempt.ai_contact_id, *list(await self._records.earlier(self._attempt))[:MAX_EARLIER]]
            self._by_ledger = dict.fromkeys(identity for identity in known if identity)
        await self._look(last=last)
        # Asked after the look, so that what the look shows of another ticket is known to be that one's.
        self._siblings = await self._records.siblings(self._attempt)
        known = [sibling.ai_contact_id for sibling in sorted(self._siblings, key=lambda sibling: -sibling.started)]
        self._by_ledger |= dict.fromkeys([identity for identity in known if identity][:MAX_EARLIER])
        return not self._requests.failed

    async def _look(self, *, last: bool) -> None:
        """Read all contacts that may be the person's; finish early when one has the mark."""
        if await self._look_by_mark() or await self._read_each([*(self._by_ledger or ()), *self._met]):
            return
        if self._phone is not None and await self._search(self._phone):
            return
        if not self.met and (last or self._phone is None):
            await self._look_through_changes()

    # --- ways to contacts ---

    async def _look_by_mark(self) -> bool:
        for identity in await self._requests.marked(self._attempt, days_too=self._phone is None):
            known = identity in self._sights
            if await self._read(identity):
                return True
            if await self._requests.filters_by_mark(self._attempt):
                return self._note_mark(identity)
            if not known and identity in self._sights and self._sights[identity].whose != "same":
                del self._sights[identity]  # a server that does not filter named somebody else
        return False

    def _note_mark(self, identity: str) -> bool:
        sight = self._sights.get(identity)
        if sight is None:
            return False
        self._sights[identity] = Sight(
            sight.info, sight.whose, sight.tickets, sight.marks | {self._attempt.mark}, sight.messages
        )
        return True

    async def _search(self, phone: str) -> bool:
        found = await self._requests.search(phone[-SEARCH_DIGITS:]) or []
        if len(found) >= SEARCH_CAP:
            self._full = True
            for spelling in sorted(self._spellings):
                found += await self._requests.search(spelling) or []
        return await self._look_through(found)

    async def _look_through_changes(self) -> None:
        """Look through the contacts that changed since the attempt began.

        Without the person's number that is the way to find them. With it, the contact may be one that the search does
        not find by it yet, or whose number it does not know.
        """
        limit = MAX_LISTED if self._phone is None else PAGE
        found = await self._requests.changed(self._attempt, limit)
        if found is None:
            return
        self.listed = frozenset(contact.id for contact in found)
        if self._phone is None and len(found) >= limit:
            self._requests.failed = True  # there may be more
        await self._look_through(found, only_new=self._phone is not None)

    async def _look_through(self, contacts: Iterable[Contact], *, only_new: bool = False) -> bool:
        """Read those of some contacts that may be the person's; return whether one has the mark.

        :param only_new: of the contacts without a readable number, only those may be that are as new as the attempt.
        """
        unclear = []
        for contact in contacts:
            whose = self._whose(contact.id, contact.phone)
            if whose == "same":
                self._met[contact.id] = None
                if await self._read(contact.id, contact):
                    return True
            elif whose == "unclear" and not is_elsewhere(contact.platform):
                unclear.append(contact)
        if only_new:
            span = self._requests.clock.span(self._attempt)
            unclear = [contact for contact in unclear if seconds(listed_info(contact).created_at) in span]
        self._unclear = self._unclear or bool(unclear)
        for contact in unclear[:MAX_UNCLEAR]:
            if await self._read(contact.id, contact):
                return True
        return False

    def _whose(self, identity: str, phone: str | None) -> Whose:
        whose = whose_number(phone, is_ours=self._is_ours, spellings=self._spellings)
        return "same" if whose == "unclear" and identity in (self._by_ledger or ()) else whose

    def _is_ours(self, digits: str) -> bool:
        return self._attempt.person in self._persons.any_of(f"+{digits}")

    # --- one contact ---

    async def _read_each(self, ids: Iterable[str]) -> bool:
        for identity in ids:
            if await self._read(identity):
                return True
        return False

    async def _read(self, identity: str, hit: Contact | None = None) -> bool:
        """Read one contact, once in a look; return whether it has the mark."""
        if identity in self._read_now:
            return False
        self._read_now.add(identity)
        try:
            read = await self._requests.contact(identity, hit)
        except LookupError:
            if identity in self._sights or identity in self._met or identity in (self._by_ledger or ()):
                self._gone.add(identity)
            return False
        if read is None:
            return False
        self._gone.discard(identity)
        info, payload = read
        marks = info.marks | {self._attempt.mark} if holds(payload, self._attempt.mark) else info.marks
        await self._keep(identity, info, marks)
        return self._attempt.mark in marks

    async def _keep(self, identity: str, info: ContactInfo, marks: frozenset[str]) -> None:
        before = self._sights.get(identity) or Sight(info)
        whose, messages = self._whose(identity, info.phone), before.messages
        if whose == "same" and self._attempt.mark not in marks:
            read = await self._requests.messages(identity)
            messages = messages if read is None else read
        tickets = _all_tickets(before.tickets, info.tickets)
        self._sights[identity] = Sight(info, whose, tickets, before.marks | marks, messages)


def _all_tickets(before: Sequence[Ticket], now: Sequence[Ticket]) -> tuple[Ticket, ...]:
    """Return the tickets of this look, and those that only an earlier one showed."""
    ids = {ticket.id for ticket in now}
    return (*now, *(ticket for ticket in before if ticket.id is not None and ticket.id not in ids))
