"""A reply before it becomes HTTP, and the error bodies of the API."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vambe_provider.sandbox.config import SandboxConfig


@dataclass(slots=True)
class Reply:
    """What the API answers.

    :param status: the HTTP status.
    :param payload: JSON values.
    :param headers: extra headers.
    :param effect: whether the request changed anything.
    """

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    effect: bool = False

    def body(self) -> bytes:
        """Return the body as it is sent."""
        return json.dumps(self.payload, separators=(",", ":"), ensure_ascii=False).encode()


class ApiError(Exception):
    """The request is refused.

    :param status: the HTTP status.
    :param message: the text of the body.
    :param headers: extra headers.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def reply(self, config: SandboxConfig) -> Reply:
        """Return the reply in NestJS's default form.

        :param config: the switches.
        """
        del config
        return Reply(self.status, error_body(self.status, self.message), self.headers)


class BadBodyError(ApiError):
    """The body does not fit the endpoint.

    :param problems: (field path, text) of each problem.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(400, "; ".join(text for _, text in problems))
        self.problems = problems

    def reply(self, config: SandboxConfig) -> Reply:
        """Return the reply in the configured form.

        :param config: the switches.
        """
        if config.error_shape == "nest_string":
            return Reply(400, error_body(400, self.message))
        if config.error_shape == "nest_list":
            return Reply(400, error_body(400, [text for _, text in self.problems]))
        errors = [
            {"code": "custom", "path": path.split(".") if path else [], "message": text} for path, text in self.problems
        ]
        return Reply(400, {"statusCode": 400, "message": "Validation failed", "errors": errors})


def error_body(status: int, message: str | list[str]) -> dict[str, Any]:
    """Return an error body as NestJS writes it.

    :param status: the HTTP status.
    :param message: one text, or one for each problem.
    """
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    return {"statusCode": status, "message": message, "error": phrase}
