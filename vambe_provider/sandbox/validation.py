"""Whether a body fits the documented data transfer objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.replies import ApiError, BadBodyError

if TYPE_CHECKING:
    from vambe_provider.sandbox.config import SandboxConfig
    from vambe_provider.sandbox.model import JsonObject

# The API's own pattern, from its OpenAPI text.
EMAIL = re.compile(r"(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}")
_OBJECTS = ("contact_metadata", "ticket_metadata", "integration_data")
_IDENTIFIERS = ("ticket_id", "ai_contact_id", "contact_number")
Problems = list[tuple[str, str]]


def check_open_ticket(body: Any, config: SandboxConfig) -> JsonObject:
    """Check the body of an open-ticket request.

    :param body: the parsed body.
    :param config: the switches.
    :returns: the body.
    :raises BadBodyError: naming every problem.
    """
    if not isinstance(body, dict):
        raise BadBodyError([("", "body must be an object")])
    problems: Problems = []
    _check_number(body.get("to_phone_number"), problems)
    if not isinstance(body.get("stage_id"), str) or not body["stage_id"]:
        problems.append(("stage_id", "stage_id must be a string"))
    if "contact_name" in body and not isinstance(body["contact_name"], str):
        problems.append(("contact_name", "contact_name must be a string"))
    if "email" in body and not (isinstance(body["email"], str) and EMAIL.fullmatch(body["email"])):
        problems.append(("email", "email must be an email"))
    for name in _OBJECTS:
        if (name in body or config.strict_required) and not isinstance(body.get(name), dict):
            problems.append((name, f"{name} must be an object"))
    if "message" in body or config.require_message:
        _check_message(body.get("message"), problems)
    if problems:
        raise BadBodyError(problems)
    return body


def _check_number(value: Any, problems: Problems) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and not isinstance(value, str):
        problems.append(("to_phone_number", "to_phone_number must be a number or a string"))
    elif is_number and value < 1:
        problems.append(("to_phone_number", "to_phone_number must not be less than 1"))


def _check_message(message: Any, problems: Problems) -> None:
    if not isinstance(message, dict):
        problems.append(("message", "message must be an object"))
        return
    for name, kind, word in (
        ("content", str, "string"),
        ("templateId", str, "string"),
        ("ai_generated", bool, "boolean"),
    ):
        if name in message and not isinstance(message[name], kind):
            problems.append((f"message.{name}", f"message.{name} must be a {word}"))


def phone_digits(value: object) -> str:
    """Return the digits of a phone number.

    :param value: text or number.
    :raises ApiError: 400, when it cannot be an international number.
    """
    text = str(int(value)) if isinstance(value, float) else str(value)
    digits = re.sub(r"\D", "", text)
    if not 8 <= len(digits) <= 15 or digits.startswith("0"):
        raise ApiError(400, "Invalid phone number")
    return digits


def whatsapp_spelling(digits: str) -> str:
    """Return the digits under which WhatsApp may know a mobile number of Mexico, Argentina or Brazil.

    :param digits: the number as it was dialled: ``52`` and ten digits, ``54`` and ten, ``55``, area code and ``9``.
    """
    if re.fullmatch(r"52\d{10}", digits):
        return f"521{digits[2:]}"
    if re.fullmatch(r"54\d{10}", digits):
        return f"549{digits[2:]}"
    return re.sub(r"^(55\d\d)9(\d{8})$", r"\1\2", digits)


def check_identifiers(body: Any) -> tuple[str, str]:
    """Check the part that setting ticket metadata and amount have in common.

    :param body: the parsed body.
    :returns: the name and the value of the one identifier.
    :raises BadBodyError: when there is none, or more than one.
    """
    if not isinstance(body, dict):
        raise BadBodyError([("", "body must be an object")])
    given = [(name, body[name]) for name in _IDENTIFIERS if body.get(name) is not None]
    if len(given) != 1 or not isinstance(given[0][1], str):
        raise BadBodyError([("", f"exactly one of {', '.join(_IDENTIFIERS)} must be given, as a string")])
    if not isinstance(body.get("allow_closed_ticket", False), bool):
        raise BadBodyError([("allow_closed_ticket", "allow_closed_ticket must be a boolean")])
    return given[0]


def check_text_object(body: JsonObject, name: str) -> JsonObject:
    """Return an object of texts that a body must hold.

    :param body: the parsed body.
    :param name: the field.
    :raises BadBodyError: when it is missing, no object, or has a value that is no text.
    """
    values = body.get(name)
    if not isinstance(values, dict):
        raise BadBodyError([(name, f"{name} must be an object")])
    wrong = [
        (f"{name}.{key}", f"{name}.{key} must be a string") for key, item in values.items() if not isinstance(item, str)
    ]
    if wrong:
        raise BadBodyError(wrong)
    return values
