"""The views of the page beside the inbox: a ticket by hand, faults and reset, and the log of requests."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, get_args

from vambe_provider.sandbox.catalog import SENDERS
from vambe_provider.sandbox.endpoints import ENDPOINTS
from vambe_provider.sandbox.faults import Kind
from vambe_provider.sandbox.page_parts import nothing, options, stage_options, text, time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.faults import Fault
    from vambe_provider.sandbox.model import RequestRecord

_REQUESTS = 200
_BODY = 4_000
_ACTION = "/__sandbox__/page"


def open_view(_service: Service, typed: Mapping[str, str]) -> str:
    """Return the form that opens a ticket as a pipeline would."""
    senders = [(item.id, f"{item.id}: {item.name}, {item.channel}") for item in SENDERS.values()]
    return (
        "<h2>Open a ticket by hand</h2><p>As if a pipeline had asked for it. No fault strikes it, and it is not in the "
        f'log of requests.</p><form class="fields" method="post" action="{_ACTION}/open">'
        f'<label>Number <input {_named("phone", typed)} required placeholder="+56 9 6123 4567"></label>'
        f'<label>Name <input {_named("name", typed)} dir="auto"></label>'
        f'<label>Stage <select name="stage">{stage_options(typed.get("stage", ""))}</select></label>'
        f'<label>Sender <select name="phone_id">{options(senders, typed.get("phone_id", ""))}</select></label>'
        '<label class="wide">Message <textarea name="message" rows="3" dir="auto" '
        f'placeholder="without one, the assistant may write">{escape(typed.get("message", ""))}</textarea></label>'
        "<button>Open the ticket</button></form>"
    )


def _named(name: str, typed: Mapping[str, str]) -> str:
    """Return the attributes of a field that keeps what somebody typed before it was refused."""
    return f'name="{name}" value="{escape(typed.get(name, ""))}" autocomplete="off"'


def faults_view(service: Service, typed: Mapping[str, str]) -> str:
    """Return the faults in force, the form for another one, and the buttons that end things."""
    where = ["*", *ENDPOINTS]
    when: list[str | tuple[str, str]] = [("", "as usual for it"), "before", "after"]
    return (
        "<h2>Faults in force</h2>"
        f'<div id="faults">{_faults(service.faults.rules)}</div>'
        "<h2>Let something go wrong</h2><p>The parameters are those of <code>Fault</code>; what is left empty has its "
        f'default.</p><form class="fields" method="post" action="{_ACTION}/fault">'
        f'<label>What <select name="kind">{options(get_args(Kind), typed.get("kind", ""))}</select></label>'
        f'<label>Where <select name="where">{options(where, typed.get("where", "open_ticket"))}</select></label>'
        f'<label>When <select name="when">{options(when, typed.get("when", ""))}</select></label>'
        f'<label>How often <input {_named("times", typed)} placeholder="1, 5 or forever"></label>'
        f'<label>Status <input {_named("status", typed)} inputmode="numeric" placeholder="500"></label>'
        f'<label>Seconds <input {_named("seconds", typed)} inputmode="decimal"></label>'
        f'<label>Number <input {_named("phone", typed)} placeholder="all numbers"></label>'
        "<button>Put in force</button></form>"
        "<h2>Reset</h2><p>Forgets all tickets, contacts, messages, requests, faults and changed switches.</p>"
        f'<details class="sure"><summary>Reset …</summary><form method="post" action="{_ACTION}/reset">'
        '<button class="danger">Forget everything</button></form></details>'
    )


def _faults(rules: Iterable[Fault]) -> str:
    rows = "".join(
        f"<tr><td>{escape(rule.kind)}</td><td>{escape(rule.where)}</td><td>{escape(str(rule.when))}</td>"
        f"<td>{text(_left(rule))}</td><td>{rule.hits:,} of {rule.seen:,}</td></tr>"
        for rule in rules
    )
    if not rows:
        return nothing("None. Every request is answered as it should be.")
    head = "".join(f"<th>{name}</th>" for name in ("What", "Where", "When", "Left", "Struck, of requests seen"))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Faults in force"><table><thead><tr>{head}</tr>'
        f'</thead><tbody>{rows}</tbody></table></div><form method="post" action="{_ACTION}/clear">'
        f'<button class="quiet">Remove all, and let hanging requests go on</button></form>'
    )


def _left(rule: Fault) -> str:
    return str(rule.times) if not isinstance(rule.times, int) else f"{max(0, rule.times - rule.hits):,}"


def requests_view(service: Service, _typed: Mapping[str, str]) -> str:
    """Return the newest requests, the last one first."""
    records = list(service.state.requests)[-_REQUESTS:]
    rows = "".join(_request(record) for record in reversed(records))
    total = service.state.request_count
    head = "".join(f"<th>{name}</th>" for name in ("Time", "Request", "Number", "Status", "Effect", "Fault", "Body"))
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Requests"><table><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return (
        f'<h2>Requests to the API</h2><div id="requests"><p role="status">The newest {len(records):,} of {total:,}.</p>'
        f"{table if rows else nothing('Nobody has asked yet.')}</div>"
    )


def _request(record: RequestRecord) -> str:
    query = "".join(f" {name}={value}" for name, value in record.query.items())
    status = "…" if record.status is None else record.status
    kind = "bad" if isinstance(status, int) and status >= 400 else ""
    return (
        f"<tr><td>{time(record.time)}</td><td><b>{escape(record.endpoint)}</b><br><code>{escape(record.method)} "
        f"{escape(record.path)}</code>{text(query)}</td><td>{escape(record.phone or '')}</td>"
        f'<td class="{kind}">{status}</td><td>{"yes" if record.effect else ""}</td>'
        f"<td>{escape(record.fault or '')}</td><td>{_body(record)}</td></tr>"
    )


def _body(record: RequestRecord) -> str:
    if record.body is None:
        return ""
    shown: Any = json.dumps(record.body, indent=1, ensure_ascii=False)
    cut = shown if len(shown) <= _BODY else f"{shown[:_BODY]} …"
    key = f"r-{record.time}-{id(record):x}"
    return f'<details id="{key}"><summary>show</summary><pre dir="auto">{escape(cut)}</pre></details>'


VIEWS: dict[str, Callable[[Service, Mapping[str, str]], str]] = {
    "open": open_view,
    "faults": faults_view,
    "requests": requests_view,
}
"""The views beside the inbox, by their name in the address: from the sandbox and what was typed to the HTML."""
