"""The commands of ``suppression``: who must not be contacted. They take numbers, and print the ends of them at most."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vambe_provider.cli.databases import database_of
from vambe_provider.cli.ledger import decided_by
from vambe_provider.cli.output import print_line, print_table, print_value
from vambe_provider.cli.run import DONE, NOTHING, WRONG, complain
from vambe_provider.contact_policy.numbers import canonical_number, mask_number
from vambe_provider.contact_policy.reasons import meaning
from vambe_provider.contact_policy.suppression import old_list_warning
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

if TYPE_CHECKING:
    import argparse

    from vambe_provider.delivery.ledger.suppressions import SuppressionList

_TABLE = "table"
_NEVER_MESSAGED = ("landline", "service_number")
"""Why a number of a registry needs no entry: no ticket is ever sent to it."""
_SHOWN = 20
"""Wrong lines that are named one by one."""


def add(options: argparse.Namespace) -> int:
    """Put people on the list."""
    by = decided_by(options)
    numbers = [_number(text, options) for text in options.number]
    with _list_of(options) as found:
        added, known = found.add(numbers, source="command", added_by=by, purpose=options.purpose)
    if options.output != _TABLE:
        print_value({"added": added, "known": known}, options.output)
        return DONE
    print_line(f"{_people(added)} will not be contacted {_for(options.purpose)}.")
    if known:
        print_line(f"{_people(known)} stood on the list already.")
    return DONE


def remove(options: argparse.Namespace) -> int:
    """Take somebody off the list."""
    number = _number(options.number, options)
    with _list_of(options) as found:
        removed = found.remove(number, purpose=options.purpose)
    if options.output != _TABLE:
        print_value({"removed": removed}, options.output)
    elif removed:
        print_line(f"{mask_number(number)} may be contacted again {_for(options.purpose)}.")
    if not removed:
        complain(f"{mask_number(number)} is not on the list {_for(options.purpose)}.")
    return DONE if removed else NOTHING


def list_entries(options: argparse.Namespace) -> int:
    """List the entries about somebody, or the newest ones."""
    number = None if options.phone is None else _number(options.phone, options)
    with _list_of(options) as found:
        entries = found.newest(limit=options.limit, purpose=options.purpose) if number is None else found.of(number)
        imported = found.imported_at()
    if options.output != _TABLE:
        print_value([asdict(entry) for entry in entries], options.output)
    elif entries:
        rows = [(entry.added_at, entry.purpose, entry.source, entry.added_by) for entry in entries]
        print_table(("ADDED", "PURPOSE", "SOURCE", "BY"), rows)
    if warning := old_list_warning(imported, _now()):
        complain(warning)
    if not entries:
        complain("Nobody is on the list." if number is None else f"{mask_number(number)} is not on the list.")
    return DONE if entries else NOTHING


def import_list(options: argparse.Namespace) -> int:
    """Put the people of a file on the list: all of them or, when a line is wrong, none."""
    by = decided_by(options)
    with _lines(options.file) as lines:
        numbers, never, wrong = _read(lines, options)
    if wrong and not options.skip_wrong:
        for line, problem in wrong[:_SHOWN]:
            complain(f"line {line}: {problem}")
        more = f" The first {_SHOWN} are above." if len(wrong) > _SHOWN else ""
        complain(
            f"error: {_lines_are(len(wrong))} wrong, so nobody was put on the list.{more} Correct them, or add "
            "--skip-wrong to import the others."
        )
        return WRONG
    with _list_of(options) as found:
        added, known = found.add(numbers, source="import", added_by=by, purpose=options.purpose)
    counts = {"added": added, "known": known, "never_messaged": never, "wrong": len(wrong)}
    if options.output != _TABLE:
        print_value(counts, options.output)
    else:
        print_line(
            f"{_people(added)} will not be contacted {_for(options.purpose)}; {known:,} stood on the list already."
        )
        if never:
            print_line(f"{_lines_are(never)} landlines or service numbers, which never get a ticket.")
    if wrong:
        complain(f"{_lines_are(len(wrong))} wrong and left out, such as line {wrong[0][0]}: {wrong[0][1]}.")
    return DONE


def _read(lines: Iterable[str], options: argparse.Namespace) -> tuple[list[str], int, list[tuple[int, str]]]:
    """Return the numbers, how many need no entry, and the wrong lines with what is wrong."""
    numbers: dict[str, None] = {}
    never, wrong = 0, []
    for place, line in enumerate(lines, 1):
        text = line.strip().strip('"')
        if not text or text.startswith("#"):
            continue
        try:
            numbers[canonical_number(text, default_region=options.region)] = None
        except PhoneNumberError as error:
            if error.reason in _NEVER_MESSAGED:
                never += 1
            else:
                wrong.append((place, meaning(error.reason)))
    return list(numbers), never, wrong


@contextmanager
def _lines(file: str) -> Iterator[Iterable[str]]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8-sig") as opened:
            yield opened
    except OSError as error:
        raise VambeConfigError(f"FILE: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VambeConfigError(f"FILE: {file} is not text in UTF-8", fix="Save it as CSV or text in UTF-8.") from None


@contextmanager
def _list_of(options: argparse.Namespace) -> Iterator[SuppressionList]:
    from vambe_provider.cli.connections import persons
    from vambe_provider.delivery.ledger.suppressions import SuppressionList

    with database_of(options, must_exist=False) as engine:
        yield SuppressionList(engine, persons(), options.conn_id)


def _number(text: str, options: argparse.Namespace) -> str:
    try:
        return canonical_number(text, default_region=options.region)
    except PhoneNumberError as error:
        raise VambeConfigError(
            f"{mask_number(text)}: {meaning(error.reason)}",
            fix="Write it as +56961234567, or name its country with --region.",
        ) from None


def _now() -> datetime:
    return datetime.now(UTC)


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"


def _lines_are(number: int) -> str:
    return "1 line is" if number == 1 else f"{number:,} lines are"


def _for(purpose: str | None) -> str:
    return "for any purpose" if purpose is None else f"for the purpose {purpose}"
