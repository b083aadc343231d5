"""When a task that talks to Vambe is worth a retry; for Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from vambe_provider.compat import AIRFLOW_V_3_3_PLUS, RetryPolicy
from vambe_provider.exceptions import VambeConfigError, VambeError, VambeMaybeSentError

if TYPE_CHECKING:
    from airflow.sdk import RetryDecision

    from vambe_provider.compat import Context

LONGEST = 3600.0
"""Seconds of a wait that Vambe asks for which are believed."""


class VambeRetryPolicy(RetryPolicy):
    """Retry what a retry can cure, when Vambe wants it, and fail at once where it cannot or could send twice.

    Give it as ``retry_policy`` to a task of your own that uses ``VambeHook``. An error that a retry cannot cure fails
    the task: a wrong key, wrong data, a refusal. So does a request that may or may not have taken effect, unless
    the task is an operator of this provider, which looks first on a retry. After a 429 the task is retried when Vambe
    said that it may be, an hour later at most. Everything else is left to the task's ``retries`` and ``retry_delay``,
    and nothing is retried more often than ``retries``.

    :raises VambeConfigError: before Airflow 3.3, which has no retry policies.
    """

    def __init__(self) -> None:
        if not AIRFLOW_V_3_3_PLUS:
            raise VambeConfigError(
                "VambeRetryPolicy needs Airflow 3.3 or newer", fix="Set retries and retry_delay on the task instead."
            )

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Say what to do after a failure; Airflow calls this in the worker.

        :param try_number: of no interest.
        :param max_tries: of no interest.
        :param context: says which task it is; without it the task is not taken for one of this provider.
        """
        from airflow.sdk import RetryDecision

        kind = type(exception).__name__
        if not isinstance(exception, VambeError):
            return RetryDecision.default()
        if exception.permanent:
            return RetryDecision.fail(reason=f"{kind}: a retry could not change it")
        if isinstance(exception, VambeMaybeSentError) and not _looks_first(context):
            return RetryDecision.fail(reason=f"{kind}: it may have taken effect, and a retry would repeat it")
        if exception.retry_after is not None:
            delay = timedelta(seconds=min(max(exception.retry_after, 0.0), LONGEST))
            return RetryDecision.retry(delay=delay, reason=f"{kind}: Vambe asked to wait")
        return RetryDecision.default()


def _looks_first(context: Context | None) -> bool:
    """Return whether the task is an operator of this provider, or one that was derived from it."""
    task = (context or {}).get("task")
    return any(kind.__module__.startswith("vambe_provider.") for kind in type(task).__mro__)
