from __future__ import annotations

from dataclasses import replace

from tests.support.delivery import made_of, preparer, row
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.batch.line import MOST_OF_ONE_PERSON, Line
from vambe_provider.delivery.model import Outcome, Work

PREPARE = preparer(ConnectionSettings(api_key="k", phone_id="p"), lambda name: "stage")


def work(number: int, person: int | None = None) -> Work:
    made = made_of(PREPARE, row(number))
    assert isinstance(made, Work)
    return replace(made, person=f"person {person or number}")


def keys(works: list[Work]) -> list[str]:
    return [work.key.text for work in works]


def filled(*works: Work) -> Line:
    line = Line()
    for item in works:
        assert line.add(item) is None
    return line


def test_first_come_first_served() -> None:
    line = filled(work(1), work(2), work(3))
    assert keys(line.take(2, 0.0)) == ["id=1", "id=2"]
    assert keys(line.take(2, 0.0)) == ["id=3"]
    assert keys(line.take(2, 0.0)) == []


def test_one_person_at_a_time() -> None:
    first, second, third, other = work(1, 9), work(2, 9), work(3, 9), work(4)
    line = filled(first, second, third, other)
    assert keys(line.take(9, 0.0)) == ["id=1", "id=4"]
    assert keys(line.take(9, 0.0)) == []
    line.done(first)
    assert keys(line.take(9, 0.0)) == ["id=2"]
    line.done(second)
    assert keys(line.take(9, 0.0)) == ["id=3"]


def test_doubles_are_told_until_the_first_is_done() -> None:
    first = work(1)
    line = filled(first)
    assert line.add(first) == Outcome.DUPLICATE
    assert line.add(replace(first, fingerprint="x")) == Outcome.CONFLICT
    line.take(1, 0.0)
    assert line.add(first) == Outcome.DUPLICATE
    assert len(line) == 1
    line.done(first)
    assert len(line) == 0
    assert line.add(first) is None


def test_what_is_put_back_stands_in_front() -> None:
    line = filled(work(1), work(2, 9), work(3, 9), work(4))
    line.put_back(line.take(3, 0.0)[1:])
    assert keys(line.take(9, 0.0)) == ["id=2", "id=4"]
    assert len(line) == 4


def test_what_is_postponed_comes_when_it_is_due_and_lets_others_go_first() -> None:
    first, second, third = work(1, 9), work(2, 9), work(3)
    line = filled(first, second, third)
    line.take(1, 0.0)
    assert line.next_due() is None
    line.postpone(first, 5.0)
    assert line.next_due() == 5.0
    assert line.idle == 2
    assert keys(line.take(9, 4.9)) == ["id=2", "id=3"]
    line.done(second)
    assert keys(line.take(9, 5.0)) == ["id=1"]
    assert line.next_due() is None


def test_postponed_tickets_of_the_same_moment() -> None:
    works = [work(number) for number in range(1, 4)]
    line = filled(*works)
    for item in line.take(9, 0.0):
        line.postpone(item, 1.0)
    assert sorted(keys(line.take(9, 1.0))) == ["id=1", "id=2", "id=3"]


def test_tickets_of_one_person_do_not_fill_the_line() -> None:
    line = filled(*(work(number, 9) for number in range(1, MOST_OF_ONE_PERSON + 2)))
    line.take(9, 0.0)
    line.take(9, 0.0)
    assert line.add(work(500, 9)) == Outcome.FAILED
    assert line.add(work(501, 8)) is None


def test_the_line_knows_how_many_bytes_wait_in_it() -> None:
    first, second = replace(work(1), size=1000), replace(work(2), size=500)
    line = filled(first, second)
    assert line.size == 1500
    line.take(1, 0.0)
    line.done(first)
    line.done(first)
    assert line.size == 500
