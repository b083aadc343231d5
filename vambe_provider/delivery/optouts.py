"""What a query of opt-outs says: read again and again while tickets are sent, compared by number and by its aliases."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

from vambe_provider.api.numbers import is_null
from vambe_provider.contact_policy.numbers import number_aliases
from vambe_provider.contact_policy.suppression import Suppressed
from vambe_provider.delivery import clock
from vambe_provider.exceptions import PhoneNumberError

Read = Callable[[], AbstractContextManager[Iterable[object]]]
"""Opens the query, and hands out the values of its first column."""

SHORTEST = 6
"""Digits below which a value is no part of a number by which somebody could be known."""
_LISTED = (Suppressed(source="query"),)
_PLAIN = re.compile(r"\+[1-9][0-9]{7,14}")


class _List(NamedTuple):
    """One answer of the query.

    :param numbers: the numbers, digits only.
    :param endings: the digits of values that are no complete numbers; whose number ends like one of them is left out.
    :param lengths: how many digits those have.
    :param read: when the reading began, in seconds of the process's clock.
    """

    numbers: frozenset[str]
    endings: frozenset[str]
    lengths: tuple[int, ...]
    read: float


class OptOuts:
    """The people whom a query names.

    :param read: opens the query.
    :param max_age: how many seconds old its answer may be when a ticket is sent.
    :param canonical: makes the E.164 form of a value, or raises ``PhoneNumberError``.
    """

    def __init__(self, read: Read, *, max_age: float, canonical: Callable[[object], str]) -> None:
        self._read, self._max_age, self._canonical = read, max_age, canonical
        self._list: _List | None = None
        self._lock = threading.Lock()
        self._reading: asyncio.Task[None] | None = None

    @property
    def age(self) -> float:
        """Seconds since the last answer was begun to be read; infinite before the first."""
        return float("inf") if self._list is None else clock.now() - self._list.read

    @property
    def is_old(self) -> bool:
        """Whether the last answer is too old to be believed."""
        return self.age > self._max_age

    def refresh(self) -> None:
        """Run the query, in this thread.

        :raises VambeError: when it fails; the answer before it holds until it is too old.
        """
        with self._lock:
            began, numbers, endings = clock.now(), set[str](), set[str]()
            with self._read() as values:
                for value in values:
                    if isinstance(value, str) and _PLAIN.fullmatch(value):
                        numbers.add(value[1:])
                    elif not is_null(value):
                        self._add(value, numbers, endings)
            self._list = _List(
                frozenset(numbers), frozenset(endings), tuple({len(digits) for digits in endings}), began
            )

    async def ready(self) -> None:
        """Have an answer that is young enough: read a new one in the background when it grows old, and wait for it only
        when it would be too old soon.

        :raises VambeError: when the query failed; then nothing more may be sent.
        """
        if self._reading is None and self.age > self._max_age / 2:
            self._reading = asyncio.create_task(asyncio.to_thread(self.refresh))
        if self._reading is not None and (self._reading.done() or self.age > 0.75 * self._max_age):
            reading, self._reading = self._reading, None
            await reading

    def entries(self, number: str) -> tuple[Suppressed, ...] | None:
        """Return the entries about a number; None when the answer is too old to be believed.

        :param number: in E.164 form.
        """
        known = self._list
        if known is None or self.is_old:
            return None
        if not known.numbers.isdisjoint(number_aliases(number)):
            return _LISTED
        if any(number[-length:] in known.endings for length in known.lengths):
            return _LISTED
        return ()

    def _add(self, value: object, numbers: set[str], endings: set[str]) -> None:
        try:
            numbers.add(self._canonical(value)[1:])
        except PhoneNumberError:
            # Nobody can tell whose it is, and whoever it may be did not want to be contacted.
            digits = re.sub("[^0-9]", "", str(value))
            if len(digits) >= SHORTEST:
                endings.add(digits)
