"""What the clients do, written once for both: each call is a generator that asks for requests and pauses.

A driver sends every :class:`~vambe_provider.api.requests.Request` that it is given, waits for every :class:`Pause`, and
puts the reply or the error back in, until the generator returns the result. All decisions are here: which request, how
its reply is read, whether a read is tried again.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from vambe_provider.api import requests
from vambe_provider.api.replies import Reader, Reply
from vambe_provider.api.requests import ContactFilter, Request, TicketRef
from vambe_provider.api.retry import Retries, http_date
from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    from vambe_provider.api.models import Channel, ChatMessage, Contact, OpenedTicket, OpenTicket, Pipeline, Stage
    from vambe_provider.api.settings import ConnectionSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask the driver to wait.

    :param seconds: how long.
    """

    seconds: float


Steps = Generator[Request | Pause, Reply | None, T]
Read = Callable[[Reader, Reply], T]


class Calls:
    """All calls of one client, with what it remembers between them.

    :param settings: the connection.
    :param retries: how often a read is tried.
    """

    def __init__(self, settings: ConnectionSettings, *, retries: Retries) -> None:
        self.settings = settings
        self._retries = retries
        self._pipelines: list[Pipeline] | None = None
        self._clock: tuple[str, float] | None = None

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the clock of the API was ahead of the local one in the last reply; None when unknown."""
        if self._clock is None:
            return None
        date, received = self._clock
        when = http_date(date)
        return None if when is None else (when - datetime.fromtimestamp(received, UTC)).total_seconds()

    def call(self, request: Request, read: Read[T]) -> Steps[T]:
        """Send a request and read its reply; one that writes is sent once, one that reads is tried again."""
        reader = Reader(request, host=self.settings.host, api_key=self.settings.api_key)
        attempt = 1
        while True:
            try:
                reply = yield request
                return read(reader, self._received(reply))
            except VambeError as error:
                wait = self._retries.wait(error, attempt) if request.idempotent else None
                if wait is None:
                    raise
            attempt += 1
            yield Pause(wait)

    def _received(self, reply: Reply | None) -> Reply:
        if reply is None:
            raise TypeError("a driver has to answer a request with a reply")
        date = reply.headers.get("date")
        if date is not None:
            self._clock = (date, time.time())
        return reply

    def open_ticket(self, ticket: OpenTicket, *, phone_id: str | None, channel: str | None) -> Steps[OpenedTicket]:
        """Open one ticket."""
        sender = phone_id if phone_id not in (None, "") else self.settings.phone_id
        request = requests.open_ticket(ticket, phone_id=sender, channel=channel or self.settings.channel)
        return self.call(request, Reader.opened)

    def get_pipelines(self) -> Steps[list[Pipeline]]:
        """Read the pipelines and remember them."""
        self._pipelines = yield from self.call(requests.get_pipelines(), Reader.pipelines)
        return self._pipelines

    def close_ticket(self, contact_id: str) -> Steps[None]:
        """Close the active ticket of a contact."""
        return self.call(requests.close_ticket(contact_id), Reader.done)

    def get_channel(self, channel: str | None) -> Steps[Channel]:
        """Read the sender of a channel type."""
        return self.call(requests.get_channel(channel or self.settings.channel), Reader.channel)

    def get_contact(self, contact_id: str) -> Steps[Contact]:
        """Read one contact."""
        return self.call(requests.get_contact(contact_id), Reader.contact)

    def search_contacts(self, *, phone: str | None, email: str | None) -> Steps[list[Contact]]:
        """Search for contacts."""
        return self.call(requests.search_contacts(phone=phone, email=email), Reader.contacts)

    def update_contact_metadata(self, contact_id: str, metadata: Mapping[str, Any]) -> Steps[None]:
        """Set custom fields of a contact."""
        return self.call(requests.update_contact_metadata(contact_id, metadata), Reader.done)

    def update_ticket_metadata(self, metadata: Mapping[str, Any], ticket: TicketRef) -> Steps[None]:
        """Merge values into the metadata of a ticket."""
        return self.call(requests.update_ticket_metadata(metadata, **ticket), Reader.done)

    def update_ticket_amount(self, amount: object, currency: str | None, ticket: TicketRef) -> Steps[None]:
        """Set the amount of a ticket."""
        return self.call(requests.update_ticket_amount(amount, currency=currency, **ticket), Reader.done)

    def find_stage(self, name_or_id: str) -> Steps[Stage]:
        """Find a stage in the pipelines that are remembered; when it is not there, read them once more."""
        if self._pipelines is not None:
            try:
                return find_stage(self._pipelines, name_or_id)
            except VambeConfigError:
                pass  # it may be new
        return find_stage((yield from self.get_pipelines()), name_or_id)

    def get_messages(self, contact_id: str, *, max_pages: int) -> Steps[list[ChatMessage]]:
        """Read up to ``max_pages`` pages of messages, sorted by time."""
        pages: list[list[ChatMessage]] = []
        seen: set[str | None] = {None}
        for number in range(1, max_pages + 1):
            page, more = yield from self.call(requests.get_messages(contact_id, page=number), Reader.messages)
            # A message that arrives in between moves the others to the next page.
            new = [message for message in page if message.id is None or message.id not in seen]
            seen.update(message.id for message in new)
            pages.append(new)
            if not more or not new:
                break
        return in_order(pages)


class ContactPages:
    """Reads a list of contacts page by page.

    :param calls: the calls of the client.
    :param page_size: contacts asked for at once.
    :param filters: as :func:`vambe_provider.api.requests.list_contacts` takes them.
    """

    def __init__(self, calls: Calls, *, page_size: int, filters: ContactFilter) -> None:
        self._calls = calls
        self._page_size = page_size
        self._filters = filters
        self._offset = 0
        self._last: set[str] = set()
        self.finished = False

    def next(self) -> Steps[list[Contact]]:
        """Read the next page, without the contacts that the page before already held."""
        request = requests.list_contacts(limit=self._page_size, offset=self._offset, **self._filters)
        page = yield from self._calls.call(request, Reader.contacts)
        new = [contact for contact in page if contact.id not in self._last]
        self._offset += len(page)
        self._last = {contact.id for contact in page}
        # Older servers ignore the limit and answer with everything, or ignore the offset and answer the same again.
        self.finished = len(page) != self._page_size or not new
        return new


def in_order(pages: list[list[ChatMessage]]) -> list[ChatMessage]:
    """Return the messages of all pages with the newest last.

    Nothing says whether the first page is the newest or the oldest, so the times decide; without them the order stays.

    :param pages: each in the order of time.
    """
    pages = [page for page in pages if page]
    messages = [message for page in pages for message in page]
    times = [_moment(message.created_at) for message in messages]
    known = [moment for moment in times if moment is not None]
    if len(known) < len(messages) or not known:
        return messages
    if known[0] > known[-len(pages[-1])]:  # the newest page came first; turned, so that equal times stay in their order
        return in_order(pages[::-1])
    ranked = sorted(range(len(messages)), key=lambda index: known[index])
    return [messages[index] for index in ranked]


def _moment(text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def find_stage(pipelines: Iterable[Pipeline], name_or_id: str) -> Stage:
    """Return the stage with an id, with a name as ``Support / New``, or with a name as ``New`` that only one pipeline
    has.

    :param pipelines: all pipelines.
    :param name_or_id: names are compared without regard to case and to the space around the slash.
    :raises VambeConfigError: when no stage or more than one fits; lists what there is.
    """
    wanted = str(name_or_id).strip()
    stages = [stage for pipeline in pipelines for stage in pipeline.stages]
    by_id = [stage for stage in stages if stage.id.lower() == wanted.lower()]
    if by_id:
        return by_id[0]
    key = _folded(wanted)
    found = [stage for stage in stages if key and key in (_folded(stage.label), _folded(stage.name or ""))]
    if len(found) == 1:
        return found[0]
    exact = [stage for stage in found if wanted in (stage.label, stage.name)]
    if len(exact) == 1:
        return exact[0]
    if found:
        labels = ", ".join(f"{stage.label} ({stage.id})" for stage in found[:20])
        raise VambeConfigError(
            f"stage: {wanted[:80]!r} fits more than one: {labels}", fix="Write the pipeline too, or the id."
        )
    raise VambeConfigError(f"stage: there is no {wanted[:80]!r}", fix=_existing(stages, key))


def _folded(text: str) -> str:
    return "/".join(" ".join(part.split()) for part in text.casefold().split("/"))


def _existing(stages: list[Stage], key: str) -> str:
    if not stages:
        return "The account has no stages that this API key can see."
    labels = {_folded(stage.label): stage.label for stage in stages}
    close = difflib.get_close_matches(key, labels, n=1, cutoff=0.7)
    hint = f"Did you mean {labels[close[0]]}? " if close else ""
    names = list(labels.values())
    rest = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return f"{hint}There are: {', '.join(names[:40])}{rest}."
