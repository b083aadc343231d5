"""From a row to a request: a dict with ``{column}`` in its texts, or a function. Rows are data: nothing in them is
ever a template.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vambe_provider.api.texts import formatted, is_null, readable
from vambe_provider.delivery.model import Row
from vambe_provider.delivery.shown import shown_name
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

TicketTemplate = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any] | None]

FIELDS = (
    "to_phone_number", "stage", "stage_id", "contact_name", "email", "contact_metadata", "ticket_metadata",
    "integration_data", "message",
)  # fmt: skip

PERSONAL = ("to_phone_number", "contact_name", "email")
"""Fields that say who somebody is; what they hold must not be readable in a key."""

_Maker = Callable[[Row, list[str]], Any]


def compile_ticket(template: TicketTemplate) -> RowMapping | RowFunction:
    """Return what makes a request of a row.

    :param template: fields of a request with ``{column}`` in their texts, or a function from a row to a request; None
        skips the row.
    :raises VambeConfigError: when the mapping has an unknown field, or a text is no format that is allowed.
    """
    if callable(template):
        return RowFunction(template)
    if not isinstance(template, Mapping):
        raise VambeConfigError(
            "ticket: must be a dict or a function", fix='Write {"to_phone_number": "{phone}", "stage": …}.'
        )
    unknown = [name for name in template if name not in FIELDS]
    if unknown:
        raise VambeConfigError(
            f"ticket: unknown fields {', '.join(unknown)}", fix=f"The fields are {', '.join(FIELDS)}."
        )
    return RowMapping(template)


class RowMapping:
    """A dict whose texts name columns, compiled once.

    A value that is nothing but ``{column}`` keeps the column's type, and is left out when it is null. Any other text
    is formatted; a null in it rejects the row, so that nobody is greeted as None.
    """

    def __init__(self, template: Mapping[str, Any]) -> None:
        self.columns: set[str] = set()
        self.personal_columns: set[str] = set()
        self.identity: str | None = repr(sorted((str(name), repr(value)) for name, value in template.items()))
        stage = template.get("stage")
        self.constant_stage = stage if isinstance(stage, str) and "{" not in stage else None
        self._fields = {name: self._compile(value, name) for name, value in template.items()}

    def __call__(self, row: Row) -> dict[str, Any]:
        """Return the request of a row.

        :raises VambeValidationError: names each field whose text could not be made, and why.
        """
        problems: list[str] = []
        request = {name: make(row, problems) for name, make in self._fields.items()}
        if problems:
            raise VambeValidationError(problems, where="a row")
        return {name: value for name, value in request.items() if value is not None}

    def _compile(self, value: Any, field: str) -> _Maker:
        if isinstance(value, str):
            return self._compile_text(value, field)
        if isinstance(value, Mapping):
            makers = {str(name): self._compile(inner, f"{field}.{name}") for name, inner in value.items()}
            return lambda row, problems: {name: make(row, problems) for name, make in makers.items()}
        if isinstance(value, (list, tuple)):
            items = [self._compile(inner, f"{field}[{number}]") for number, inner in enumerate(value)]
            return lambda row, problems: [make(row, problems) for make in items]
        return lambda row, problems: value

    def _compile_text(self, text: str, field: str) -> _Maker:
        parts = _parse(text, field)
        names = [name for _, name, _ in parts if name is not None]
        self.columns.update(names)
        if field in PERSONAL:
            self.personal_columns.update(names)
        if not names:
            constant = "".join(literal for literal, _, _ in parts)
            return lambda row, problems: constant
        if len(parts) == 1 and not parts[0][0] and not parts[0][2]:
            return lambda row, problems: _value(row, names[0], field, problems)
        return lambda row, problems: _format(parts, row, field, problems)


class RowFunction:
    """A user's function from a row to a request."""

    columns: frozenset[str] = frozenset()
    personal_columns = None
    constant_stage = None
    identity: str | None = None

    def __init__(self, function: Callable[[dict[str, Any]], Mapping[str, Any] | None]) -> None:
        self._function = function

    def __call__(self, row: Row) -> dict[str, Any] | None:
        """Return the request of a row, or None to skip it.

        :raises VambeValidationError: when the function failed or returned something else. Its own text stays out: it
            may hold the row.
        """
        try:
            request = self._function(dict(row))
        except Exception as error:  # noqa: BLE001 - one bad row must not end the run
            raise _failed(error) from None
        if request is not None and not isinstance(request, Mapping):
            raise VambeValidationError(
                [f"the ticket function returned {type(request).__name__}, not a dict"], where="a row"
            )
        return None if request is None else dict(request)


def _failed(error: Exception) -> VambeValidationError:
    """Name the kind of the exception and the line of the function; its text may hold the row."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        line, trace = trace.tb_lineno, trace.tb_next
    failed = VambeValidationError([f"the ticket function raised {type(error).__name__} in line {line}"], where="a row")
    failed.exception = f"{type(error).__name__} in line {line}"
    return failed


def check_columns(needed: Iterable[str], present: Iterable[str]) -> None:
    """Refuse a run whose query lacks a column, before anything is sent.

    :raises VambeConfigError: names the missing columns and those that there are.
    """
    there = set(present)
    missing = sorted(set(needed) - there)
    if missing:
        raise VambeConfigError(
            f"The query returns no column {', '.join(map(shown_name, missing))}",
            fix=f"It returns {', '.join(map(shown_name, sorted(there))) or 'none'}; column names are case-sensitive.",
        )


def _parse(text: str, field: str) -> list[tuple[str, str | None, str]]:
    try:
        parts = [
            (literal, name, spec or "", conversion)
            for literal, name, spec, conversion in string.Formatter().parse(text)
        ]
    except ValueError as error:
        raise VambeConfigError(
            f"ticket.{field}: {error}", fix="Write {{ and }} for braces that are meant as such."
        ) from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not name.strip() or any(char in name for char in ".[]") or name.isdigit():
            raise VambeConfigError(
                f"ticket.{field}: {{{name}}} is not the name of a column",
                fix="Name a column; attributes and indexes are not available. Compute the value in the query.",
            )
        if conversion or "{" in spec:
            raise VambeConfigError(f"ticket.{field}: {{{name}}} may have a plain format only, as {{{name}:,.2f}}")
    return [(literal, name, spec) for literal, name, spec, _ in parts]


def _value(row: Row, name: str, field: str, problems: list[str]) -> Any:
    if name not in row:
        problems.append(f"{field}: the row has no column {name}")
        return None
    value = row[name]
    return None if is_null(value) else value


def _format(parts: list[tuple[str, str | None, str]], row: Row, field: str, problems: list[str]) -> str | None:
    texts = []
    for literal, name, spec in parts:
        texts.append(literal)
        if name is None:
            continue
        value = _value(row, name, field, problems)
        if value is None:
            if name in row:
                problems.append(f"{field}: column {name} is null")
            continue
        try:
            text = formatted(value, spec) if spec else readable(value)
        except Exception as error:  # noqa: BLE001 - a value may be of any type, and one row must not end the run
            problems.append(f"{field}: column {name} of type {type(value).__name__} {_why(error, spec)}")
            continue
        texts.append(text or "")
    return "".join(texts)


def _why(error: Exception, spec: str) -> str:
    if spec:
        return f"has no format {spec!r}"
    return f"has no text: {error}" if type(error) is ValueError else "has no text"
