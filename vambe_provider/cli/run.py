"""Run one command: quietly, and with every foreseeable failure as one line that names the way out."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    import argparse

DONE, NOTHING, WRONG = 0, 1, 2
"""The exit codes."""


def run(action: str, options: argparse.Namespace) -> int:
    """Run an action.

    :param action: the dotted name of its function.
    :return: the exit code.
    """
    with _quiet():
        try:
            code = _action(action)(options)
            sys.stdout.flush()
        except VambeConfigError as error:
            return _say(error, WRONG)
        except VambeError as error:
            return _say(error, NOTHING)
        except BrokenPipeError:
            # The reader of a pipe has seen enough, as `head` does. Python would complain when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        except KeyboardInterrupt:
            return 130
        return code


def complain(text: str) -> None:
    """Write one line to the standard error."""
    sys.stderr.write(f"{' '.join(text.split())}\n")


def _say(error: VambeError, code: int) -> int:
    # Not `describe()`: what was sent to a customer is no question here.
    parts = (f"{error.message.rstrip('.')}.", error.said and f"Vambe said: {error.said}", error.fix)
    complain(f"error: {' '.join(part for part in parts if part)}")
    return code


def _action(name: str) -> Callable[[argparse.Namespace], int]:
    module, _, function = name.rpartition(".")
    action: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return action


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Airflow's log lines and warnings out of the output; they go to the standard output in some versions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
