"""Which memory a task has: a database, the task state store of Airflow, or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import task_state_store
from vambe_provider.operators.arguments import persons

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger import Ledger


@contextmanager
def ledger_for(conn_id: str | None, context: Mapping[str, Any]) -> Iterator[Ledger]:
    """Open the best memory there is for one ticket.

    :param conn_id: a database connection: it remembers for ever and between tasks. Without one, the task state store of
        Airflow 3.3 and newer remembers for this task instance; without that, or when it is empty on a later try or
        after the task was cleared, the task looks in Vambe for what an earlier try did.
    :param context: the context of the task.
    """
    from vambe_provider.delivery.ledger.single import NoLedger, StateStoreLedger

    if conn_id is not None:
        with sql_ledger(conn_id) as ledger:
            yield ledger
        return
    store = task_state_store(context)
    began = getattr(context.get("dag_run"), "start_date", None)
    since = began.timestamp() if began else time.time()
    later_try = (getattr(context.get("ti"), "try_number", 1) or 1) > 1
    if store is not None:
        yield StateStoreLedger(store, later_try=later_try, since=since)
    else:
        yield NoLedger(later_try=later_try, since=since)


@contextmanager
def sql_ledger(conn_id: str) -> Iterator[Ledger]:
    """Open the ledger behind a database connection; the tables are made when they are missing.

    :raises VambeConfigError: when the connection cannot hold a ledger.
    :raises VambeLedgerError: when its database cannot be used.
    """
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.hooks.sql import ledger_engine

    ledger = SqlLedger(ledger_engine(conn_id), persons(), conn_id=conn_id)
    try:
        yield ledger
    finally:
        ledger.close()
