"""Pieces of HTML that several views of the page have in common; every text that comes from outside is escaped here."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.catalog import PIPELINES, STAGES
from vambe_provider.sandbox.model import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vambe_provider.sandbox.catalog import Pipeline
    from vambe_provider.sandbox.model import Contact
    from vambe_provider.sandbox.state import SandboxState


@cache
def static(name: str) -> str:
    """Return a file of the folder ``static``."""
    return files("vambe_provider.sandbox").joinpath("static", name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """Return a text of somebody else, whose direction follows from its letters."""
    return f"<bdi>{escape(str(value))}</bdi>"


def name_of(contact: Contact) -> str:
    """Return what a contact is called."""
    return text(contact.name or f"+{contact.phone}")


def time(milliseconds: int) -> str:
    """Return a time, which the page's script writes in the reader's own zone."""
    value = iso(milliseconds) or ""
    return f'<time datetime="{value}" title="{value}">{value[11:19]} UTC</time>'


def nothing(words: str) -> str:
    """Return what stands where there is nothing."""
    return f'<p class="empty">{words}</p>'


def definitions(values: Mapping[str, Any]) -> str:
    """Return names and values; those that are None are left out. A value that is HTML already is a tuple of one."""
    rows = "".join(
        f"<dt>{text(key)}</dt><dd>{value[0] if isinstance(value, tuple) else text(value)}</dd>"
        for key, value in values.items()
        if value is not None
    )
    return f"<dl>{rows}</dl>"


def hidden(name: str, value: str) -> str:
    """Return a field that nobody sees."""
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def options(values: Iterable[str | tuple[str, str]], current: str = "") -> str:
    """Return the choices of a select: values, or pairs of a value and what is shown."""
    pairs = [(value, value) if isinstance(value, str) else value for value in values]
    return "".join(
        f'<option value="{escape(value)}"{" selected" if value == current else ""}>{escape(shown)}</option>'
        for value, shown in pairs
    )


def stage_options(current: str = "") -> str:
    """Return the choices of a select of stages, by pipeline."""

    def group(pipeline: Pipeline) -> str:
        stages = options([(stage.id, stage.name) for stage in pipeline.stages], current)
        return f'<optgroup label="{escape(pipeline.name)}">{stages}</optgroup>'

    return "".join(map(group, PIPELINES))


def stage_tag(state: SandboxState, contact: Contact) -> str:
    """Return the stage of a contact's ticket, or that it is closed."""
    ticket = state.tickets.get(contact.active_ticket_id or "")
    if ticket is None:
        return '<span class="tag closed">closed</span>' if contact.last_closed_ticket_id else ""
    return f'<span class="tag">{escape(STAGES[ticket.stage_id].name)}</span>'
