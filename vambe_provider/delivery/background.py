"""Run a coroutine so that a killed task still finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


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
    context = contextvars.copy_context()

    def target() -> None:
        try:
            done.set_result(context.run(asyncio.run, _awaited(main)))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, whatever it is
            done.set_exception(error)

    thread = threading.Thread(target=target, name="vambe-delivery", daemon=True)
    try:
        thread.start()
        return done.result()
    except BaseException:
        # A second signal, such as that of a timeout after a kill, must not tear what the first one lets end.
        while thread.ident is not None and not done.done():
            with contextlib.suppress(BaseException):
                stop()
                done.exception()
        raise


async def _awaited(main: Callable[[], Awaitable[T]]) -> T:
    return await main()
