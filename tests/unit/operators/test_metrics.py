from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tasks import context
from vambe_provider.compat import Stats
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator, VambeOpenTicketOperator

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, connect: Connect, tmp_path: Any) -> Counter[str]:
    """Return what Airflow's metrics were told."""
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    told: Counter[str] = Counter()

    def incr(stat: str, count: int = 1, **_: Any) -> None:
        told[stat] += count

    monkeypatch.setattr(Stats, "incr", incr)
    return told


def test_a_single_ticket_is_counted_by_its_outcome(vambe_sandbox: Sandbox, counted: Counter[str]) -> None:
    for _ in range(3):
        VambeOpenTicketOperator(
            task_id="open", to_phone_number=PHONE, stage="Support / New", ledger_conn_id="ledger"
        ).execute(context())
    assert counted == {"vambe.tickets.opened": 1, "vambe.tickets.already_opened": 2}


def test_a_single_ticket_that_may_not_be_sent_again_is_counted_though_the_task_fails(
    vambe_sandbox: Sandbox, counted: Counter[str]
) -> None:
    task: dict[str, Any] = {"stage": "Support / New", "ledger_conn_id": "ledger", "ticket_key": "order/7"}
    VambeOpenTicketOperator(task_id="open", to_phone_number=PHONE, **task).execute(context())
    with pytest.raises(Exception, match="another person"):
        VambeOpenTicketOperator(task_id="open", to_phone_number="+56961234599", **task).execute(context())
    assert counted == {"vambe.tickets.opened": 1, "vambe.tickets.conflict": 1}


def test_the_rows_of_a_batch_are_counted_also_when_the_task_fails(
    vambe_sandbox: Sandbox, counted: Counter[str]
) -> None:
    rows = [{"id": 1, "phone": PHONE}, {"id": 2, "phone": "+56961234502"}, {"id": 3, "phone": "12"}]
    batch = VambeOpenTicketBatchOperator(
        task_id="open",
        rows=rows,
        key_columns=["id"],
        ticket={"to_phone_number": "{phone}", "stage": "Support / New"},
        ledger_conn_id="ledger",
    )
    with pytest.raises(Exception, match="rejected"):
        batch.execute(context())
    assert counted == {"vambe.tickets.opened": 2, "vambe.tickets.rejected": 1}
