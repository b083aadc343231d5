"""The commands, described once: for ``python -m vambe_provider`` and for ``airflow vambe``.

Airflow reads this at every start of its own command line, so nothing here loads more than it needs. An action is named
and not imported; a help text has no square brackets, since Airflow's help reads them as colours.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from vambe_provider.contact_policy import PURPOSES
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
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an age; write a number and s, m, h, d or w, such as 90d or 12h"
        )
    return length


class AsJson(argparse.Action):
    """``--json`` is ``-o json``; Airflow's arguments cannot say ``store_const``."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help=more.get("help"), default=argparse.SUPPRESS)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *given: Any) -> None:
        """Choose JSON."""
        setattr(namespace, self.dest, "json")


def limit(text: str) -> int:
    """Return a number of rows."""
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000; `ledger export` has no limit")
    return int(text)


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


_FORMS = _argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="(default: table)")
_JSON = _argument("--json", action=AsJson, dest="output", help="the same as -o json")
_OUTPUT = (_FORMS, _JSON)
_DATABASE = (
    _argument("--conn-id", metavar="ID", help="Airflow connection of the ledger's database"),
    _argument("--url", metavar="URL", help="its SQLAlchemy URL, where there is no such connection"),
)
_PLACE = (
    _argument("--namespace", metavar="NAME", help="only tickets of this namespace"),
    _argument("--account", metavar="NAME", help="only tickets of this account, which is the host of the connection"),
)
_RUN = _argument("--run", metavar="TEXT", help="only those last touched by a run with this in its Dag or run id")
_AGES = (
    _argument(
        "--older-than", metavar="AGE", type=age, help="only those that did not change for so long, such as 12h or 90d"
    ),
    _argument("--newer-than", metavar="AGE", type=age, help="only those that changed within this time"),
)
_STATE = _argument("--state", action="append", choices=STATES, help="only tickets in this state; may be repeated")
_KEYS = _argument(
    "key", nargs="+", metavar="KEY", help="airflow_ticket_key as Vambe shows it, or text such as order_id=1042"
)
_BY = _argument("--by", metavar="NAME", help="who decides, for the ledger (default: the user of this system)")
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
            help="Create the ledger's tables",
            action=f"{_MODULE}.ledger.create",
            arguments=_DATABASE,
            description=(
                "Create the ledger's tables. Tasks do it at their first run; this is for teams whose tasks may not\n"
                "create tables. Does nothing when the tables are there."
            ),
            examples=("ledger create --conn-id warehouse_admin",),
        ),
        Command(
            name="upgrade",
            help="Bring the ledger's tables to the version of this provider",
            action=f"{_MODULE}.ledger.upgrade",
            arguments=_DATABASE,
            description="Bring the ledger's tables to the version of this provider. Stop the tasks that use it first.",
            examples=("ledger upgrade --conn-id warehouse_admin",),
        ),
        Command(
            name="counts",
            help="Count the tickets by namespace, account and state",
            action=f"{_MODULE}.ledger.counts",
            arguments=(*_DATABASE, *_PLACE, *_OUTPUT),
            description=(
                "Count the tickets by namespace, account and state, with the times of their first and last change."
            ),
            examples=("ledger counts --conn-id warehouse",),
        ),
        Command(
            name="list",
            help="List tickets, the last changed first",
            action=f"{_MODULE}.ledger.list_entries",
            arguments=(
                *_DATABASE,
                *_PLACE,
                _STATE,
                _RUN,
                *_AGES,
                _argument("--limit", metavar="N", type=limit, default=50, help="print at most so many (default: 50)"),
                *_OUTPUT,
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
            arguments=(*_DATABASE, _KEYS, *_PLACE, *_OUTPUT),
            description=(
                "Show all that the ledger knows about a ticket: which check decided, why it failed, which run had it.\n"
                "KEY is the airflow_ticket_key in the ticket's metadata, or the text that reports and `list` show."
            ),
            examples=("ledger show --conn-id warehouse order_id=1042",),
        ),
        Command(
            name="history",
            help="Show every attempt at a ticket, and every decision about it",
            action=f"{_MODULE}.ledger.history",
            arguments=(*_DATABASE, _KEYS, *_PLACE, *_OUTPUT),
            description=(
                "Show every attempt at a ticket, the first one first: which run made it, whether it was sent, and\n"
                "what is believed about it; and every decision, with who made it."
            ),
            examples=("ledger history --conn-id warehouse order_id=1042",),
        ),
        Command(
            name="resolve",
            help="Say whether a ticket exists when nobody else could tell",
            action=f"{_MODULE}.ledger.resolve",
            arguments=(
                *_DATABASE,
                _KEYS,
                _argument("--sent", action="store_true", help="it exists: it is never sent again"),
                _argument("--not-sent", action="store_true", help="it does not exist: the next run sends it"),
                _argument("--contact", metavar="ID", help="with --sent and one KEY: the contact's id in Vambe"),
                _argument("--force", action="store_true", help="also while a worker holds it; it may be sending now"),
                _BY,
                *_PLACE,
                *_OUTPUT,
            ),
            description=(
                "Decide about a ticket in the state unknown: its request went out, no answer came back, and\n"
                "Vambe shows no clear trace of it. Look at the contact in Vambe first. With --sent the ticket\n"
                "counts as opened; with --not-sent the next run sends it. The ledger records who decided.\n"
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
                _BY,
                *_PLACE,
                *_OUTPUT,
            ),
            description=(
                "Let the next run try rejected tickets again. A rejected row is tried again by itself when its data\n"
                "changed; this is for a cause elsewhere, such as a missing stage or a wrong API key. It also takes\n"
                "`ledger never` back."
            ),
            examples=(
                "ledger retry --conn-id warehouse order_id=1042",
                "ledger retry --conn-id warehouse --namespace late-orders --all",
            ),
        ),
        Command(
            name="never",
            help="Have tickets never sent",
            action=f"{_MODULE}.ledger.never",
            arguments=(*_DATABASE, _KEYS, _BY, *_PLACE, *_OUTPUT),
            description=(
                "Let no run send a ticket, whatever a query returns. `ledger retry` takes it back. A ticket that is\n"
                "open cannot be ruled out; it is not sent again by itself."
            ),
            examples=("ledger never --conn-id warehouse order_id=1042",),
        ),
        Command(
            name="prune",
            help="Forget old tickets",
            action=f"{_MODULE}.ledger.prune",
            arguments=(
                *_DATABASE,
                _argument(
                    "--older-than",
                    metavar="AGE",
                    type=age,
                    required=True,
                    help="did not change for so long, such as 90d",
                ),
                _argument("--state", choices=STATES, required=True, help="only tickets in this state"),
                *_PLACE,
                _argument("--dry-run", action="store_true", help="print how many these are, and forget none"),
                _argument("--force", action="store_true", help="also what is younger than 7 days"),
                *_OUTPUT,
            ),
            description=(
                "Delete old tickets and their attempts, in small transactions, while deliveries go on.\n"
                "\n"
                "What is forgotten is new again: when the query still returns such a row, it is SENT AGAIN. Choose an\n"
                "age that no query reaches back to. What nobody knows to exist (sending, unknown) and what a person\n"
                "ruled out is never pruned."
            ),
            examples=("ledger prune --conn-id warehouse --state opened --older-than 90d",),
        ),
        Command(
            name="seed",
            help="Record tickets as done without sending them",
            action=f"{_MODULE}.seed.seed",
            arguments=(
                *_DATABASE,
                _argument("--namespace", metavar="NAME", required=True, help="the namespace that the task uses"),
                _argument(
                    "--account",
                    metavar="NAME",
                    required=True,
                    help="host of the Vambe connection, or its extra account",
                ),
                _argument(
                    "--key-columns", metavar="NAMES", required=True, help="key columns of the task, such as region,id"
                ),
                _argument("--sql", metavar="QUERY", help="the rows, read from the database of the ledger"),
                _argument("--file", metavar="FILE", help="the rows, as CSV with a header; - for the standard input"),
                _argument("--dag", metavar="ID", help="Dag to which the ledger page shows them"),
                *_OUTPUT,
            ),
            description=(
                "Record rows as done, so that no run sends them: the backlog of the first day, or what an earlier\n"
                "ledger knew. Nothing is sent. What is known already stays as it is."
            ),
            examples=(
                (
                    "ledger seed --conn-id warehouse --namespace late-orders --account api.vambe.me "
                    "--key-columns id --file backlog.csv"
                ),
            ),
        ),
        Command(
            name="export",
            help="Write tickets as CSV or JSON",
            action=f"{_MODULE}.export.export",
            arguments=(
                *_DATABASE,
                _argument(
                    "--format", choices=("csv", "json"), default="csv", help="csv, or json: a list (default: csv)"
                ),
                _argument("--output", metavar="FILE", help="where to; without it, to the standard output"),
                *_PLACE,
                _STATE,
                _RUN,
                *_AGES,
            ),
            description=(
                "Write all tickets, or those that the filters leave, however many there are. Only you can read the\n"
                "file. In CSV, a text that a spreadsheet would compute begins with an apostrophe."
            ),
            examples=("ledger export --conn-id warehouse --state rejected --format csv --output rejected.csv",),
        ),
    ),
)

POLICY = Group(
    name="policy",
    help="Explain when a person may be contacted",
    description="Explain what a contact policy says, without a ledger, a connection or a message.",
    commands=(
        Command(
            name="explain",
            help="Say whether a person may be contacted at a moment, and why",
            action=f"{_MODULE}.policy.explain_decision",
            arguments=(
                _argument("--phone", metavar="NUMBER", required=True, help="the number, as a row holds it"),
                _argument("--at", metavar="TIME", help="ISO time, in UTC when it has no zone (default: now)"),
                _argument("--timezone", metavar="ZONE", help="the contact's IANA zone, as a column would name it"),
                _argument("--purpose", choices=PURPOSES, help="purpose (default: that of the policy)"),
                _argument(
                    "--policy", metavar="POLICY", help="name of a preset, or JSON of a policy (default: no limits)"
                ),
                _argument("--region", metavar="REGION", help="region of a number without a country code, such as CL"),
                _argument("--rules", action="store_true", help="with json and yaml: all rules, not only the decision"),
                _argument(
                    "-o", "--output", choices=("table", "json", "yaml"), default="table", help="(default: table)"
                ),
            ),
            description=(
                "Ask all rules of a contact policy about one person at one moment, and print what each of them\n"
                "says and which one decides. Opt-outs and caps are answered as for somebody new, since no ledger\n"
                "is asked. The number is shown by its end only."
            ),
            examples=(
                "policy explain --phone +56961234567 --at 2026-09-06T08:30:00-03:00 --policy cl-debt",
                "policy explain --phone +56961234567 --at 2026-09-06T08:30:00-03:00 --policy service -o json",
            ),
        ),
    ),
)

_PURPOSE = _argument("--purpose", choices=PURPOSES, help="only for this purpose (default: all purposes)")
_REGION = _argument("--region", metavar="REGION", help="region of numbers without a country code, such as CL")

SUPPRESSION = Group(
    name="suppression",
    help="Keep the list of people who must not be contacted",
    description=(
        "Keep the ledger's list of people who must not be contacted. Every delivery asks it right before it\n"
        "sends, with or without a contact policy, and nothing overrides it. The list holds keyed hashes and no\n"
        "number, so the person_secret has to be that of the tasks."
    ),
    commands=(
        Command(
            name="add",
            help="Put people on the list",
            action=f"{_MODULE}.suppression.add",
            arguments=(
                *_DATABASE,
                _argument("number", nargs="+", metavar="NUMBER", help="number of the person, such as +56961234567"),
                _PURPOSE,
                _REGION,
                _BY,
                *_OUTPUT,
            ),
            description="Put people on the list. Who stands on it already stays as they are.",
            examples=("suppression add --conn-id warehouse +56961234567 --purpose marketing",),
        ),
        Command(
            name="remove",
            help="Take a person off the list",
            action=f"{_MODULE}.suppression.remove",
            arguments=(
                *_DATABASE,
                _argument("number", metavar="NUMBER", help="number of the person, such as +56961234567"),
                _argument("--purpose", choices=PURPOSES, help="only the entry of this purpose (default: every entry)"),
                _REGION,
                *_OUTPUT,
            ),
            description="Take a person off the list, because they asked to be contacted again.",
            examples=("suppression remove --conn-id warehouse +56961234567",),
        ),
        Command(
            name="list",
            help="Say who put how many on the list, or whether somebody is on it",
            action=f"{_MODULE}.suppression.list_entries",
            arguments=(
                *_DATABASE,
                _argument("--phone", metavar="NUMBER", help="only entries about this person"),
                _argument("--purpose", choices=PURPOSES, help="only entries of this purpose"),
                _REGION,
                _argument("--limit", metavar="N", type=limit, default=50, help="print at most so many (default: 50)"),
                *_OUTPUT,
            ),
            description=(
                "List the entries that were added last: when, for which purpose, from which source and by whom. The\n"
                "list cannot show numbers, since it does not hold them. With --phone, say what it holds about somebody."
            ),
            examples=("suppression list --conn-id warehouse --phone +56961234567",),
        ),
        Command(
            name="import",
            help="Put the people of a file on the list",
            action=f"{_MODULE}.suppression.import_list",
            arguments=(
                *_DATABASE,
                _argument("file", metavar="FILE", help="one number a line; - for the standard input"),
                _argument("--skip-wrong", action="store_true", help="leave wrong lines out, and import the others"),
                _PURPOSE,
                _REGION,
                _BY,
                *_OUTPUT,
            ),
            description=(
                "Put the people of a file on the list, such as a registry of people who want no calls. The file has\n"
                "one number a line; empty lines and lines that begin with # are left out. When a line is wrong,\n"
                "nobody is put on the list. The import may be repeated: who stands on the list stays there."
            ),
            examples=("suppression import --conn-id warehouse registry.txt --region CL --purpose marketing",),
        ),
    ),
)

ROOT = Group(
    name="vambe",
    help="WhatsApp tickets of Vambe",
    description="Look after the tickets that pipelines open in Vambe.",
    commands=(
        LEDGER,
        POLICY,
        SUPPRESSION,
        Command(
            name="check",
            help="Say whether a connection to Vambe works",
            action=f"{_MODULE}.vambe.check",
            arguments=(_VAMBE, *_OUTPUT),
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
            arguments=(_VAMBE, *_OUTPUT),
            description=("List the stages of all pipelines. An operator takes the name or the id of one as its stage."),
            examples=("stages",),
        ),
        Command(
            name="channels",
            help="List the connected senders, for phone_id",
            action=f"{_MODULE}.vambe.channels",
            arguments=(_VAMBE, *_OUTPUT),
            description=(
                "List the connected sender of each kind of channel. Its id is the phone_id of the connection\n"
                "and of operators. Vambe tells one sender of a kind, even when there are several."
            ),
            examples=("channels",),
        ),
        Command(
            name="examples",
            help="Write the example Dags into a folder",
            action=f"{_MODULE}.examples.write",
            arguments=(
                _argument("folder", metavar="DIR", help="where to, as your Dags folder; made when it is not there"),
                _argument("--force", action="store_true", help="overwrite examples that were changed there"),
            ),
            description=(
                "Write the example Dags into a folder. Each says at its top for whom it is and what to change.\n"
                "Files that were changed there are not overwritten unless --force is given."
            ),
            examples=("examples dags/vambe",),
        ),
    ),
)
