from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from vambe_provider.delivery.background import run_to_the_end

if TYPE_CHECKING:
    from collections.abc import Iterator


class KilledError(Exception):
    """What a signal handler raises in the main thread."""


@pytest.fixture
def alarm() -> Iterator[None]:
    def raising(*_: object) -> None:
        raise KilledError

    before = signal.signal(signal.SIGUSR1, raising)
    yield
    signal.signal(signal.SIGUSR1, before)


def _interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def test_it_returns_what_main_returns_and_sees_the_context() -> None:
    name = contextvars.ContextVar("name", default="nobody")
    name.set("somebody")

    async def main() -> str:
        assert threading.current_thread() is not threading.main_thread()
        return name.get()

    assert run_to_the_end(main) == "somebody"


def test_it_raises_what_main_raises() -> None:
    async def main() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        run_to_the_end(main)


def test_it_may_be_called_within_an_event_loop() -> None:
    async def main() -> int:
        return 1

    async def outer() -> int:
        return run_to_the_end(main)

    assert asyncio.run(outer()) == 1


@pytest.mark.usefixtures("alarm")
def test_an_interrupted_main_thread_waits_for_the_end() -> None:
    told, done = threading.Event(), []

    async def main() -> None:
        _interrupt()
        await asyncio.to_thread(told.wait, 10)
        done.append(True)

    with pytest.raises(KilledError):
        run_to_the_end(main, stop=told.set)
    assert done == [True]


@pytest.mark.usefixtures("alarm")
def test_a_second_interruption_tears_nothing_either() -> None:
    told, done = threading.Event(), []

    def stop() -> None:
        if not told.is_set():
            told.set()
            _interrupt()

    async def main() -> None:
        _interrupt()
        await asyncio.to_thread(told.wait, 10)
        await asyncio.sleep(0)
        done.append(True)

    with pytest.raises(KilledError):
        run_to_the_end(main, stop=stop)
    assert done == [True]
