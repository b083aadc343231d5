"""What a reply means for a request: one table of moment, status and body. Pure.

What no line of the table names is ``maybe``: the request may have taken effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

Verdict = Literal["no", "refused", "done", "maybe"]


class Body(Enum):
    """What kind of body a reply has."""

    OK = "JSON that does not say that it failed"
    ERROR = "an error in the API's own form"
    OTHER = "anything else: HTML, text, nothing, JSON that says it failed, cut off, too long"


_FAILURE_WORDS = re.compile("fail|error|reject", re.IGNORECASE)
_DEEPEST, _LONGEST = 5, 20
"""How much of an error is looked at."""

REFUSALS = frozenset({400, 401, 403, 404, 413, 422})
SUCCESSES = frozenset(range(200, 300))
_ANY_BODY = frozenset(Body)

# (statuses, bodies, verdict), for a request that has a reply and whose first byte may have left.
TABLE: tuple[tuple[frozenset[int], frozenset[Body], Verdict], ...] = (
    (SUCCESSES, frozenset({Body.OK}), "done"),
    (frozenset({429}), _ANY_BODY, "no"),
    (REFUSALS, frozenset({Body.ERROR}), "refused"),
)


NO_JSON = object()
"""Stands for a body that is not JSON, or not complete."""


def kind_of(payload: object, *, status: int, states: bool = True) -> Body:
    """Say what kind of body a reply has.

    :param payload: the parsed body, or ``NO_JSON``.
    :param status: of the reply.
    :param states: whether ``status`` in the body speaks of the request; in a reply to a read it belongs to what was
        read.
    """
    if is_api_error(payload, status=status) and status not in SUCCESSES:
        return Body.ERROR
    return Body.OTHER if payload is NO_JSON or says_failure(payload, states=states) else Body.OK


def verdict(*, sent: bool, status: int | None, body: Body) -> Verdict:
    """Say whether a request took effect.

    :param sent: whether its first byte may have left this machine.
    :param status: of the reply; None when there was none.
    :param body: of the reply.
    """
    if not sent:
        return "no"
    for statuses, bodies, meaning in TABLE:
        if status in statuses and body in bodies:
            return meaning
    return "maybe"


def is_api_error(payload: object, *, status: int) -> bool:
    """Say whether a body is an error in a form that the API uses: NestJS's, or one with Zod's list of problems.

    How the API writes its errors is not documented. Its backend is NestJS, whose errors have a ``message``, and where
    they repeat the status it is the same. A gateway that answers in the API's place sends something else.

    :param payload: the parsed body.
    :param status: of the reply.
    """
    if not isinstance(payload, Mapping):
        return False
    repeated = payload.get("statusCode")
    if repeated is not None and str(repeated) != str(status):
        return False
    message, errors = payload.get("message"), payload.get("errors")
    return bool(_sentences(message)) or (isinstance(errors, list) and any(map(_sentences, errors)))


def error_words(payload: object) -> str | None:
    """Return what an error says in the fields that errors are known to have; None when it has none of them.

    :param payload: the parsed body of a reply that is an error.
    """
    if not isinstance(payload, Mapping):
        return None
    texts, code = _sentences(payload), payload.get("code")
    if isinstance(code, (str, int)) and not isinstance(code, bool):
        texts.append(f"code {code}")
    return "; ".join(dict.fromkeys(texts)) or None


def _sentences(value: object, depth: int = 0) -> list[str]:
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if depth == _DEEPEST:
        return []
    if isinstance(value, list):
        return [text for item in value[:_LONGEST] for text in _sentences(item, depth + 1)]
    if not isinstance(value, Mapping):
        return []
    texts = [text for name in ("message", "errors", "error") for text in _sentences(value.get(name), depth + 1)]
    path = value.get("path")
    parts = path[:_DEEPEST] if isinstance(path, list) else []
    where = ".".join(str(part) for part in parts if isinstance(part, (str, int)))
    return [f"{where}: {texts[0]}", *texts[1:]] if where and texts else texts


def says_failure(payload: object, *, states: bool = True) -> bool:
    """Return whether a body says that the request failed although its status is a success; see :func:`kind_of`."""
    if not isinstance(payload, Mapping):
        return False
    if payload.get("success") is False or payload.get("ok") is False or payload.get("error"):
        return True
    if not states:
        return False
    nested = payload.get("data")
    found: list[Any] = [payload.get("status"), nested.get("status") if isinstance(nested, Mapping) else None]
    return any(isinstance(state, str) and _FAILURE_WORDS.search(state) for state in found)
