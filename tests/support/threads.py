"""Functions in threads, for tests in which two things happen at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Background:
    """A function in a thread; its result or its error comes out of :meth:`result`."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._outcome.append(function())
        except BaseException as error:
            self._error = error

    def wait(self, seconds: float) -> None:
        """Wait so long at most until it is done."""
        self._thread.join(seconds)

    def result(self, timeout: float = 60.0) -> Any:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the thread did not come to its end")
        if self._error is not None:
            raise self._error
        return self._outcome[0]
