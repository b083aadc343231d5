"""From data to HTML. Every value is escaped by the templates, and made printable before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from vambe_provider import __version__
from vambe_provider.delivery.key import printable
from vambe_provider.ui import words
from vambe_provider.ui.decisions import WORDS
from vambe_provider.ui.queries import dag_of_entry

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.entry import Entry
    from vambe_provider.ui.queries import Filter


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("vambe_provider.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.globals.update(version=__version__, decision_words=WORDS)
    made.filters.update(
        as_query=as_query,
        dag=dag_of_entry,
        evidence=words.evidence_text,
        iso=lambda moment: f"{moment.isoformat(timespec='seconds')}Z",
        minute=lambda moment: f"{moment:%Y-%m-%d %H:%M}",
        query=query,
        reason=words.reason_text,
        run=lambda ticket: ticket.dag_run.partition("/")[2],
        seen=seen,
        segment=lambda text: quote(text, safe=""),
        sent=words.sent_text,
        state_label=words.state_label,
        state_meaning=words.state_meaning,
        thousands=lambda number: f"{number:,}",
        utc=_utc,
    )
    return made


def query(values: Mapping[str, object]) -> str:
    """Return the query of an address with those values that are not empty."""
    return f"?{urlencode({name: value for name, value in values.items() if value})}"


def as_query(wanted: Filter, ledger: str, **changed: str) -> str:
    """Return the query of the list with this filter."""
    return query({"ledger": ledger, **asdict(wanted), **changed})


def seen(ticket: Entry) -> str:
    """Return what tells whether a ticket is still as its visitor saw it."""
    return f"{ticket.state}.{ticket.attempts}.{ticket.updated_at.isoformat()}"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value
