"""What OpenLineage is told of a batch. Only OpenLineage's own provider leads here, so what it needs is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.sqlparser import SQLParser
from attrs import define
from openlineage.client.event_v2 import Dataset, OutputDataset
from openlineage.client.facet_v2 import RunFacet, output_statistics_output_dataset

from vambe_provider.hooks.sql import database_hook

SCHEMA = "https://github.com/airflow-provider-vambe/airflow-provider-vambe/blob/main/docs/lineage.md"
log = logging.getLogger(__name__)


@define
class TicketsRunFacet(RunFacet):
    """What became of the rows of a run.

    :param counts: rows by outcome.
    """

    counts: dict[str, int]

    @staticmethod
    def _get_schema() -> str:
        return SCHEMA


def lineage_of(
    *, account: str, sender: str, counts: Mapping[str, int], query: tuple[str, str] | None
) -> OperatorLineage[Any, Any]:
    """Return what a batch read and wrote. The text of a query may quote a person, so it is not told.

    :param account: whose tickets these are.
    :param sender: the sender in that account.
    :param counts: rows by outcome.
    :param query: its connection and its text; None when the rows came from elsewhere.
    """
    opened = counts.get("opened", 0) + counts.get("reconciled", 0)
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=opened)
    output = OutputDataset(namespace=f"vambe://{account}", name=sender, outputFacets={"outputStatistics": statistics})
    return OperatorLineage(
        inputs=_tables(*query) if query else [],
        outputs=[output],
        run_facets={"vambe_tickets": TicketsRunFacet(counts=dict(counts))},
    )


def _tables(conn_id: str, sql: str) -> list[Dataset]:
    """Return the tables that a query reads; none when its database or its text is not understood."""
    try:
        hook = database_hook(conn_id, argument="sql_conn_id")
        connection = hook.get_connection(conn_id)
        info = hook.get_openlineage_database_info(connection)
        if info is None:
            return []
        parser = SQLParser(
            dialect=hook.get_openlineage_database_dialect(connection),
            default_schema=hook.get_openlineage_default_schema(),
        )
        found = parser.parse(parser.split_sql_string(sql))
        if found is None:
            return []
        tables, _ = parser.get_metadata_from_parser(
            inputs=found.in_tables, outputs=[], database_info=info, namespace=parser.create_namespace(info)
        )
    except Exception as error:  # noqa: BLE001 - the task is done, and its counts are worth telling all the same
        log.info("OpenLineage is not told which tables were read: %s", type(error).__name__)
        return []
    return tables
