"""What an error of a database means, told without the values that it quotes.

Drivers put the statement, its parameters and single values into the texts of their errors. What is told here is the
class, the SQLSTATE or number, the place in the query, and names of tables and columns; the rest is our own words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from vambe_provider.api.redact import without_people
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeLedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vambe_provider.exceptions import VambeError

What = Literal["query", "ledger"]

_REASONS = {
    "07": "the parameters do not fit the placeholders",
    "08": "the connection broke",
    "0A": "the database cannot do this",
    "0A000": "the database cannot do this; a query that only reads is needed",
    "22": "a value does not fit its type",
    "22012": "a division by zero",
    "25006": "the statement changes data, and only reading is allowed here",
    "28": "the database does not let this user in",
    "34000": "the cursor is gone",
    "3D": "the database does not exist",
    "3F": "no schema in which its tables can be",
    "40": "another transaction was in the way",
    "42501": "the user may not do this",
    "42601": "a syntax error",
    "42702": "a column name that is not clear",
    "42703": "no such column",
    "42803": "a column is neither grouped nor aggregated",
    "42883": "no such function or operator for these types",
    "42P01": "no such table",
    "42S02": "no such table",
    "42S22": "no such column",
    "42": "the statement is wrong",
    "53": "the database has no room left",
    "55P03": "a lock could not be had",
    "57014": "the database gave up on the statement",
    "57": "the database was stopped",
    "57P05": "the database ended a session that was idle",
    "25P03": "the database ended a session that was idle",
    "58": "the database has a problem with its disk",
}
"""SQLSTATEs, and the beginnings of SQLSTATEs, in our words; the longest that fits counts."""

_PERMANENT = ("07", "0A", "25006", "3D", "3F", "42")
# Things that exist already, and prepared statements that a pooler mixes up: another try may well work.
_PASSING = frozenset({"42P03", "42P04", "42P05", "42P06", "42P07", "42710"})

_MYSQL_STATES = {
    1044: "42501", 1045: "28000", 1046: "3D000", 1049: "3D000", 1051: "42S02", 1052: "42702", 1054: "42S22",
    1055: "42803", 1060: "42000", 1064: "42601", 1109: "42S02", 1140: "42803", 1142: "42501", 1143: "42501",
    1146: "42S02", 1205: "55P03", 1213: "40001", 1227: "42501", 1241: "42000", 1247: "42000", 1248: "42000",
    1290: "25006", 1305: "42883", 1317: "57014", 1364: "42000", 1365: "22012", 1370: "42501", 1630: "42883",
    1698: "28000", 1792: "25006", 1836: "25006", 1969: "57014", 2006: "08006", 2013: "08006", 3024: "57014",
}  # fmt: skip
"""MySQL's and MariaDB's numbers as the SQLSTATE that says most; some drivers give no SQLSTATE."""
# Too many connections of a user, and a limit of a user, have the SQLSTATE of a syntax error.
_MYSQL_PASSING = frozenset({1203, 1226})

_SQLITE_STATES = (
    ("no such table", "42P01"),
    ("no such column", "42703"),
    ("no such function", "42883"),
    ("ambiguous column name", "42702"),
    ("near ", "42601"),
    ("unrecognized token", "42601"),
    ("incomplete input", "42601"),
    ("You can only execute one statement", "42601"),
    ("Error binding parameter", "07001"),
    ("You did not supply a value for binding", "07001"),
    ("Incorrect number of bindings", "07001"),
    ("misuse of aggregate", "42803"),
    ("wrong number of arguments", "42883"),
    ("SELECTs to the left and right", "42601"),
    ("attempt to write a readonly database", "25006"),
    ("database is locked", "55P03"),
    ("database or disk is full", "53100"),
    ("interrupted", "57014"),
    ("integer overflow", "22003"),
)
_CLASS_STATES = {
    "ParserException": "42601",
    "SyntaxException": "42601",
    "BinderException": "42703",
    "PermissionException": "42501",
    "ConversionException": "22000",
    "OutOfRangeException": "22003",
    "NotImplementedException": "0A000",
    "OutOfMemoryException": "53200",
    "InterruptException": "57014",
    "NotSupportedError": "0A000",
    "ProgrammingError": "42000",
    "TrinoUserError": "42000",
}
"""Classes of drivers that give neither a SQLSTATE nor a number; the first ones are DuckDB's."""

_NAMES = re.compile(
    r"(?:no such (?:table|column|function): |ambiguous column name: |Table with name |Referenced column \"|"
    r"Referenced table \"|Function with name |Table '|Unknown column '|FUNCTION )(?P<name>[A-Za-z_$][\w$.]*)"
)
_MYSQL_LINE = re.compile(r"at line (\d+)\W*$")
_DUCKDB_LINE = re.compile(r"^LINE (\d+): ", re.MULTILINE)
_WRONG_CONNECTION = re.compile(
    r"does not support SSL|does not support secure|SSL is required|certificate verify failed|unknown ca|"
    r"root certificate file|issuer certificate|self.signed certificate|does not match host name|server certificate for|"
    r"[Hh]ostname mismatch|invalid (?:connection option|\w+ value|dsn)|database \S+ does not exist|"
    r"no pg_hba\.conf entry"
)
_WORD = re.compile(r"[A-Za-z_][\w$.]*")
_QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'?|\"(?:[^\"\\]|\"\"|\\.)*\"?|`[^`]*`?|--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)
_LONG_NUMBER = re.compile(r"\d{7}")
_NAMED = ("42702", "42703", "42883", "42P01", "42S02", "42S22")


@dataclass(frozen=True, slots=True)
class Statement:
    """The user's query as it was sent, so that an error can point into it.

    :param text: the user's own text.
    :param offset: how many characters stood before it.
    :param exact: no parameter was filled in, so that the positions behind one are right.
    """

    text: str
    offset: int = 0
    exact: bool = True


def describe_database_error(
    error: BaseException,
    *,
    conn_id: str,
    what: What,
    argument: str | None = None,
    statement: Statement | None = None,
    begun: bool = False,
) -> VambeError:
    """Return our error for one of a driver or of SQLAlchemy, without any value in it.

    :param error: what the driver raised; SQLAlchemy's wrapping is taken off.
    :param conn_id: the connection of the database.
    :param what: the ``query`` over the source, or the ``ledger``.
    :param argument: what names the connection; default ``sql_conn_id`` or ``ledger_conn_id``.
    :param statement: the query, for the place of the error.
    :param begun: rows were read already, so that something may have been sent.
    :return: a ``VambeConfigError`` when a retry cannot help and nothing was sent, else a ``VambeLedgerError`` or a
        ``VambeDeliveryError``; its ``permanent`` says whether a retry can help.
    """
    cause = getattr(error, "orig", None) or error
    state = sqlstate_of(cause)
    permanent = is_permanent(cause)
    argument = argument or ("sql_conn_id" if what == "query" else "ledger_conn_id")
    subject = "sql: the query" if what == "query" else f"{argument}: the ledger"
    reasons = ": ".join(part for part in (_reason(state), _names(cause, state, statement)) if part)
    parts = [reasons, _place(cause, statement)]
    told = ", ".join(part for part in parts if part)
    message = f"{subject} failed on the connection {conn_id} with {_code(cause)}{f': {told}' if told else ''}"
    fix = _fix(state, what, conn_id)
    if permanent and not begun:
        return VambeConfigError(message, fix=fix)
    described: VambeError
    if what == "ledger":
        described = VambeLedgerError(message, fix=fix)
    else:
        tail = "Rows that were sent are recorded; the next try takes the others." if begun else "Nothing was sent."
        described = VambeDeliveryError(message, fix=f"{tail} {fix}")
    described.permanent = permanent
    return described


def is_permanent(error: BaseException) -> bool:
    """Return True when the same statement would fail in the same way again, so that a task retry is of no use."""
    cause = getattr(error, "orig", None) or error
    state = sqlstate_of(cause)
    if state is None or state in _PASSING or _number(cause) in _MYSQL_PASSING:
        return False
    return state.startswith(_PERMANENT)


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error, or the one that its number, text or class stands for."""
    cause: Any = getattr(error, "orig", None) or error
    number = _number(cause)
    if number in _MYSQL_STATES:
        return _MYSQL_STATES[number]
    for name in ("sqlstate", "pgcode"):
        given = getattr(cause, name, None)
        if isinstance(given, str) and re.fullmatch("[0-9A-Z]{5}", given):
            return given
    if cause.args and isinstance(cause.args[0], str):
        first = cause.args[0]
        if re.fullmatch("[0-9A-Z]{5}", first):  # as ODBC gives it
            return first
        if type(cause).__module__ == "sqlite3":
            return next((state for begin, state in _SQLITE_STATES if first.startswith(begin)), None)
        if type(cause).__name__ == "CatalogException":
            return "42883" if " Function " in first.partition("\n")[0] else "42P01"
    if isinstance(cause, (TypeError, ValueError, LookupError)):  # drivers fill placeholders in as Python does
        return "07001"
    return None if number is not None else _CLASS_STATES.get(type(cause).__name__)


def _number(cause: Any) -> int | None:
    """Return MySQL's number of an error."""
    if type(cause).__module__.partition(".")[0] not in ("MySQLdb", "pymysql", "mysql", "aiomysql", "asyncmy"):
        return None
    first = cause.args[0] if cause.args else None
    return first if isinstance(first, int) and first > 0 else None


def _code(cause: Any) -> str:
    """Return class and code of an error, such as ``UndefinedTable (SQLSTATE 42P01)``."""
    name, number = type(cause).__name__, _number(cause)
    given = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if number is not None:
        return f"{name} (error {number})"
    if isinstance(given, str) and re.fullmatch("[0-9A-Z]{5}", given):
        return f"{name} (SQLSTATE {given})"
    return name


@cache
def _reason(state: str | None) -> str:
    fitting = [begin for begin in _REASONS if state is not None and state.startswith(begin)]
    return _REASONS[max(fitting, key=len)] if fitting else ""


def _names(cause: Any, state: str | None, statement: Statement | None) -> str:
    """Return the names that the driver gives as fields, else the one that the query has where the error is."""
    diagnosis = getattr(cause, "diag", None)
    fields = (("table", "table_name"), ("column", "column_name"), ("constraint", "constraint_name"))
    given = [(label, getattr(diagnosis, field, None)) for label, field in fields]
    found = [f"{label} {name}" for label, name in given if name]
    if found or state not in _NAMED:
        return ", ".join(found)
    named = _NAMES.search(str(cause))
    name = named["name"] if named else _word_at(_position(cause, statement), statement)
    if name is None or statement is None or not _is_bare(name.rpartition(".")[2], statement.text):
        return ""
    return name


def _is_bare(name: str, text: str) -> bool:
    """Return True when a name stands in the query as a bare word: what stands in quotes may be a value.

    Double quotes around a value are a usual slip, and the database then takes the value for the name of a column.
    """
    if _LONG_NUMBER.search(name):
        return False
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", _QUOTED.sub(" ", text), re.IGNORECASE) is not None


def _position(cause: Any, statement: Statement | None) -> int | None:
    """Return where in the user's own text PostgreSQL sees the error, from 0 on."""
    given = getattr(getattr(cause, "diag", None), "statement_position", None)
    if statement is None or not given or not str(given).isdigit():
        return None
    position = int(given) - 1 - statement.offset
    return position if 0 <= position <= len(statement.text) else None


def _word_at(position: int | None, statement: Statement | None) -> str | None:
    if position is None or statement is None or not statement.exact:
        return None
    word = _WORD.match(statement.text, position)
    return word[0] if word else None


def _place(cause: Any, statement: Statement | None) -> str:
    position = _position(cause, statement)
    if position is not None and statement is not None:
        line = statement.text.count("\n", 0, position) + 1
        column = position - statement.text.rfind("\n", 0, position)
        return f"line {line}, column {column} of the query" if statement.exact else f"about line {line} of the query"
    found = None
    if _number(cause) == 1064:
        found = _MYSQL_LINE.search(str(cause))
    elif "duckdb" in type(cause).__module__:
        found = _DUCKDB_LINE.search(str(cause))
    return f"line {found[1]} of the query" if found and statement is not None else ""


def _fix(state: str | None, what: What, conn_id: str) -> str:
    if what == "ledger":
        return _ledger_fix(state, conn_id)
    if state == "34000":
        return (
            "A pooler that hands out another session for each transaction loses cursors; connect to the database "
            "itself, or pool by session."
        )
    if state == "57014":
        return "Make the query faster, or raise the time that the database gives its user."
    if state == "57P05":
        return "Raise idle_session_timeout for the user of this connection."
    if state is not None and state.startswith(("0A", "25006")):
        return "Give one SELECT that only reads."
    return "Correct the query, or the connection and its user's rights."


def _ledger_fix(state: str | None, conn_id: str) -> str:
    if state is not None and state.startswith(("25006", "3F", "42501", "42P01", "42S02")):
        return (
            "The ledger needs a database in which it may write: name its connection as ledger_conn_id. Where only its "
            f"tables are missing, run `python -m vambe_provider ledger create --conn-id {conn_id}` once, with a "
            "connection whose user may create tables."
        )
    return "Check the ledger's connection and its user's rights; the next try goes on from here."


def describe_connection_error(
    error: BaseException, *, conn_id: str, what: What, argument: str, secrets: Sequence[str] = ()
) -> VambeError:
    """Return our error for a connection that could not be opened.

    No statement has run yet, so that the driver's text is about the connection only; it is quoted without what looks
    like an e-mail address or a long number.

    :param conn_id: the connection.
    :param what: the ``query`` over the source, or the ``ledger``.
    :param argument: what names the connection.
    :param secrets: texts that must not appear, such as its password.
    :return: a ``VambeConfigError`` when a retry cannot help.
    """
    cause = getattr(error, "orig", None) or error
    text = without_people(" ".join(str(cause).split()), secrets=[secret for secret in secrets if secret])
    told = f"{type(cause).__name__}: {(text or 'no text').rstrip('.')}"
    message = f"{argument}: the connection {conn_id} could not be opened: {told}"
    if _is_wrong(cause):
        return VambeConfigError(message, fix=f"Correct the fields and extras of the connection {conn_id}.")
    kind = VambeLedgerError if what == "ledger" else VambeDeliveryError
    return kind(message, fix="Nothing was sent. See that the database can be reached from where the task runs.")


def _is_wrong(cause: BaseException) -> bool:
    """Return True when it is the connection's own fields that are wrong, or a library that is missing."""
    if isinstance(cause, (TypeError, ValueError, LookupError, ImportError, AttributeError, NotImplementedError)):
        return True
    if isinstance(cause.__context__, ImportError) or type(cause).__name__ == "AirflowOptionalProviderFeatureException":
        return True
    return is_permanent(cause) or _WRONG_CONNECTION.search(str(cause)) is not None
