"""A ledger in memory for tests of evidence: attempts that were made, and what a ledger says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vambe_provider.api import AsyncVambeClient, ConnectionSettings
from vambe_provider.api.models import Message, OpenTicket
from vambe_provider.api.retry import Retries
from vambe_provider.delivery.attempt.reconcile import Finding, reconcile
from vambe_provider.delivery.key import METADATA_KEY, digest, message_hash
from vambe_provider.delivery.model import Attempt, Reason, Sent
from vambe_provider.delivery.person import Persons
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vambe_provider.sandbox import Sandbox

POLLS = (0.01, 0.02, 0.05)
ACCOUNT = "sandbox"
ONCE_UPON_A_TIME = 7200.0


@dataclass
class Facts:
    """All attempts of one account, as a ledger would have them."""

    attempts: list[Attempt] = field(default_factory=list)

    async def siblings(self, attempt: Attempt) -> list[Attempt]:
        return [
            other
            for other in self.attempts
            if (other.person, other.account) == (attempt.person, attempt.account)
            and other.mark != attempt.mark
            and other.sent != Sent.NO
        ]

    async def witnesses(self, attempt: Attempt) -> list[Attempt]:
        found = [
            other
            for other in self.attempts
            if other.account == attempt.account and other.person != attempt.person and other.sent == Sent.YES
        ]
        return sorted(found, key=lambda other: -other.started)[:40]

    async def earlier(self, attempt: Attempt) -> list[str]:
        own = [other for other in self.attempts if other.person == attempt.person and other.mark != attempt.mark]
        newest = sorted(own, key=lambda other: -other.started)
        return [other.ai_contact_id for other in newest if other.ai_contact_id]


class Scene:
    """A sandbox, a client that gives up soon, and a ledger in memory."""

    def __init__(self, sandbox: Sandbox, client: AsyncVambeClient) -> None:
        self.sandbox, self.client = sandbox, client
        self.facts, self.persons = Facts(), Persons()

    async def post(
        self, phone: str, key: str, *, text: str | None = "Hello", fault: str | None = None, ago: float = 0.0
    ) -> Attempt:
        """Make an attempt at a ticket and remember it.

        :param fault: ``before`` or ``after``: the connection breaks before or after Vambe did what it was asked.
        :param ago: when it was made: so many seconds before now.
        """
        ticket = OpenTicket(
            to_phone_number=phone,
            stage_id=self.sandbox.stage_id("Support / New"),
            ticket_metadata={METADATA_KEY: digest(key), "order_id": key},
            message=None if text is None else Message(content=text),
        )
        if fault:
            self.sandbox.fault("open_ticket", kind="drop", when=fault, phone=phone)
        started, contact, sent = time.time(), None, Sent.YES
        try:
            contact = (await self.client.open_ticket(ticket)).ai_contact_id
        except VambeError as error:
            sent = Sent.MAYBE if error.sent == "maybe" else Sent.NO
        attempt = Attempt(
            ticket_key=digest(key), namespace="tests", account=ACCOUNT, number=1, generation=0, reason=Reason.FIRST,
            person=self.persons.of(phone), fingerprint="", message_hash=None if text is None else message_hash(text),
            started=started - ago, ended=time.time() - ago, sent=sent, ai_contact_id=contact,
        )  # fmt: skip
        self.facts.attempts.append(attempt)
        return attempt

    @asynccontextmanager
    async def long_ago(self, seconds: float = ONCE_UPON_A_TIME) -> AsyncIterator[float]:
        """Have things happen before: the server's clock is set back meanwhile."""
        self.sandbox.configure(clock_skew_seconds=-seconds)
        yield seconds
        self.sandbox.configure(clock_skew_seconds=0.0)

    async def find(self, attempt: Attempt, phone: str | None, **changes: Any) -> Finding:
        """Find out what became of an attempt."""
        given: dict[str, Any] = {"records": self.facts, "persons": self.persons, "polls": POLLS, "young": 3600.0}
        return await reconcile(attempt, self.client, phone=phone, **{**given, "log": None, **changes})

    def exists(self, attempt: Attempt) -> bool:
        """Say whether there is a ticket with the attempt's mark."""
        return any(ticket["ticket_metadata"].get(METADATA_KEY) == attempt.mark for ticket in self.sandbox.tickets())

    def remember(self, attempt: Attempt, **changes: Any) -> Attempt:
        """Change what the ledger says of an attempt."""
        self.facts.attempts.remove(attempt)
        self.facts.attempts.append(replace(attempt, **changes))
        return self.facts.attempts[-1]


@asynccontextmanager
async def scene(sandbox: Sandbox) -> AsyncIterator[Scene]:
    settings = ConnectionSettings(
        api_key=sandbox.api_key, base_url=sandbox.url, phone_id="qr-main", rate=None, timeout=5.0
    )
    async with AsyncVambeClient(settings, retries=Retries(attempts=1)) as client:
        yield Scene(sandbox, client)


def lookalikes(phone: str, count: int = 50) -> Iterable[str]:
    """Return numbers of other people that end like one."""
    return (f"+549{area}{phone[-8:]}" for area in range(12, 12 + count))


async def together(requests: Iterable[Any]) -> Sequence[Any]:
    return await asyncio.gather(*requests)
