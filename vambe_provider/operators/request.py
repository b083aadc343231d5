"""One request out of the arguments of a task: a whole ticket, and single fields that win over it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vambe_provider.operators.arguments import given

_PLACEHOLDER = re.compile(r"\b(?:None|nan|NaN|NaT|undefined)\b|<NA>|\{\{.*?\}\}|\{[A-Za-z_][A-Za-z0-9_.]*\}")
_OBJECTS = ("contact_metadata", "ticket_metadata", "integration_data")


def merged_request(ticket: object, fields: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a request, and what is wrong with the arguments themselves.

    A field that is given on its own replaces that of the ticket; of the three metadata objects, only the names in it
    are replaced. A stage that is given on its own replaces ``stage`` and ``stage_id`` alike.

    :param ticket: the whole request: a dict, or its JSON text or Python literal, which is what a template makes of one.
    :param fields: the single fields by name; null, an empty text and the text ``None`` count as not given.
    """
    request, problems = _whole(ticket)
    for name, argument in fields.items():
        value = argument if name == "message" else given(argument)
        if value is None:
            continue
        if name in _OBJECTS:
            _merge(request, name, value, problems)
        else:
            request[name] = value
    if given(fields.get("stage")) is not None:
        request.pop("stage_id", None)
    message = request.get("message")
    if isinstance(message, (int, float)) and not isinstance(message, bool):
        request["message"] = str(message)  # native rendering makes a number of a text that is only digits
    elif message == "None":
        problems.append("message: its template gave nothing; leave the message out to send none")
    _require_stage(request, problems)
    return request, problems


def placeholders(request: Mapping[str, Any]) -> list[str]:
    """Return what of a request's texts looks like a template that was not filled, or was filled with nothing.

    Such a text reads ``Hola None`` or ``Hola {name}``; a customer should not.
    """
    message = request.get("message")
    content = message.get("content") if isinstance(message, Mapping) else message
    texts = {"message": content, "contact_name": request.get("contact_name")}
    return [
        f"{name}: holds {found.group()!r}, which a template left where a value should be"
        for name, text in texts.items()
        if isinstance(text, str) and (found := _PLACEHOLDER.search(text))
    ]


def _require_stage(request: dict[str, Any], problems: list[str]) -> None:
    for name in ("stage", "stage_id"):
        if given(request.get(name)) is None:
            request.pop(name, None)
    if not request.keys() & {"stage", "stage_id"}:
        problems.append("stage: is missing")
        request["stage_id"] = "missing"  # stands in, so that the other fields are judged too


def _whole(ticket: object) -> tuple[dict[str, Any], list[str]]:
    from vambe_provider.api.texts import mapping_from

    whole = mapping_from(given(ticket))
    if whole is None:
        return {}, []
    if not isinstance(whole, Mapping):
        kind = "text that is no JSON object" if isinstance(whole, str) else type(whole).__name__
        return {}, [f"ticket: a dict of fields is needed, not {kind}"]
    return dict(whole), []


def _merge(request: dict[str, Any], name: str, value: object, problems: list[str]) -> None:
    from vambe_provider.api.texts import mapping_from

    below, above = mapping_from(given(request.get(name))) or {}, mapping_from(value)
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        request[name] = {**below, **above}
    else:
        problems.append(f"{name}: is not an object")
        request.pop(name, None)
