"""One rate for one sender, however many workers it has; over a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from tests.support.delivery import Background, Deliveries, rows
from vambe_provider.api.rate import Rate, parse_rate
from vambe_provider.delivery.pace.rate import make_pacer
from vambe_provider.delivery.pace.shared import SharedPacer, windows
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeError

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

SENDER = "api.vambe.me/qr-main"


def pacer(store: str, rate: str = "3/hour", *, sender: str = SENDER, burst: bool = True) -> SharedPacer:
    return SharedPacer(parse_rate(rate), store=store, sender=sender, burst=burst)


def permits(one: SharedPacer, wanted: int) -> int:
    return asyncio.run(one.permits(wanted))


class TestRate:
    def test_two_workers_get_the_tickets_of_one(self, redis_url: str) -> None:
        first, second = pacer(redis_url), pacer(redis_url)
        assert [permits(first, 2), permits(second, 5), permits(first, 1)] == [2, 1, 0]
        # The next one is due an hour after the first of these.
        assert 3500 < second.wait() <= 3600
        assert 3500 < first.wait() <= 3600

    def test_a_worker_that_comes_later_knows_what_was_sent(self, redis_url: str) -> None:
        assert permits(pacer(redis_url), 9) == 3
        assert permits(pacer(redis_url), 9) == 0

    def test_another_sender_has_a_rate_of_its_own(self, redis_url: str) -> None:
        assert permits(pacer(redis_url), 9) == 3
        assert permits(pacer(redis_url, sender="api.vambe.me/qr-second"), 9) == 3

    def test_a_slow_rate_is_spread(self, redis_url: str) -> None:
        one, other = (pacer(redis_url, "7/hour", burst=False) for _ in range(2))
        assert permits(one, 7) + permits(other, 7) == 1
        assert 500 < one.wait() <= 3600 / 7
        assert 500 < other.wait() <= 3600 / 7

    def test_without_a_rate_only_pauses_are_shared(self, redis_url: str) -> None:
        one, other = (make_pacer(None, store=redis_url, sender=SENDER) for _ in range(2))
        assert asyncio.run(one.permits(500)) == 500
        asyncio.run(one.pause(100))
        assert asyncio.run(other.permits(500)) == 0

    def test_two_processes_together_never_exceed_it(self, redis_url: str) -> None:
        count, rounds = 4, 3
        script = f"""
import asyncio, json, time
from vambe_provider.api.rate import parse_rate
from vambe_provider.delivery.pace.shared import SharedPacer

async def main():
    pacer = SharedPacer(parse_rate("{count}/second"), store={redis_url!r}, sender="both")
    print("ready", flush=True)
    input()
    taken = []
    while len(taken) < {count * rounds}:
        before = time.time()
        granted = await pacer.permits(3)
        taken += [(before, time.time())] * granted
        await asyncio.sleep(pacer.wait())
    print(json.dumps(taken))

asyncio.run(main())
"""
        workers = [
            subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        taken = sorted(item for worker in workers for item in json.loads(worker.communicate(timeout=60)[0]))
        assert len(taken) >= 2 * count * rounds
        # However slow this machine is: of any five permits, the last was given more than a second after the first was
        # asked for.
        for (asked, _), (_, answered) in zip(taken, taken[count:], strict=False):
            assert answered - asked > 1


class TestPause:
    def test_it_holds_for_every_worker_and_for_those_that_come_later(self, redis_url: str) -> None:
        first, second = pacer(redis_url, "100/second"), pacer(redis_url, "100/second")
        asyncio.run(first.pause(100))
        for worker in (first, second, pacer(redis_url, "100/second")):
            assert permits(worker, 1) == 0
            assert 90 < worker.wait() <= 100

    @pytest.mark.parametrize("order", [(100, 300), (300, 100)])
    def test_the_longest_one_counts(self, redis_url: str, order: tuple[float, float]) -> None:
        for seconds in order:
            asyncio.run(pacer(redis_url).pause(seconds))
        worker = pacer(redis_url)
        assert permits(worker, 1) == 0
        assert 290 < worker.wait() <= 300

    def test_it_ends(self, redis_url: str) -> None:
        one, other = pacer(redis_url, "100/second"), pacer(redis_url, "100/second")
        asyncio.run(one.pause(0.2))

        wait_for(lambda: permits(other, 1) == 1)
        assert redis.Redis.from_url(redis_url).exists(f"vambe/pause/{SENDER}") == 0

    def test_none_is_no_pause(self, redis_url: str) -> None:
        one = pacer(redis_url)
        asyncio.run(one.pause(0))
        assert permits(one, 1) == 1

    def test_a_429_makes_the_other_runs_of_the_sender_rest(
        self, vambe_sandbox: Sandbox, redis_url: str, sqlite_url: str
    ) -> None:
        deliveries = Deliveries(vambe_sandbox, sqlite_url)
        shared = replace(deliveries.settings, rate_store=redis_url)
        vambe_sandbox.fault(kind="rate_limit", retry_after=1000)
        stop = threading.Event()
        run = Background(lambda: deliveries.many(rows(3), settings=shared, max_concurrency=1, stop=stop))
        other = SharedPacer(None, store=redis_url, sender=f"{shared.host}/qr-main")
        wait_for(lambda: permits(other, 1) == 0)
        assert 900 < other.wait() <= 1000
        stop.set()
        assert run.result().stopped
        assert deliveries.tickets() == {}


class TestStore:
    def test_one_that_goes_away_stops_the_run_before_anything_is_posted_unpaced(
        self, vambe_sandbox: Sandbox, redis_url: str, sqlite_url: str
    ) -> None:
        deliveries = Deliveries(vambe_sandbox, sqlite_url)
        with link_to(redis_url) as link:
            shared = replace(deliveries.settings, rate_store=link.url)

            def cut(_: Any) -> bool:
                link.cut()
                return False

            # No request is struck; the rule only sees the first one arrive.
            vambe_sandbox.fault(kind="status", status=500, phone=cut)
            with pytest.raises(
                VambeDeliveryError, match=r"the store could not be asked .* no ticket is sent"
            ) as caught:
                deliveries.many(rows(40), settings=shared, rate=Rate(count=4, seconds=1), max_concurrency=2)
        assert not caught.value.permanent
        assert 1 <= deliveries.posts() <= 4
        assert set(deliveries.states().values()) <= {"opened", "failed"}
        vambe_sandbox.clear_faults()
        deliveries.many(rows(40))
        assert deliveries.tickets() == {str(number): 1 for number in range(1, 41)}

    def test_what_was_answered_with_429_is_recorded_although_the_store_is_gone(
        self, vambe_sandbox: Sandbox, redis_url: str, sqlite_url: str
    ) -> None:
        deliveries = Deliveries(vambe_sandbox, sqlite_url)
        with link_to(redis_url) as link:
            shared = replace(deliveries.settings, rate_store=link.url)

            def cut(_: Any) -> bool:
                link.cut()
                return True

            vambe_sandbox.fault(kind="rate_limit", retry_after=7, phone=cut)
            with pytest.raises(VambeDeliveryError, match="the store could not be"):
                deliveries.many(rows(1), settings=shared)
        assert list(deliveries.states().values()) == ["failed"]

    def test_one_that_is_down_at_the_start_is_worth_a_retry(self, redis_url: str) -> None:
        with link_to(redis_url) as link:
            link.cut()
            with pytest.raises(VambeDeliveryError, match="rate_store: the store could not be opened") as caught:
                pacer(link.url)
        assert not caught.value.permanent

    @pytest.mark.parametrize(
        "address",
        [
            "memory://:hidden@",
            "memcached://me:hidden@127.0.0.1",
            "redis://me:hidden@127.0.0.1:port/0",
            "me:hidden@127.0.0.1",
            "redis+nothing://me:hidden@127.0.0.1",
        ],
    )
    def test_anything_but_a_redis_is_refused_without_showing_it(self, address: str) -> None:
        with pytest.raises(VambeConfigError, match="rate_store: is not the address of a Redis") as caught:
            pacer(address)
        assert "hidden" not in told(caught.value)

    def test_a_wrong_password_is_the_connections_fault_and_never_shown(self, redis_url: str) -> None:
        url = make_url(redis_url).set(username="nobody", password="hidden").render_as_string(hide_password=False)
        with pytest.raises(VambeConfigError, match="rate_store: the store refused its user or password") as caught:
            pacer(url)
        assert "hidden" not in told(caught.value)

    def test_nor_is_it_when_nothing_listens(self) -> None:
        address = make_url("redis://me@127.0.0.1:1/0").set(password="hidden").render_as_string(hide_password=False)
        with pytest.raises(VambeDeliveryError) as caught:
            pacer(address)
        assert "hidden" not in told(caught.value)


class TestWindows:
    @pytest.mark.parametrize(
        ("rate", "expected"),
        [
            ("10/minute", [(1, 6)]),
            ("50/minute", [(1, 1), (5, 6)]),
            ("7/minute", [(1, 8), (7, 60)]),
            ("5/second", [(5, 1)]),
            ("90/minute", [(3, 2)]),
            ("1/6 seconds", [(1, 6)]),
        ],
    )
    def test_they_are_as_short_as_whole_seconds_allow(self, rate: str, expected: list[tuple[int, int]]) -> None:
        parsed = parse_rate(rate)
        assert parsed
        assert windows(parsed) == expected

    @given(st.integers(1, 5000), st.integers(1, 86400), st.booleans())
    def test_they_never_allow_more_than_the_rate_and_in_the_long_run_not_less(
        self, count: int, seconds: int, burst: bool
    ) -> None:
        limits = windows(Rate(count=count, seconds=seconds), burst=burst)
        assert min(tickets / period for tickets, period in limits) == pytest.approx(count / seconds)
        for tickets, period in limits:
            assert period >= 1
            assert tickets >= 1
        # A period's worth of the narrowest window fits into the rate's own period a whole number of times.
        tickets, period = limits[-1]
        assert (seconds % period, count % tickets) == (0, 0)


def wait_for(seen: Any, *, patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not seen():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


def told(error: VambeError) -> str:
    """Return all that a log would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


class Link:
    """A way to a server that can be cut."""

    def __init__(self, target: str) -> None:
        parts = make_url(target)
        self._target = (parts.host or "127.0.0.1", parts.port or 6379)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._open = True
        port = self._door.getsockname()[1]
        self.url = parts.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    def cut(self) -> None:
        """Let nothing through any more."""
        self._open = False
        for end in [self._door, *self._ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@contextmanager
def link_to(target: str) -> Iterator[Link]:
    link = Link(target)
    try:
        yield link
    finally:
        link.cut()
