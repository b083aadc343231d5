"""Two small indexes that keep every API request independent of the number of contacts."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict


class Timeline:
    """Ids ordered by the time of their last touch, so that "since" costs as much as it returns."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()
        self._newest = 0
        # A clock that is set back breaks the order; from then on every id has to be looked at.
        self._ordered = True

    def touch(self, item: str, time: int) -> None:
        """Note that something happened to an id.

        :param item: the id.
        :param time: when, in milliseconds.
        """
        self._ordered = self._ordered and time >= self._newest
        self._newest = time
        self._times[item] = time
        self._times.move_to_end(item)

    def remove(self, item: str) -> None:
        """Forget an id; unknown ids are fine."""
        self._times.pop(item, None)

    def since(self, time: int) -> list[str]:
        """Return the ids touched strictly after a time, oldest first.

        :param time: milliseconds since 1970.
        """
        found = []
        for item, touched in reversed(self._times.items()):
            if touched > time:
                found.append(item)
            elif self._ordered:
                break
        found.reverse()
        return found if self._ordered else sorted(found, key=self._times.__getitem__)

    def newest(self, count: int) -> list[str]:
        """Return at most so many ids, the last touched first."""
        return [item for item, _ in zip(reversed(self._times), range(count), strict=False)]


class SubstringIndex:
    """Finds ids by any part of a text: one long text searched at memory speed instead of a loop over all contacts."""

    def __init__(self) -> None:
        self._text = bytearray(b"\n")
        self._starts: list[int] = []
        self._items: list[str | None] = []
        self._places: dict[str, int] = {}

    def put(self, item: str, text: str | None) -> None:
        """Set the text of an id, or remove the id with None or an empty text.

        :param item: the id.
        :param text: what it is found by; line breaks are not searchable.
        """
        place = self._places.pop(item, None)
        if place is not None:
            self._items[place] = None
        if text:
            self._places[item] = len(self._items)
            self._items.append(item)
            self._starts.append(len(self._text))
            self._text += text.replace("\n", " ").encode() + b"\n"

    def find(self, part: str) -> list[str]:
        """Return the ids whose text holds a part, in the order they were put.

        :param part: what to look for; an empty part finds nothing.
        """
        wanted, found, position = part.encode(), [], 0
        while wanted and (position := self._text.find(wanted, position)) >= 0:
            place = bisect_right(self._starts, position) - 1
            item = self._items[place]
            if item is not None:
                found.append(item)
            # On with the next text: one that matches twice counts once.
            position = self._starts[place + 1] if place + 1 < len(self._starts) else len(self._text)
        return found
