"""How a failure of the provider reaches Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vambe_provider.compat import AirflowFailException
from vambe_provider.exceptions import VambeError


@contextmanager
def permanent_errors_fail() -> Iterator[None]:
    """Turn errors that a task retry cannot cure into one that Airflow does not retry; others pass."""
    try:
        yield
    except VambeError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise
