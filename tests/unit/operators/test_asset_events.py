from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.airflow_db import AIRFLOW
from tests.unit.tasks import context
from vambe_provider.compat import DAG, Asset
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator, VambeOpenTicketOperator

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

no_assets = pytest.mark.skipif(AIRFLOW < (3, 0), reason="dag.test() of Airflow 2 registers no datasets")
PHONES = ["+56961234567", "+56961234502"]


@pytest.fixture(autouse=True)
def _connections(connect: Connect, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", sqlite_url)


def batch(**arguments: Any) -> VambeOpenTicketBatchOperator:
    return VambeOpenTicketBatchOperator(
        task_id="open",
        rows=[{"id": number, "phone": phone} for number, phone in enumerate(PHONES)],
        key_columns=["id"],
        ticket={"to_phone_number": "{phone}", "stage": "Support / New"},
        ledger_conn_id="ledger",
        **arguments,
    )


def stored_extra(uri: str) -> dict[str, Any]:
    """Return the extra of the last event of an asset, as Airflow stored it."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        events = session.query(AssetEvent).join(AssetModel, AssetEvent.asset_id == AssetModel.id)
        events = events.filter(AssetModel.uri == uri)
        last = events.order_by(AssetEvent.id.desc()).first()
        assert last is not None
        return dict(last.extra)


@no_assets
def test_the_event_of_an_asset_has_the_counts_of_a_batch(vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    with DAG("asset_of_a_batch", schedule=None) as dag:
        batch(outlets=[Asset("vambe://tickets/late")])
    assert run_dag_test(dag).tasks == {"open": "success"}
    assert stored_extra("vambe://tickets/late")["vambe_tickets"] == {"opened": 2}


@no_assets
def test_the_event_of_an_asset_has_the_outcome_of_a_single_ticket(vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    with DAG("asset_of_one", schedule=None) as dag:
        VambeOpenTicketOperator(
            task_id="open",
            to_phone_number=PHONES[0],
            stage="Support / New",
            ledger_conn_id="ledger",
            outlets=[Asset("vambe://tickets/one")],
        )
    assert run_dag_test(dag).tasks == {"open": "success"}
    assert stored_extra("vambe://tickets/one")["vambe_tickets"] == {"opened": 1}


def test_what_is_in_the_extra_already_stays_and_other_outlets_are_left_alone(vambe_sandbox: Sandbox) -> None:
    asset, other = Asset("vambe://tickets/late"), object()
    events = {asset: SimpleNamespace(extra={"of": "the user"})}
    batch(outlets=[asset, other]).execute(context(outlet_events=events))
    assert events[asset].extra == {"of": "the user", "vambe_tickets": {"opened": 2}}
