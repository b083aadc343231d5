"""Look at tickets that surely exist, in the way in which an attempt was looked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.absence import earlier_on_contact
from vambe_provider.delivery.attempt.facts import Witness
from vambe_provider.delivery.attempt.reading import Requests, end_of, holds

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.facts import Said
    from vambe_provider.delivery.attempt.looks import Looker, Records
    from vambe_provider.delivery.model import Attempt

MAX_WITNESSES = 12
"""Witnesses that are looked at for one attempt, and as many more where an active ticket makes the question harder."""


class Witnesses:
    """The witnesses for one attempt, and what was seen of them.

    :param attempt: the attempt.
    :param requests: the requests to the API.
    :param records: the ledger.
    :param looker: looked for the attempt.
    """

    def __init__(self, attempt: Attempt, requests: Requests, records: Records, looker: Looker) -> None:
        self._attempt, self._requests, self._records, self._looker = attempt, requests, records, looker
        self._known: dict[str, Witness] = {}

    @property
    def all(self) -> list[Witness]:
        """All witnesses, the newest first."""
        return sorted(self._known.values(), key=lambda witness: -witness.attempt.started)

    async def learn(self) -> None:
        """Ask the ledger which tickets surely exist."""
        for attempt in await self._records.witnesses(self._attempt):
            if attempt.ai_contact_id and attempt.person != self._attempt.person:
                self._known.setdefault(attempt.mark, Witness(attempt))

    def unseen(self) -> list[Witness]:
        """Return the witnesses that are worth a look, the newest first."""
        chosen = self.all[:MAX_WITNESSES]
        if self._looker.met:
            return [witness for witness in chosen if witness.shown_at is None or _may_be_heard(witness)]
        return [witness for witness in chosen if witness.found_at is None]

    async def returning(self) -> list[Witness]:
        """Return further witnesses whose contact had an earlier ticket: few may tell what becomes of an active one."""
        found = []
        for witness in self.all[MAX_WITNESSES:]:
            siblings = tuple(await self._records.siblings(witness.attempt))
            if earlier_on_contact(witness.attempt, siblings):
                found.append(replace(witness, siblings=siblings))
        return found[:MAX_WITNESSES]

    async def ask(self, witness: Witness) -> None:
        """Look at a witness; what cannot be read of it is left open."""
        attempt, contact = witness.attempt, witness.attempt.ai_contact_id or ""
        try:
            read = await self._requests.contact(contact)
        except LookupError:
            self._known[attempt.mark] = replace(witness, searched=self._looker.by_number)
            return
        if read is None:
            return
        info, payload = read
        witness = replace(witness, info=info)
        if not self._looker.met:
            self._known[attempt.mark] = await self._looked_for(witness)
            return
        witness = replace(witness, siblings=tuple(await self._records.siblings(attempt)))
        if attempt.mark in info.marks or holds(payload, attempt.mark) or await self._is_listed(attempt):
            witness = replace(witness, shown_at=witness.shown_at or clock.utc())
        if witness.shown_at is None or _may_be_heard(witness):
            witness = self._heard(witness, await self._requests.messages(contact))
        self._known[attempt.mark] = witness

    def _heard(self, witness: Witness, messages: tuple[Said, ...] | None) -> Witness:
        if messages is None:
            return witness
        attempt, span = witness.attempt, self._requests.clock.span(witness.attempt)
        is_there = any(said.is_text(attempt.message_hash) and said.at in span for said in messages)
        return replace(witness, messages=messages, heard_at=witness.heard_at or (clock.utc() if is_there else None))

    async def _is_listed(self, attempt: Attempt) -> bool:
        named = attempt.ai_contact_id in await self._requests.marked(attempt)
        return named and await self._requests.filters_by_mark(self._attempt)

    async def _looked_for(self, witness: Witness) -> Witness:
        """Look for a witness as for the person whom no look found: by its number, or among what changed."""
        contact = witness.attempt.ai_contact_id
        if not self._looker.by_number:
            listed = self._looker.listed
            if listed is None or witness.attempt.started < self._attempt.started:
                return witness
            return _found(witness, contact in listed)
        digits = end_of(witness.info.phone if witness.info else None)
        if not digits:
            return _found(witness, False)
        found = await self._requests.search(digits)
        return witness if found is None else _found(witness, any(hit.id == contact for hit in found))


def _may_be_heard(witness: Witness) -> bool:
    return witness.attempt.message_hash is not None and witness.heard_at is None


def _found(witness: Witness, found: bool) -> Witness:
    return replace(witness, searched=True, found_at=clock.utc() if found else None)
