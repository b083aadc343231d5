from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vambe_provider.contact_policy.numbers import canonical_number
from vambe_provider.delivery.optouts import OptOuts
from vambe_provider.exceptions import VambeDeliveryError


class People:
    """A table of opt-outs that changes, and may be away."""

    def __init__(self, *values: Any) -> None:
        self.values, self.away, self.reads = list(values), False, 0

    @contextmanager
    def read(self) -> Iterator[list[Any]]:
        self.reads += 1
        if self.away:
            raise VambeDeliveryError("the database is away")
        yield list(self.values)

    def list(self, *, max_age: float = 60.0) -> OptOuts:
        return OptOuts(self.read, max_age=max_age, canonical=lambda value: canonical_number(value, default_region="MX"))


@pytest.mark.parametrize(
    ("listed", "number"),
    [
        ("+56961234567", "+56961234567"),
        ("+5215512345678", "+525512345678"),  # as WhatsApp knew people in Mexico
        ("55 1234 5678", "+525512345678"),
        ("521 55 1234 5678", "+525512345678"),
        ("+541158749895", "+5491158749895"),
        (56961234567, "+56961234567"),
        ("9 6123 4567 / casa", "+56961234567"),  # cannot be read, and ends like this number
    ],
)
def test_a_person_is_known_in_every_spelling(listed: object, number: str) -> None:
    people = People(None, "", listed).list()
    people.refresh()
    assert [entry.source for entry in people.entries(number) or ()] == ["query"]
    assert people.entries("+56987654321") == ()


def test_nothing_is_believed_before_the_first_answer_and_when_it_has_grown_old() -> None:
    people = People("+56961234567").list()
    assert people.entries("+56987654321") is None
    people.refresh()
    assert people.entries("+56987654321") == ()
    old = People().list(max_age=0.0)
    old.refresh()
    assert old.is_old
    assert old.entries("+56987654321") is None


def test_it_is_read_again_when_it_grows_old_and_not_before() -> None:
    table = People()

    async def twice(max_age: float) -> list[int]:
        people = table.list(max_age=max_age)
        await people.ready()
        await people.ready()
        return [table.reads, len(people.entries("+56961234567") or ())]

    assert asyncio.run(twice(60.0)) == [1, 0]
    table.values.append("+56961234567")
    assert asyncio.run(twice(1e-6))[0] == 3


def test_a_source_that_is_away_is_an_error() -> None:
    table = People()
    table.away = True
    with pytest.raises(VambeDeliveryError, match="is away"):
        asyncio.run(table.list().ready())
