"""The commands of ``ledger``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vambe_provider.cli.output import human, machine, print_fields, print_json, print_line, print_table
from vambe_provider.cli.run import DONE, NOTHING, complain
from vambe_provider.delivery.ledger.admin import LedgerAdmin
from vambe_provider.delivery.ledger.admin import create as create_table
from vambe_provider.delivery.ledger.entry import YOUNGEST, Entry, Selection, check_prunable
from vambe_provider.delivery.ledger.schema import TABLE
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    import argparse

    from sqlalchemy.engine import Engine

_NAMES = {"key_text": "key"}
_FIELDS = tuple(_NAMES.get(name, name) for name in Entry.__dataclass_fields__)


def create(options: argparse.Namespace) -> int:
    """Create the ledger's table."""
    with _database(options, must_exist=False) as engine:
        made = create_table(engine)
    print_line(f"The table {TABLE} was created." if made else f"The table {TABLE} was there already.")
    return DONE


def counts(options: argparse.Namespace) -> int:
    """Count the tickets by namespace and state."""
    with _ledger(options) as ledger:
        found = ledger.counts(namespace=options.namespace)
    if options.json:
        print_json([asdict(count) for count in found])
    elif found:
        rows = [(count.namespace, count.state, count.tickets, count.oldest, count.newest) for count in found]
        print_table(("NAMESPACE", "STATE", "TICKETS", "FIRST CHANGE", "LAST CHANGE"), rows)
    return _found(found, "The ledger holds no such ticket.")


def list_entries(options: argparse.Namespace) -> int:
    """List tickets."""
    with _ledger(options) as ledger:
        found = ledger.newest(_selection(options), limit=options.limit + 1)
    shown = found[: options.limit]
    if options.json:
        print_json([_fields(entry) for entry in shown])
    elif shown:
        rows = [
            (
                entry.namespace,
                entry.key_text,
                entry.state,
                entry.attempts,
                entry.updated_at,
                entry.error_kind or entry.evidence,
                entry.ai_contact_id,
            )
            for entry in shown
        ]
        print_table(("NAMESPACE", "KEY", "STATE", "TRIES", "CHANGED", "WHY", "CONTACT"), rows)
    if len(found) > options.limit:
        complain(f"There are more than these {options.limit}: raise --limit, add filters, or use `ledger export`.")
    return _found(shown, "The ledger holds no such ticket.")


def show(options: argparse.Namespace) -> int:
    """Show all that is known about some tickets."""
    with _ledger(options) as ledger:
        found = {key: ledger.find(key, namespace=options.namespace) for key in options.key}
    entries = [entry for matches in found.values() for entry in matches]
    if options.json:
        print_json([_fields(entry) for entry in entries])
    else:
        _print_entries(entries)
    for key in [key for key, matches in found.items() if not matches]:
        complain(f"No ticket has the key {key!r}. Look for it with `ledger list`.")
    return DONE if all(found.values()) else NOTHING


def resolve(options: argparse.Namespace) -> int:
    """Record what a person found out."""
    if options.sent == options.not_sent:
        raise VambeConfigError("Give either --sent or --not-sent")
    if options.contact and (options.not_sent or len(options.key) > 1):
        raise VambeConfigError("--contact belongs to --sent and a single KEY")
    with _ledger(options) as ledger:
        entries = ledger.resolve(
            options.key,
            sent=options.sent,
            namespace=options.namespace,
            ai_contact_id=options.contact,
            force=options.force,
        )
    text = "is opened now and is never sent again" if options.sent else "counts as not sent; the next run sends it"
    _report(options, entries, text)
    return DONE


def retry(options: argparse.Namespace) -> int:
    """Have rejected tickets tried again."""
    if options.all == bool(options.key):
        raise VambeConfigError("Give either one KEY or more, or --all with --namespace")
    if options.all and not options.namespace:
        raise VambeConfigError("--all needs --namespace", fix="`ledger counts` shows the namespaces.")
    with _ledger(options) as ledger:
        if options.key:
            _report(options, ledger.retry(options.key, namespace=options.namespace), "is tried again by the next run")
            return DONE
        changed = ledger.retry_all(options.namespace)
    if options.json:
        print_json({"namespace": options.namespace, "tickets": changed})
    else:
        print_line(f"{_tickets(changed)} of {options.namespace}: the next run tries them again.")
    return DONE


def prune(options: argparse.Namespace) -> int:
    """Forget old tickets."""
    state = State(options.state)
    check_prunable(state)
    selection = Selection(namespace=options.namespace, states=[state], older_than=options.older_than)
    with _ledger(options) as ledger:
        if options.older_than < YOUNGEST and not (options.force or options.dry_run):
            raise VambeConfigError(
                f"--older-than is less than {YOUNGEST.days} days: {_tickets(ledger.count(selection))} in the state "
                f"{state} would be forgotten, and sent again when a query still returns them",
                fix="Choose a greater age, or add --force.",
            )
        if options.dry_run:
            number = ledger.count(selection)
        else:
            number = ledger.prune(state=state, older_than=options.older_than, namespace=options.namespace)
    if options.json:
        print_json({"state": options.state, "tickets": number, "pruned": not options.dry_run})
    else:
        was = "would be" if options.dry_run else "was" if number == 1 else "were"
        print_line(f"{_tickets(number)} in the state {state} {was} forgotten.")
    return DONE


def export(options: argparse.Namespace) -> int:
    """Write tickets as CSV or JSON."""
    write = _write_json if options.format == "json" else _write_csv
    with _ledger(options) as ledger:
        entries = ledger.every(_selection(options))
        if options.output is None:
            written = write(sys.stdout, entries)
        else:
            written = _to_file(Path(options.output), write, entries)
            complain(f"{_tickets(written)} written to {options.output}.")
    return DONE if written else NOTHING


def _to_file(path: Path, write: Callable[[IO[str], Iterator[Entry]], int], entries: Iterator[Entry]) -> int:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            return write(file, entries)
    except OSError as error:
        raise VambeConfigError(f"--output: cannot write {path}: {error.strerror}") from None


def _write_csv(file: IO[str], entries: Iterator[Entry]) -> int:
    writer = csv.DictWriter(file, _FIELDS, lineterminator="\n")
    writer.writeheader()
    number = 0
    for entry in entries:
        writer.writerow({name: machine(value) for name, value in _fields(entry).items()})
        number += 1
    return number


def _write_json(file: IO[str], entries: Iterator[Entry]) -> int:
    number = 0
    for number, entry in enumerate(entries, 1):
        file.write(f"{'[' if number == 1 else ','}\n{json.dumps(_fields(entry), ensure_ascii=False, default=machine)}")
    file.write("\n]\n" if number else "[]\n")
    return number


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(
        namespace=options.namespace,
        states=[State(state) for state in options.state or ()],
        run=options.run,
        older_than=options.older_than,
        newer_than=options.newer_than,
    )


def _fields(entry: Entry) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in asdict(entry).items()}


def _print_entries(entries: Sequence[Entry]) -> None:
    for number, entry in enumerate(entries):
        if number:
            print_line("")
        print_fields({name: value for name, value in _fields(entry).items() if value is not None})


def _report(options: argparse.Namespace, entries: Sequence[Entry], text: str) -> None:
    if options.json:
        print_json([_fields(entry) for entry in entries])
        return
    for entry in entries:
        print_line(f"{human(entry.key_text)} in {entry.namespace} {text}.")


def _found(found: Sequence[object], otherwise: str) -> int:
    if not found:
        complain(otherwise)
    return DONE if found else NOTHING


def _tickets(number: int) -> str:
    return f"{number:,} ticket{'' if number == 1 else 's'}"


@contextmanager
def _ledger(options: argparse.Namespace) -> Iterator[LedgerAdmin]:
    with _database(options, must_exist=True) as engine:
        yield LedgerAdmin(engine)


@contextmanager
def _database(options: argparse.Namespace, *, must_exist: bool) -> Iterator[Engine]:
    """Give the engine of the ledger's database, and close it afterwards."""
    if bool(options.conn_id) == bool(options.url):
        raise VambeConfigError(
            "Say where the ledger is with either --conn-id or --url",
            fix="Tasks use `ledger_conn_id`, which for SqlToVambeTicketsOperator is its `sql_conn_id` by default.",
        )
    if options.conn_id:
        from vambe_provider.cli.connections import ledger_engine_of

        engine = ledger_engine_of(options.conn_id)
    else:
        engine = _engine_at(options.url, must_exist=must_exist)
    try:
        yield engine
    finally:
        engine.dispose()


def _engine_at(text: str, *, must_exist: bool) -> Engine:
    """Return the engine of a SQLAlchemy URL; an error never shows the URL, which may hold a password."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    example = "Write it as postgresql+psycopg2://user@host/database, mysql+pymysql://… or sqlite:////path/to/file."
    try:
        url = make_url(text)
        engine = create_engine(url, hide_parameters=True)
    except (ArgumentError, ValueError):
        raise VambeConfigError("--url: this is no SQLAlchemy URL of a known kind", fix=example) from None
    except ImportError as error:
        raise VambeConfigError(
            f"--url: the database driver {error.name} is not installed", fix="Install it, or name another in the URL."
        ) from None
    file = url.database if url.get_backend_name() == "sqlite" else None
    if must_exist and file and file != ":memory:" and not file.startswith("file:") and not Path(file).exists():
        raise VambeLedgerError(f"--url: there is no file {file}", fix="Tasks or `ledger create` make it.")
    return engine
