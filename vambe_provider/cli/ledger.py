"""The commands of ``ledger`` that look into it, decide and forget."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vambe_provider.cli.databases import admin_of, database_of
from vambe_provider.cli.output import human, print_fields, print_line, print_table, print_value
from vambe_provider.cli.run import DONE, NOTHING, complain
from vambe_provider.delivery.ledger.admin import create as create_tables
from vambe_provider.delivery.ledger.admin import exists
from vambe_provider.delivery.ledger.decisions import check_prunable
from vambe_provider.delivery.ledger.entry import YOUNGEST, Entry, Selection, Step
from vambe_provider.delivery.ledger.tables import metadata
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    import argparse

_NAMES = {"key_text": "key"}
FIELDS = tuple(_NAMES.get(name, name) for name in Entry.__dataclass_fields__)
"""The names of a ticket's fields, as commands print them."""
_TABLE = "table"


def create(options: argparse.Namespace) -> int:
    """Create the ledger's tables."""
    with database_of(options, must_exist=False) as engine:
        made = create_tables(engine, options.conn_id)
    names = ", ".join(sorted(metadata.tables))
    print_line(f"The tables {names} were created." if made else f"The tables {names} were there already.")
    return DONE


def upgrade(options: argparse.Namespace) -> int:
    """Bring the ledger's tables to the version that this provider needs."""
    from vambe_provider.delivery.ledger.database import Database
    from vambe_provider.delivery.ledger.upgrade import upgrade as upgrade_tables

    with database_of(options) as engine:
        before, after = upgrade_tables(Database(engine, options.conn_id))
    was = f"were brought from version {before} to {after}" if before != after else f"have version {after} already"
    print_line(f"The ledger's tables {was}.")
    return DONE


def counts(options: argparse.Namespace) -> int:
    """Count the tickets by namespace, account and state."""
    with database_of(options, must_exist=False) as engine:
        if not exists(engine):
            if options.output != _TABLE:
                print_value([], options.output)
            return _found([], "There are none yet: no task has recorded a ticket here.")
    with admin_of(options) as ledger:
        found = ledger.counts(_place(options))
    if options.output != _TABLE:
        print_value([asdict(count) for count in found], options.output)
    elif found:
        rows = [(each.namespace, each.account, each.state, each.tickets, each.oldest, each.newest) for each in found]
        print_table(("NAMESPACE", "ACCOUNT", "STATE", "TICKETS", "FIRST CHANGE", "LAST CHANGE"), rows)
    narrowed = options.namespace is not None or options.account is not None
    return _found(found, "The ledger holds no such ticket." if narrowed else "There are none yet.")


def list_entries(options: argparse.Namespace) -> int:
    """List tickets."""
    with admin_of(options) as ledger:
        found = ledger.newest(selection(options), limit=options.limit + 1)
    shown = found[: options.limit]
    if options.output != _TABLE:
        print_value([fields_of(entry) for entry in shown], options.output)
    elif shown:
        rows = [
            (
                entry.namespace,
                entry.account,
                entry.key_text,
                entry.state,
                entry.attempts,
                entry.updated_at,
                entry.error_kind or entry.evidence,
                entry.ai_contact_id,
            )
            for entry in shown
        ]
        print_table(("NAMESPACE", "ACCOUNT", "KEY", "STATE", "TRIES", "CHANGED", "WHY", "CONTACT"), rows)
    if len(found) > options.limit:
        complain(f"There are more than these {options.limit}: raise --limit, add filters, or use `ledger export`.")
    return _found(shown, "The ledger holds no such ticket.")


def show(options: argparse.Namespace) -> int:
    """Show all that is known about some tickets."""
    with admin_of(options) as ledger:
        found = {key: ledger.find(key, namespace=options.namespace, account=options.account) for key in options.key}
    entries = [entry for matches in found.values() for entry in matches]
    if options.output != _TABLE:
        print_value([fields_of(entry) for entry in entries], options.output)
    else:
        _print_entries(entries)
    return _missing([key for key, matches in found.items() if not matches])


def history(options: argparse.Namespace) -> int:
    """Show every attempt at some tickets, and every decision about them."""
    with admin_of(options) as ledger:
        found = {key: ledger.find(key, namespace=options.namespace, account=options.account) for key in options.key}
        steps = [(entry, ledger.history(entry)) for matches in found.values() for entry in matches]
    if options.output != _TABLE:
        print_value(
            [fields_of(entry) | {"history": [asdict(step) for step in made]} for entry, made in steps], options.output
        )
    else:
        for number, (entry, made) in enumerate(steps):
            _print_history(entry, made, first=number == 0)
    return _missing([key for key, matches in found.items() if not matches])


def resolve(options: argparse.Namespace) -> int:
    """Record what a person found out."""
    if options.sent == options.not_sent:
        raise VambeConfigError("Give either --sent or --not-sent")
    if options.contact and (options.not_sent or len(options.key) > 1):
        raise VambeConfigError("--contact belongs to --sent and a single KEY")
    by = decided_by(options)
    with admin_of(options) as ledger:
        entries = ledger.resolve(
            options.key,
            sent=options.sent,
            decided_by=by,
            namespace=options.namespace,
            account=options.account,
            ai_contact_id=options.contact,
            force=options.force,
        )
    text = "is opened now and is never sent again" if options.sent else "counts as not sent; the next run sends it"
    return _report(options, entries, text)


def retry(options: argparse.Namespace) -> int:
    """Have rejected tickets tried again."""
    if options.all == bool(options.key):
        raise VambeConfigError("Give either one KEY or more, or --all with --namespace")
    if options.all and not options.namespace:
        raise VambeConfigError("--all needs --namespace", fix="`ledger counts` shows the namespaces.")
    by = decided_by(options)
    with admin_of(options) as ledger:
        if options.key:
            entries = ledger.retry(options.key, decided_by=by, namespace=options.namespace, account=options.account)
            return _report(options, entries, "is tried again by the next run")
        changed = ledger.retry_all(options.namespace, decided_by=by, account=options.account)
    if options.output != _TABLE:
        print_value({"namespace": options.namespace, "tickets": changed}, options.output)
    else:
        print_line(f"{tickets(changed)} of {options.namespace}: the next run tries them again.")
    return DONE


def never(options: argparse.Namespace) -> int:
    """Have tickets never sent."""
    by = decided_by(options)
    with admin_of(options) as ledger:
        entries = ledger.never(options.key, decided_by=by, namespace=options.namespace, account=options.account)
    return _report(options, entries, "is never sent, until `ledger retry` takes that back")


def prune(options: argparse.Namespace) -> int:
    """Forget old tickets."""
    state = State(options.state)
    check_prunable(state)
    which: dict[str, Any] = {
        "state": state,
        "older_than": options.older_than,
        "namespace": options.namespace,
        "account": options.account,
    }
    with admin_of(options) as ledger:
        if options.older_than < YOUNGEST and not (options.force or options.dry_run):
            number = ledger.count_prunable(**which)
            raise VambeConfigError(
                f"--older-than is less than {YOUNGEST.days} days: {tickets(number)} in the state {state} would be "
                "forgotten, and sent again when a query still returns them",
                fix="Choose a greater age, or add --force.",
            )
        number = ledger.count_prunable(**which) if options.dry_run else ledger.prune(**which)
    if options.output != _TABLE:
        print_value({"state": options.state, "tickets": number, "pruned": not options.dry_run}, options.output)
    else:
        was = "would be" if options.dry_run else "was" if number == 1 else "were"
        print_line(f"{tickets(number)} in the state {state} {was} forgotten.")
    return DONE


def selection(options: argparse.Namespace) -> Selection:
    """Return which tickets the filters leave."""
    return Selection(
        namespace=options.namespace,
        account=options.account,
        states=[State(state) for state in options.state or ()],
        run=options.run,
        older_than=options.older_than,
        newer_than=options.newer_than,
    )


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return a ticket as commands print it."""
    return {_NAMES.get(name, name): value for name, value in asdict(entry).items()}


def tickets(number: int) -> str:
    """Return a number of tickets in words."""
    return f"{number:,} ticket{'' if number == 1 else 's'}"


def _place(options: argparse.Namespace) -> Selection:
    return Selection(namespace=options.namespace, account=options.account)


def decided_by(options: argparse.Namespace) -> str:
    """Return the name of who decides."""
    if options.by is not None:
        if not options.by.strip():
            raise VambeConfigError("--by: is given but empty", fix="Leave it out, or give a name.")
        return str(options.by)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        raise VambeConfigError("This user has no name", fix="Say with --by who decides.") from None


def _print_entries(entries: Sequence[Entry]) -> None:
    for number, entry in enumerate(entries):
        if number:
            print_line("")
        print_fields({name: value for name, value in fields_of(entry).items() if value is not None})


def _print_history(entry: Entry, made: Sequence[Step], *, first: bool) -> None:
    if not first:
        print_line("")
    print_line(f"{human(entry.key_text)} in {entry.namespace} of {entry.account}: {entry.state}")
    if not made:
        print_line("No attempt was made.")
        return
    rows = [
        (
            step.number,
            step.started_at,
            step.reason,
            step.generation,
            step.decision or step.sent,
            step.error_kind or step.evidence,
            step.ai_contact_id,
            step.decided_by or f"{step.dag_id}/{step.run_id} {step.task_id}",
        )
        for step in made
    ]
    print_table(("NUMBER", "BEGUN", "REASON", "GENERATION", "SENT", "WHY", "CONTACT", "BY"), rows)


def _report(options: argparse.Namespace, entries: Sequence[Entry], text: str) -> int:
    if options.output != _TABLE:
        print_value([fields_of(entry) for entry in entries], options.output)
    else:
        for entry in entries:
            print_line(f"{human(entry.key_text)} in {entry.namespace} {text}.")
    return DONE


def _missing(keys: Sequence[str]) -> int:
    for key in keys:
        complain(f"No ticket has the key {key!r}. Look for it with `ledger list`.")
    return NOTHING if keys else DONE


def _found(found: Sequence[object], otherwise: str) -> int:
    if not found:
        complain(otherwise)
    return DONE if found else NOTHING
