"""The account's data: what exists, how it is found, and how a change is made, kept and announced. No HTTP here."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.index import SubstringIndex, Timeline
from vambe_provider.sandbox.model import ChatMessage, Contact, RequestRecord, Ticket
from vambe_provider.sandbox.storage import StateFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.sandbox.config import SandboxConfig
    from vambe_provider.sandbox.storage import Storage, Thing


LOGGED_BYTES = 64 * 1024 * 1024
"""Bodies that the log of requests holds at most; the oldest requests go first."""


class SandboxState:
    """Contacts, tickets, messages and the request log, safe to use from several threads.

    :param config: the switches to start with.
    :param storage: where changes are kept, or None for memory only.
    """

    def __init__(self, config: SandboxConfig, storage: Storage | None = None) -> None:
        self.config = config
        self.changed = threading.Condition(threading.RLock())
        self.version = 0
        # Requests that were under way at a reset belong to the past, and must not have an effect afterwards.
        self.epoch = 0
        self._storage = storage
        self._dirty: dict[tuple[str, str], Thing | None] = {}
        self._clear()
        if storage is not None:
            try:
                self._load(storage)
            except (KeyError, TypeError) as error:
                raise StateFileError("the state file is of another version of the sandbox; delete it") from error

    def _clear(self) -> None:
        self.contacts: dict[str, Contact] = {}
        self.by_address: dict[tuple[str, str], Contact] = {}
        self.tickets: dict[str, Ticket] = {}
        self.messages: dict[str, list[ChatMessage]] = {}
        self.message_count = 0
        self.merged: dict[str, str] = {}
        self.odd_fields: dict[str, dict[str, Any]] = {}
        self.requests: deque[RequestRecord] = deque(maxlen=self.config.request_log)
        self.request_count = 0
        self.logged_bytes = 0
        self.created, self.updated, self.messaged, self.activity = Timeline(), Timeline(), Timeline(), Timeline()
        self.phones, self.emails = SubstringIndex(), SubstringIndex()

    def _load(self, storage: Storage) -> None:
        for kind, content in storage.load():
            if kind == "contact":
                self.index_contact(Contact(**content))
            elif kind == "ticket":
                self.tickets[content["id"]] = Ticket(**content)
            else:
                message = ChatMessage(**content)
                self.messages.setdefault(message.contact_id, []).append(message)
                self.message_count += 1
        contacts = self.contacts.values()
        for contact in sorted(contacts, key=lambda contact: contact.changed_at):
            self.activity.touch(contact.id, contact.changed_at)
        for contact in sorted(contacts, key=lambda contact: contact.updated_at):
            self.updated.touch(contact.id, contact.updated_at)
        for contact in sorted(contacts, key=lambda contact: contact.last_message_at or 0):
            if contact.last_message_at is not None:
                self.messaged.touch(contact.id, contact.last_message_at)

    def now(self) -> int:
        """Return the time that is stamped on what happens now, in milliseconds since 1970, with both skews."""
        return int((self.server_time() + self.config.stamp_skew_seconds) * 1000)

    def server_time(self) -> float:
        """Return the server's time as ``Date`` shows it, in seconds since 1970, clock skew included."""
        return time.time() + self.config.clock_skew_seconds

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock for a change, then write it to the file and wake everybody who waits for one."""
        with self.changed:
            try:
                yield
            finally:
                if self._storage is not None and self._dirty:
                    self._storage.write(self._dirty)
                    self._dirty.clear()
                self.announce()

    def keep(self, kind: str, thing: Thing) -> None:
        """Have a new or changed thing written to the file, if there is one.

        :param kind: ``contact``, ``ticket`` or ``message``.
        :param thing: what changed.
        """
        if self._storage is not None:
            self._dirty[kind, thing.id] = thing

    def index_contact(self, contact: Contact) -> None:
        """Make a contact findable by id, address, number and e-mail.

        :param contact: a contact that is not known yet.
        """
        self.contacts[contact.id] = contact
        self.by_address[contact.phone, contact.platform] = contact
        self.messages.setdefault(contact.id, [])
        self.created.touch(contact.id, contact.created_at)
        self.phones.put(contact.id, contact.phone)
        self.emails.put(contact.id, (contact.email or "").casefold())

    def remove_contact(self, contact: Contact) -> None:
        """Forget a contact, but not its tickets and messages.

        :param contact: a known contact.
        """
        del self.contacts[contact.id]
        if self.by_address.get((contact.phone, contact.platform)) is contact:
            del self.by_address[contact.phone, contact.platform]
        for timeline in (self.created, self.updated, self.messaged, self.activity):
            timeline.remove(contact.id)
        self.phones.put(contact.id, None)
        self.emails.put(contact.id, None)
        if self._storage is not None:
            self._dirty["contact", contact.id] = None

    def touch(self, contact: Contact, *, bump: bool = True) -> None:
        """Note that something about a contact changed.

        :param contact: the contact.
        :param bump: whether the API's ``updated_at`` shows it.
        """
        contact.changed_at = self.now()
        contact.reads_at_change = contact.reads
        self.activity.touch(contact.id, contact.changed_at)
        if bump:
            contact.updated_at = contact.changed_at
            self.updated.touch(contact.id, contact.updated_at)
        self.keep("contact", contact)

    def log(self, record: RequestRecord) -> None:
        """Remember a request and wake everybody who waits for one.

        :param record: the request; it is completed in place when it is answered.
        """
        with self.changed:
            if self.requests.maxlen is not None and len(self.requests) >= max(1, self.requests.maxlen):
                self._forget_oldest()
            self.requests.append(record)
            self.request_count += 1
            self.announce()

    def log_body(self, record: RequestRecord, body: Any, size: int) -> None:
        """Remember the body of a request, and forget the oldest requests when all bodies together are too large.

        :param record: the request, logged before.
        :param body: its JSON values.
        :param size: bytes of its text.
        """
        with self.changed:
            record.body = body
            if record.size < 0:  # forgotten meanwhile
                return
            record.size = size
            self.logged_bytes += size
            while self.logged_bytes > LOGGED_BYTES and len(self.requests) > 1:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self.requests.popleft()
        self.logged_bytes -= oldest.size
        oldest.size = -1

    def announce(self) -> None:
        """Wake everybody who waits for a change."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()

    def wait_for_change(self, version: int, timeout: float) -> bool:
        """Block until something has changed.

        :param version: the value of ``version`` that the caller has looked at.
        :param timeout: seconds.
        :returns: False when nothing changed in time.
        """
        with self.changed:
            return self.changed.wait_for(lambda: self.version != version, timeout)

    def reset(self, config: SandboxConfig) -> None:
        """Forget everything, also in the file.

        :param config: the switches from now on.
        """
        with self.change():
            self.config = config
            self.epoch += 1
            self._clear()
            self._dirty.clear()
            if self._storage is not None:
                self._storage.clear()

    def close(self) -> None:
        """Close the state file."""
        with self.changed:
            if self._storage is not None:
                self._storage.close()
                self._storage = None
