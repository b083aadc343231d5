"""What is found out about a lost reply, in every way in which Vambe may treat a customer and show what it did.

In no cell may a ticket that exists be called absent, or one that does not exist be called created. Which cells have to
be decided stands in :func:`expected`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support.facts import Scene, lookalikes, scene, together

if TYPE_CHECKING:
    from vambe_provider.delivery.attempt.facts import Finding
    from vambe_provider.delivery.model import Attempt
    from vambe_provider.sandbox import Sandbox

Contact = Literal["new", "idle", "active"]
Existing = Literal["new_ticket", "move", "keep", "ignore", "conflict"]
Shows = Literal["at once", "late", "later", "never"]
Search = Literal["fresh", "lagging", "capped", "down"]

CONTACTS: tuple[Contact, ...] = ("new", "idle", "active")
METADATA: dict[Shows, dict[str, Any]] = {
    "at once": {},
    "late": {"metadata_visible": "late", "metadata_after_seconds": 0.04},
    "later": {"metadata_visible": "late", "metadata_after_seconds": 3600.0},
    "never": {"metadata_visible": "no"},
}


@dataclass(frozen=True)
class Doubt:
    """An attempt whose reply was lost.

    :param contact: whether its person was no contact before, one without an active ticket, or one with one.
    :param carried_out: whether Vambe did what it was asked.
    :param has_text: whether it held a message.
    """

    contact: Contact
    carried_out: bool
    has_text: bool
    phone: str

    @property
    def text(self) -> str | None:
        return f"Your order {self.phone[-3:]} is late" if self.has_text else None


DOUBTS = [
    Doubt(contact, carried_out, has_text, f"+5691234{number:04d}")
    for number, (contact, carried_out, has_text) in enumerate(product(CONTACTS, (True, False), (True, False)))
]
"""Every kind of attempt, each to another person."""


async def _prepare(now: Scene) -> None:
    async with now.long_ago() as ago:
        for doubt in DOUBTS:
            if doubt.contact == "idle":
                now.sandbox.seed_contact(doubt.phone)
            elif doubt.contact == "active":
                await now.post(doubt.phone, f"earlier {doubt.phone}", ago=ago)
        now.sandbox.seed_contact("+56920000001")
        await now.post("+56920000002", "earlier witness", ago=ago)


async def _make_attempts(now: Scene) -> list[Attempt]:
    """Open tickets of each kind that surely exist, and then those of which no reply comes."""
    for number in range(3):
        await now.post(f"+5692000000{number}", f"witness {number}", text=f"Your order w{number} is late")
    return [
        await now.post(doubt.phone, doubt.phone, text=doubt.text, fault="after" if doubt.carried_out else "before")
        for doubt in DOUBTS
    ]


def _spoil_the_search(now: Scene, search: Search) -> None:
    if search == "down":
        now.sandbox.fault("search_contacts", kind="status", status=503, times="forever")
    elif search == "lagging":
        now.sandbox.configure(search_after_seconds=1800.0)
    elif search == "capped":
        for doubt in DOUBTS:
            for other in lookalikes(doubt.phone):
                now.sandbox.customer_replies(now.sandbox.seed_contact(other), "Hello")


def _exists(now: Scene, doubt: Doubt, attempt: Attempt) -> bool:
    """Say whether the customer has the ticket, or at least its message."""
    texts = {message["body"] for message in now.sandbox.messages()}
    return now.exists(attempt) or doubt.text in texts


def expected(doubt: Doubt, existing: Existing, shows: Shows, search: Search, *, exists: bool) -> str | None:
    """Return the verdict that a cell has to have; None where nobody has to be able to tell."""
    readable = shows in ("at once", "late")
    if exists:
        if readable and not (existing == "keep" and doubt.contact == "active"):
            return "created"
        # Without a mark and a text only a new ticket proves, and only where no ticket shows its mark.
        silent = shows == "never" and (doubt.contact != "active" or existing == "new_ticket")
        return "created" if doubt.has_text or silent else None
    if doubt.carried_out or search in ("capped", "down"):
        return None
    if doubt.contact == "new":
        return "not_created" if search == "fresh" else None
    if doubt.contact == "idle":
        return "not_created" if readable else None
    told = existing in ("new_ticket", "move") or (doubt.has_text and existing != "ignore")
    return "not_created" if readable and told else None


@pytest.mark.parametrize("search", ["fresh", "lagging", "capped", "down"])
@pytest.mark.parametrize("shows", list(METADATA))
@pytest.mark.parametrize("existing", ["new_ticket", "move", "keep", "ignore", "conflict"])
def test_no_finding_is_wrong_and_what_can_be_told_is_told(
    vambe_sandbox: Sandbox, existing: Existing, shows: Shows, search: Search
) -> None:
    vambe_sandbox.configure(existing_ticket=existing, assistant_writes=False, **METADATA[shows])

    async def run() -> list[tuple[Doubt, bool, Finding]]:
        async with scene(vambe_sandbox) as now:
            await _prepare(now)
            attempts = await _make_attempts(now)
            exist = [_exists(now, doubt, attempt) for doubt, attempt in zip(DOUBTS, attempts, strict=True)]
            _spoil_the_search(now, search)
            findings = await together(
                now.find(attempt, doubt.phone) for doubt, attempt in zip(DOUBTS, attempts, strict=True)
            )
            return list(zip(DOUBTS, exist, findings, strict=True))

    wrong, open_ = [], []
    for doubt, exists, finding in asyncio.run(run()):
        cell = f"{doubt.contact} carried_out={doubt.carried_out} text={doubt.has_text}: {finding.evidence}"
        if finding.verdict == ("not_created" if exists else "created"):
            wrong.append(cell)
        verdict = expected(doubt, existing, shows, search, exists=exists)
        if verdict is not None and finding.verdict != verdict:
            open_.append(cell)
    assert (wrong, open_) == ([], [])
