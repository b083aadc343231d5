"""The command ``ledger seed``: the backlog of the first day, or of an earlier ledger, is recorded as done."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from vambe_provider.cli.databases import database_of
from vambe_provider.cli.ledger import tickets
from vambe_provider.cli.output import print_line, print_value
from vambe_provider.cli.run import DONE, complain
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    import argparse

    from sqlalchemy.engine import Engine

_AT_ONCE = 1000


def seed(options: argparse.Namespace) -> int:
    """Record tickets as done, and send nothing."""
    from vambe_provider.cli.connections import persons
    from vambe_provider.delivery.key import check_namespace, ticket_key
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.model import Origin
    from vambe_provider.delivery.options import DeliveryOptions

    columns = _columns(options)
    namespace = check_namespace(options.namespace)
    secret = persons()
    given = DeliveryOptions(origin=Origin(options.dag or "", "", "seed"), account=options.account)
    seen = recorded = 0
    with database_of(options, must_exist=False) as engine:
        ledger = SqlLedger(engine, secret, conn_id=options.conn_id)
        with _rows(options, engine) as rows:
            keys = (ticket_key(namespace, _key(row, columns), secret=secret.secret) for row in rows)
            while some := list(islice(keys, _AT_ONCE)):
                seen, recorded = seen + len(some), recorded + ledger.seed(some, given)
    if options.output != "table":
        print_value({"rows": seen, "seeded": recorded}, options.output)
    else:
        print_line(f"{tickets(recorded)} of {seen:,} rows recorded as done in {namespace} of {options.account}.")
    if seen > recorded:
        complain("The others were known before, or stood there twice.")
    return DONE


def _columns(options: argparse.Namespace) -> list[str]:
    columns = [name.strip() for name in options.key_columns.split(",")]
    if not all(columns):
        raise VambeConfigError("--key-columns: has an empty name", fix="Write it as id or region,id.")
    if bool(options.sql) == bool(options.file):
        raise VambeConfigError("Give the rows with either --sql or --file")
    if not options.account.strip():
        raise VambeConfigError("--account: is given but empty", fix="It is the host of the Vambe connection.")
    return columns


def _key(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    missing = [name for name in columns if name not in row]
    if missing:
        raise VambeConfigError(
            f"--key-columns: there is no column {missing[0]}", fix=f"The rows have: {', '.join(map(str, row))}."
        )
    return {name: row[name] for name in columns}


@contextmanager
def _rows(options: argparse.Namespace, engine: Engine) -> Iterator[Iterable[Mapping[str, Any]]]:
    if options.sql:
        with engine.connect() as connection:
            reading = connection.execution_options(no_parameters=True, stream_results=True)
            try:
                found = reading.exec_driver_sql(options.sql)
            except SQLAlchemyError as error:
                what = type(getattr(error, "orig", None) or error).__name__
                raise VambeConfigError(f"--sql: the database refused the query with {what}") from None
            yield (dict(row._mapping) for row in found)
    elif options.file == "-":
        yield csv.DictReader(sys.stdin)
    else:
        try:
            with Path(options.file).open(encoding="utf-8-sig", newline="") as file:
                yield csv.DictReader(file)
        except OSError as error:
            raise VambeConfigError(f"--file: cannot read {options.file}: {error.strerror}") from None
