from __future__ import annotations

from dataclasses import replace

from tests.support.delivery import preparer, row
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.model import Outcome, Work
from vambe_provider.delivery.queue import Queue

PREPARE = preparer(ConnectionSettings(api_key="k", phone_id="p"), lambda name: "stage")


def work(number: int, person: int | None = None) -> Work:
    made = PREPARE(row(number))
    assert isinstance(made, Work)
    return replace(made, person=f"person {person or number}")


def keys(works: list[Work]) -> list[str]:
    return [work.key.text for work in works]


def filled(*works: Work) -> Queue:
    queue = Queue()
    for item in works:
        assert queue.add(item) is None
    return queue


def test_first_come_first_served() -> None:
    queue = filled(work(1), work(2), work(3))
    assert keys(queue.take(2, 0.0)) == ["id=1", "id=2"]
    assert keys(queue.take(2, 0.0)) == ["id=3"]
    assert keys(queue.take(2, 0.0)) == []


def test_one_person_at_a_time() -> None:
    first, second, third, other = work(1, 9), work(2, 9), work(3, 9), work(4)
    queue = filled(first, second, third, other)
    assert keys(queue.take(9, 0.0)) == ["id=1", "id=4"]
    assert keys(queue.take(9, 0.0)) == []
    queue.done(first)
    assert keys(queue.take(9, 0.0)) == ["id=2"]
    queue.done(second)
    assert keys(queue.take(9, 0.0)) == ["id=3"]


def test_doubles_are_told_until_the_first_is_done() -> None:
    first = work(1)
    queue = filled(first)
    assert queue.add(first) == Outcome.DUPLICATE
    assert queue.add(replace(first, fingerprint="x")) == Outcome.CONFLICT
    queue.take(1, 0.0)
    assert queue.add(first) == Outcome.DUPLICATE
    assert len(queue) == 1
    queue.done(first)
    assert len(queue) == 0
    assert queue.add(first) is None


def test_what_is_put_back_stands_in_front() -> None:
    queue = filled(work(1), work(2, 9), work(3, 9), work(4))
    queue.put_back(queue.take(3, 0.0)[1:])
    assert keys(queue.take(9, 0.0)) == ["id=2", "id=4"]
    assert len(queue) == 4


def test_what_is_postponed_comes_when_it_is_due_and_lets_others_go_first() -> None:
    first, second, third = work(1, 9), work(2, 9), work(3)
    queue = filled(first, second, third)
    queue.take(1, 0.0)
    assert queue.next_due() is None
    queue.postpone(first, 5.0)
    assert queue.next_due() == 5.0
    assert queue.idle == 2
    assert keys(queue.take(9, 4.9)) == ["id=2", "id=3"]
    queue.done(second)
    assert keys(queue.take(9, 5.0)) == ["id=1"]
    assert queue.next_due() is None


def test_postponed_tickets_of_the_same_moment() -> None:
    works = [work(number) for number in range(1, 4)]
    queue = filled(*works)
    for item in queue.take(9, 0.0):
        queue.postpone(item, 1.0)
    assert sorted(keys(queue.take(9, 1.0))) == ["id=1", "id=2", "id=3"]
