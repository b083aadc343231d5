"""What has to be known of a user's SQL: that it reads, and how it can stand between brackets."""

from __future__ import annotations

from collections.abc import Iterator

from vambe_provider.exceptions import VambeConfigError

_CHANGES = frozenset({
    "ALTER", "COPY", "CREATE", "DELETE", "DROP", "GRANT", "INSERT", "LOAD", "LOCK", "MERGE", "RENAME", "REPLACE",
    "REVOKE", "TRUNCATE", "UPDATE", "UPSERT",
})  # fmt: skip


def check_reads(sql: str) -> None:
    """Refuse a text without a statement, and one whose first word says that it changes data.

    :raises VambeConfigError: names the word.
    """
    first = next((value.upper().split()[0] for value, _ in _words(sql) if value not in ("(", ";")), None)
    if first is None:
        raise VambeConfigError("sql: is empty", fix="Give one SELECT that returns one row for each ticket.")
    if first in _CHANGES:
        raise VambeConfigError(
            f"sql: the statement begins with {first}, which changes data; it was not run",
            fix="Give one SELECT that returns one row for each ticket. The ledger remembers what was sent, so that "
            "rows need not be marked or deleted.",
        )


def nested(sql: str) -> str:
    """Return a query as it can stand between brackets: without semicolons and comments behind it."""
    if ";" not in sql:
        return f"{sql}\n"  # a comment in the last line must not swallow the bracket
    end = max((place for value, place in _words(sql) if value != ";"), default=len(sql))
    return f"{sql[:end]}\n"


def _words(sql: str) -> Iterator[tuple[str, int]]:
    """Yield what is neither blank nor comment, and where it ends."""
    from sqlparse import lexer, tokens

    place = 0
    for kind, value in lexer.tokenize(sql):  # type: ignore[no-untyped-call]
        place += len(value)
        if kind not in tokens.Whitespace and kind not in tokens.Comment:
            yield value, place
