"""The list of contacts that changed, read so that none is skipped and none counts twice.

A server may cap its pages, sort otherwise than its page says, show a change late, show many changes of one moment, or
hold a row that cannot be read. What is asked for is told by time, since a contact that changes while pages are read
moves to the end, and would push another one over the edge of a numbered page.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vambe_provider.api.pages import ContactsPage
from vambe_provider.exceptions import VambeReadError
from vambe_provider.waiting.conditions import moment
from vambe_provider.waiting.tickets import CLOCK_ERROR

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient

log = logging.getLogger(__name__)

OVERLAP = 30.0
"""Seconds for which a change may show up late in the list."""
PAGE = 200
_TIE = 0.001
_SMALLEST_CAP = 10
"""A page with fewer rows than this, and fewer than were asked for, is taken for the last one."""
_UNREADABLE = 3
"""Rows in a row that may be unreadable; with more of them it is the server."""
_HASH = 5
_MAX_STORED = 8000


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list.

    :param id: the contact, as the API writes it.
    :param at: when it changed, in seconds since 1970 by the API's clock.
    :param state: a hash of what tells two states of a contact apart.
    :param fields: the row as the API shows it.
    """

    id: str
    at: float
    state: bytes = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> str:
        """The id as it is compared: some databases write a uuid in capitals."""
        return self.id.lower()

    def is_of_the_future(self, now: float) -> bool:
        """Return whether its time is wrong: it must not hide what comes.

        :param now: by the API's clock.
        """
        return self.at > now + CLOCK_ERROR

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Row | None:
        """Return the row that an object of the list is, or None when it has no id or no time."""
        identity, at = item.get("id"), moment(item.get("updated_at"))
        if at is None or isinstance(identity, bool) or not isinstance(identity, (str, int)):
            return None
        text, ticket = str(identity).strip(), item.get("active_ticket_v2")
        ticket = ticket if isinstance(ticket, Mapping) else {}
        parts = (text.lower(), at, item.get("last_message_at"), item.get("chat_status"))
        shown = repr((*parts, ticket.get("id"), ticket.get("current_stage_id"))).encode(errors="replace")
        return cls(text, at, hashlib.blake2b(shown, digest_size=_HASH).digest(), item) if text else None


class ContactList:
    """Reads the list of one connection, and remembers what it learned about the way its server pages.

    :param client: asks.
    """

    def __init__(self, client: AsyncVambeClient) -> None:
        self._client = client
        self._limit = self._most = PAGE
        self._largest = _SMALLEST_CAP
        self._unreadable = 0
        self._rises = self._falls = False
        self._said: set[str] = set()

    async def since(self, after: float) -> AsyncIterator[list[Row]]:
        """Yield the contacts that changed after a time, page by page, each state of a contact once.

        :param after: seconds since 1970, by the API's clock.
        :raises VambeError: when a page cannot be read.
        """
        seen: set[bytes] = set()
        while True:
            # One pass by page numbers over what changed after a time, until the times of its rows lead on.
            offset, pages, fresh, leads_to = 0, 0, False, after
            before: list[dict[str, Any]] = []
            while True:
                limit, page = await self._page(after, offset)
                rows = self._rows(page)
                new = [row for row in rows if row.state not in seen]
                seen.update(row.state for row in new)
                if new:
                    yield new
                fresh, pages, offset = fresh or bool(new), pages + 1, offset + page.size
                self._note_order(rows)
                leads_to = max([leads_to, *(row.at - _TIE for row in rows)])
                # A server that does not know page numbers gives the same page again.
                last = self._is_last(page.size, limit, sure=self._falls) or (page.rows == before and before != [])
                before = page.rows
                if last or (self._rises and not self._falls and leads_to > after):
                    break
            if pages > 1 and fresh:
                continue  # a contact that changed meanwhile may have pushed another one over the edge of a page
            if last:
                self._limit = self._most = PAGE
                return
            after = leads_to

    async def _page(self, after: float, offset: int) -> tuple[int, ContactsPage]:
        """Return a page, and how many rows it was asked for; a page that cannot be read is halved."""
        while True:
            limit, moment_after = self._limit, datetime.fromtimestamp(after, UTC)
            try:
                page = await self._client.contacts_page(limit=limit, offset=offset, updated_after=moment_after)
            except VambeReadError as error:
                if error.status is None or not 200 <= error.status < 300:
                    raise
                if limit > 1:
                    self._limit = self._most = limit // 2
                    continue
                self._unreadable += 1
                if self._unreadable > _UNREADABLE:  # so it is not the row
                    self._unreadable, self._limit, self._most = 0, PAGE, PAGE
                    raise
                self._say("row", "a row of the list of contacts cannot be read and is left out (%s)", error.kind)
                self._most = PAGE // 8
                return 1, ContactsPage([], 1)
            self._unreadable, self._limit = 0, min(self._most, limit * 2)
            return limit, page

    def _rows(self, page: ContactsPage) -> list[Row]:
        rows = [row for item in page.rows if (row := Row.read(item)) is not None]
        if len(rows) < page.size and page.rows:
            left_out = page.size - len(rows)
            self._say("odd", "%d rows of the list of contacts have no id or no time and are left out", left_out)
        return rows

    def _is_last(self, size: int, limit: int, *, sure: bool) -> bool:
        """Return whether no page follows: an empty one says so, and one below what this server has given before."""
        last = not size or (not sure and size < min(limit, self._largest))
        self._largest = max(self._largest, size)
        return last

    def _note_order(self, rows: list[Row]) -> None:
        """Learn how the server sorts; a page of one moment tells nothing, and then the list is read to its end."""
        self._rises = self._rises or any(one.at < other.at for one, other in pairwise(rows))
        self._falls = self._falls or any(one.at > other.at for one, other in pairwise(rows))
        if self._falls:
            self._say("order", "the list of contacts is not sorted by the time of the change; it is read to its end")

    def _say(self, what: str, text: str, *values: object) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("%s: %s", self._client.settings.host, text % values)


class Place:
    """How far a list was read: what changed up to here is done.

    A change may show up late. So the place moves on to the newest change that a look has shown only when ``OVERLAP``
    seconds have passed since, and another look has found nothing more.

    :param at: seconds since 1970, by the API's clock.
    """

    def __init__(self, at: float) -> None:
        self.at = at
        self._bar = float("inf")
        self._shown: deque[tuple[float, float]] = deque()

    def begin(self) -> float:
        """Return from where on a look has to ask."""
        self._bar = float("inf")
        return self.at

    def end(self, *, began: float, newest: float | None) -> None:
        """Note that a look is done.

        :param began: when, by the monotonic clock.
        :param newest: the newest change that it showed, not counting those of the future.
        """
        if newest is not None and (not self._shown or newest > self._shown[-1][1]):
            self._shown.append((began, newest))
        while self._shown and self._shown[0][0] <= began - OVERLAP and self._shown[0][1] <= self._bar:
            self.at = max(self.at, self._shown.popleft()[1])

    def copy(self) -> Place:
        """Return a place of its own that is as far."""
        other = Place(self.at)
        other._shown = self._shown.copy()
        return other

    def back_to(self, at: float) -> None:
        """Have everything after a time asked for again, also when a look is under way."""
        self.at, self._bar = min(self.at, at), min(self._bar, at)


class Cursor:
    """What a reader of changes has done: all up to its place, and of what is newer it is known what was seen.

    :param at: seconds since 1970, by the API's clock.
    """

    def __init__(self, at: float) -> None:
        self.place = Place(at)
        self._seen: dict[bytes, float] = {}

    def news(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that were not seen before, the oldest change first, and remember them."""
        fresh = []
        for row in sorted(rows, key=lambda item: item.at):
            if row.at > self.place.at and row.state not in self._seen:
                self._seen[row.state] = row.at
                fresh.append(row)
        return fresh

    def copy(self) -> Cursor:
        """Return a cursor of its own at the same place."""
        other = Cursor(self.place.at)
        other.place, other._seen = self.place.copy(), dict(self._seen)
        return other

    def end(self, *, began: float, newest: float | None) -> None:
        """Note that a look is done, see :meth:`Place.end`."""
        before = self.place.at
        self.place.end(began=began, newest=newest)
        if self.place.at > before:
            self._seen = {state: at for state, at in self._seen.items() if at > self.place.at}

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, small enough for a store: after a great burst, some is seen again."""
        newest = sorted(self._seen, key=self._seen.__getitem__)[-_MAX_STORED:]
        seen = base64.b64encode(b"".join(sorted(newest))).decode()
        return {"at": self.place.at, "seen": seen, "until": max(self._seen.values(), default=self.place.at)}

    @classmethod
    def from_json(cls, value: object) -> Cursor | None:
        """Return the cursor that was written by :meth:`to_json`, or None when it is not one."""
        try:
            at, until = float(value["at"]), float(value["until"])  # type: ignore[index]
            seen = base64.b64decode(value["seen"], validate=True)  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            return None
        cursor = cls(at)
        cursor._seen = {seen[start : start + _HASH]: until for start in range(0, len(seen), _HASH)}
        return cursor


def api_now(client: AsyncVambeClient) -> float:
    """Return the time by the API's clock, as far as it is known, in seconds since 1970."""
    return time.time() + (client.server_clock_offset or 0.0)
