from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from vambe_provider.compat import AIRFLOW_V_3_3_PLUS, DAG
from vambe_provider.exceptions import VambeAuthError, VambeConfigError, VambeMaybeSentError, VambeRateLimitError
from vambe_provider.operators.retry_policy import VambeRetryPolicy
from vambe_provider.operators.vambe import VambeOpenTicketOperator


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="older Airflow only")
def test_an_older_airflow_is_named_as_the_reason() -> None:
    with pytest.raises(VambeConfigError, match=r"needs Airflow 3\.3.*Set retries"):
        VambeRetryPolicy()


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow has retry policies from 3.3 on")
class TestDecisions:
    @pytest.mark.parametrize(
        ("error", "action", "delay"),
        [
            (VambeAuthError("401"), "fail", None),
            (VambeConfigError("no stage"), "fail", None),
            (VambeMaybeSentError("timeout"), "fail", None),
            (VambeRateLimitError("429", retry_after=7), "retry", timedelta(seconds=7)),
            (VambeRateLimitError("429", retry_after=1e9), "retry", timedelta(hours=1)),
            (VambeRateLimitError("429"), "default", None),
            (ValueError("of somebody else"), "default", None),
        ],
    )
    def test_a_task_of_ones_own(self, error: Exception, action: str, delay: timedelta | None) -> None:
        decision = VambeRetryPolicy().evaluate(error, 1, 3, None)
        assert (decision.action.value, decision.retry_delay) == (action, delay)

    def test_an_operator_that_looks_first_may_be_retried_after_a_lost_reply(self) -> None:
        context: Any = {"task": VambeOpenTicketOperator(task_id="open")}
        assert VambeRetryPolicy().evaluate(VambeMaybeSentError("timeout"), 1, 3, context).action.value == "default"

    @pytest.mark.dags
    def test_a_real_task_with_a_wrong_key_is_not_retried(self, run_dag_test: Any) -> None:
        from airflow.sdk import task

        tries = []
        with DAG("retry_policy", schedule=None) as dag:

            @task(retries=3, retry_delay=timedelta(0), retry_policy=VambeRetryPolicy())
            def read() -> None:
                tries.append(1)
                raise VambeAuthError("401")

            read()
        assert run_dag_test(dag).tasks == {"read": "failed"}
        assert len(tries) == 1
