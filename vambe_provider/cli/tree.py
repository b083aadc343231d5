"""The commands, described once: for ``python -m vambe_provider`` and for ``airflow vambe``.

Airflow reads this at every start of its own command line, so nothing here loads more than it needs. An action is named
and not imported; a help text has no square brackets, since Airflow's help reads them as colours.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from vambe_provider.delivery.model import State

STATES = tuple(state.value for state in State)

_AGE = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its flags, or its name, and what ``ArgumentParser.add_argument`` takes besides."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    :param action: the dotted name of the function that does it; takes the parsed arguments, returns the exit code.
    """

    name: str
    help: str
    action: str
    arguments: tuple[Argument, ...]
    description: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Commands with a common name."""

    name: str
    help: str
    description: str
    commands: tuple[Command | Group, ...] = field(default=())


def age(text: str) -> timedelta:
    """Return the time that ``90d``, ``12h`` or ``2w`` means."""
    match = _AGE.fullmatch(text)
    length = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else _LONGEST * 2
    if length > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write a number and s, m, h, d or w, as 90d or 12h")
    return length


def limit(text: str) -> int:
    """Return a number of rows."""
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 100000; `ledger export` has no limit")
    return int(text)


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


_JSON = _argument("--json", action="store_true", help="print JSON for machines instead of a table")
_DATABASE = (
    _argument("--conn-id", metavar="ID", help="Airflow connection of the ledger's database"),
    _argument("--url", metavar="URL", help="its SQLAlchemy URL, where there is no such connection"),
)
_NAMESPACE = _argument("--namespace", metavar="NAME", help="only tickets of this namespace")
_RUN = _argument("--run", metavar="TEXT", help="only those last touched by a run with this in its name")
_AGES = (
    _argument(
        "--older-than", metavar="AGE", type=age, help="only those that did not change for so long, as 12h or 90d"
    ),
    _argument("--newer-than", metavar="AGE", type=age, help="only those that changed within this time"),
)
_STATE = _argument("--state", action="append", choices=STATES, help="only tickets in this state; may be repeated")
_KEYS = _argument(
    "key", nargs="+", metavar="KEY", help="airflow_ticket_key as Vambe shows it, or text as order_id=1042"
)
_VAMBE = _argument(
    "--conn-id",
    metavar="ID",
    default="vambe_default",
    help="Airflow connection of the type vambe (default: vambe_default)",
)
_MODULE = "vambe_provider.cli"

LEDGER = Group(
    name="ledger",
    help="Look into the ledger of sent tickets, and decide what it could not",
    description=(
        "The ledger remembers every ticket, so that none is sent twice. It holds keys, states, ids and times; no\n"
        "number, no e-mail and no message. All times are UTC."
    ),
    commands=(
        Command(
            name="create",
            help="Create the ledger's table",
            action=f"{_MODULE}.ledger.create",
            arguments=_DATABASE,
            description=(
                "Create the table vambe_ticket_ledger. Tasks do it at their first run; this is for teams whose tasks\n"
                "may not create tables. Does nothing when the table is there."
            ),
            examples=("ledger create --conn-id warehouse_admin",),
        ),
        Command(
            name="counts",
            help="Count the tickets by namespace and state",
            action=f"{_MODULE}.ledger.counts",
            arguments=(*_DATABASE, _NAMESPACE, _JSON),
            description="Count the tickets by namespace and state, with the times of their first and last change.",
            examples=("ledger counts --conn-id warehouse",),
        ),
        Command(
            name="list",
            help="List tickets, the last changed first",
            action=f"{_MODULE}.ledger.list_entries",
            arguments=(
                *_DATABASE,
                _NAMESPACE,
                _STATE,
                _RUN,
                *_AGES,
                _argument("--limit", metavar="N", type=limit, default=50, help="print at most so many (default: 50)"),
                _JSON,
            ),
            description="List tickets, the last changed first. In a terminal, long texts are cut to its width.",
            examples=(
                "ledger list --conn-id warehouse --state unknown",
                "ledger list --conn-id warehouse --namespace late-orders --state rejected --newer-than 1d",
            ),
        ),
        Command(
            name="show",
            help="Show all that is known about a ticket",
            action=f"{_MODULE}.ledger.show",
            arguments=(*_DATABASE, _KEYS, _NAMESPACE, _JSON),
            description=(
                "Show all that the ledger knows about a ticket: which check decided, why it failed, which run had it.\n"
                "KEY is the airflow_ticket_key in the ticket's metadata, or the text that reports and `list` show."
            ),
            examples=("ledger show --conn-id warehouse order_id=1042",),
        ),
        Command(
            name="resolve",
            help="Say whether a ticket exists of which nobody knew",
            action=f"{_MODULE}.ledger.resolve",
            arguments=(
                *_DATABASE,
                _KEYS,
                _argument("--sent", action="store_true", help="it exists: it is never sent again"),
                _argument("--not-sent", action="store_true", help="it does not exist: the next run sends it"),
                _argument("--contact", metavar="ID", help="with --sent and one KEY: the contact's id in Vambe"),
                _argument("--force", action="store_true", help="also while a worker holds it; it may be sending now"),
                _NAMESPACE,
                _JSON,
            ),
            description=(
                "Decide about a ticket in the state unknown: its request went out, no answer came back, and\n"
                "Vambe shows no clear trace of it. Look at the contact in Vambe first. With --sent the ticket\n"
                "counts as opened; with --not-sent the next run sends it. The ledger records that a person\n"
                "decided, and not who.\n"
                "\n"
                "A ticket in the state sending is taken only when its worker's lease is over; until then the\n"
                "worker may still send it, and after that the next run finds out by itself. --force takes it\n"
                "anyway: with --not-sent the customer may then be messaged twice."
            ),
            examples=(
                "ledger resolve --conn-id warehouse order_id=1042 --sent --contact 6f1c…",
                "ledger resolve --conn-id warehouse order_id=1042 order_id=1043 --not-sent",
            ),
        ),
        Command(
            name="retry",
            help="Have rejected tickets tried again",
            action=f"{_MODULE}.ledger.retry",
            arguments=(
                *_DATABASE,
                _argument("key", nargs="*", metavar="KEY", help="which tickets; see `ledger show`"),
                _argument("--all", action="store_true", help="all rejected tickets of the namespace"),
                _NAMESPACE,
                _JSON,
            ),
            description=(
                "Let the next run try rejected tickets again. A rejected row is tried again by itself when its data\n"
                "changed; this is for a cause that lay elsewhere, as a missing stage or a wrong API key."
            ),
            examples=(
                "ledger retry --conn-id warehouse order_id=1042",
                "ledger retry --conn-id warehouse --namespace late-orders --all",
            ),
        ),
        Command(
            name="prune",
            help="Forget old tickets",
            action=f"{_MODULE}.ledger.prune",
            arguments=(
                *_DATABASE,
                _argument(
                    "--older-than", metavar="AGE", type=age, required=True, help="did not change for so long, as 90d"
                ),
                _argument("--state", choices=STATES, required=True, help="only tickets in this state"),
                _NAMESPACE,
                _argument("--dry-run", action="store_true", help="print how many these are, and forget none"),
                _argument("--force", action="store_true", help="also what is younger than 7 days"),
                _JSON,
            ),
            description=(
                "Delete old rows from the ledger, in small transactions, while deliveries go on.\n"
                "\n"
                "What is forgotten is new again: when the query still returns such a row, it is SENT AGAIN. Choose an\n"
                "age that no query reaches back to. Tickets of which nobody knows whether they exist (sending,\n"
                "unknown) are never pruned."
            ),
            examples=("ledger prune --conn-id warehouse --state opened --older-than 90d",),
        ),
        Command(
            name="export",
            help="Write tickets as CSV or JSON",
            action=f"{_MODULE}.ledger.export",
            arguments=(
                *_DATABASE,
                _argument(
                    "--format", choices=("csv", "json"), default="csv", help="csv, or json: a list (default: csv)"
                ),
                _argument("--output", metavar="FILE", help="where to; without it, to the standard output"),
                _NAMESPACE,
                _STATE,
                _RUN,
                *_AGES,
            ),
            description="Write all tickets, or those that the filters leave, however many there are.",
            examples=("ledger export --conn-id warehouse --state rejected --format csv --output rejected.csv",),
        ),
    ),
)

ROOT = Group(
    name="vambe",
    help="WhatsApp tickets of Vambe",
    description="Look after the tickets that pipelines open in Vambe.",
    commands=(
        LEDGER,
        Command(
            name="check",
            help="Say whether a connection to Vambe works",
            action=f"{_MODULE}.vambe.check",
            arguments=(_VAMBE, _JSON),
            description=(
                "Read the pipelines with the API key of a connection, which changes nothing, and say which of\n"
                "key, host or network is wrong. The same as Test in Airflow's connection list, which Airflow\n"
                "3.3.1 and 3.3.2 refuse for a connection without a port."
            ),
            examples=("check --conn-id vambe_default",),
        ),
        Command(
            name="stages",
            help="List the stages that a ticket can be opened in",
            action=f"{_MODULE}.vambe.stages",
            arguments=(_VAMBE, _JSON),
            description=("List the stages of all pipelines. An operator takes the name or the id of one as its stage."),
            examples=("stages",),
        ),
        Command(
            name="channels",
            help="List the connected senders, for phone_id",
            action=f"{_MODULE}.vambe.channels",
            arguments=(_VAMBE, _JSON),
            description=(
                "List the connected sender of each kind of channel. Its id is the phone_id of the connection\n"
                "and of operators. Vambe tells one sender of a kind, even when there are several."
            ),
            examples=("channels",),
        ),
    ),
)
