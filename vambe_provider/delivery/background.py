"""Run a coroutine so that a killed task still finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

LISTENS_EVERY = 0.5
"""Seconds after which a waiting main thread looks for signals: one that came just before it began to wait does not wake
it, and would be handled only when everything is over.
"""


def run_to_the_end(main: Callable[[], Awaitable[T]], *, stop: Callable[[], None] = lambda: None) -> T:
    """Run ``main()`` in a thread with an event loop of its own, and wait for its end whatever happens meanwhile.

    Airflow 2 raises in the middle of the main thread when a task is killed, and every Airflow does when
    ``execution_timeout`` is over. A request on its way must not be torn apart by that: it may reach a customer
    without being recorded.

    :param main: what to run.
    :param stop: called when the main thread is interrupted; tells ``main`` to begin nothing new.
    :return: what ``main`` returned.
    """
    done: Future[T] = Future()
    running = threading.Lock()  # and not the future's condition, which an exception at a bad moment leaves locked
    running.acquire()
    context = contextvars.copy_context()

    def target() -> None:
        try:
            with _nothing_old_is_garbage(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
                done.set_result(runner.run(_awaited(main), context=context))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, whatever it is
            done.set_exception(error)
        running.release()

    def wait() -> None:
        while not done.done():
            running.acquire(timeout=LISTENS_EVERY)

    thread = threading.Thread(target=target, name="vambe-delivery", daemon=True)
    try:
        thread.start()
        wait()
        return done.result()
    except BaseException:
        # A second signal, such as that of a timeout after a kill, must not tear what the first one lets end.
        while thread.ident is not None and not done.done():
            with contextlib.suppress(BaseException):
                stop()
                wait()
        raise


async def _awaited(main: Callable[[], Awaitable[T]]) -> T:
    return await main()


@contextlib.contextmanager
def _nothing_old_is_garbage() -> Iterator[None]:
    """Keep the garbage collector from looking through all of Airflow's objects again and again, in which it would find
    nothing and for which every answer would wait.
    """
    if gc.get_freeze_count():  # somebody else's, who will want to thaw it
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop, which Airflow 3 brings along and which takes less CPU, or None for asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
