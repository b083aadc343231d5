"""From a JSON object to the switches or a rule of the sandbox, or to a sentence that says what is wrong."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def described(kind: type[T], values: dict[str, Any], word: str) -> T:
    """Return what a JSON object describes.

    :param kind: a pydantic dataclass.
    :param values: its parameters by name.
    :param word: what one of them is called.
    :raises ValueError: when a name or a value is wrong.
    """
    known = sorted(item.name for item in fields(kind) if item.init)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"there is no {word} {', '.join(unknown)}; there are: {', '.join(known)}")
    try:
        return kind(**values)
    except ValidationError as error:
        wrong: dict[str, list[str]] = {}
        for item in error.errors(include_url=False):
            wrong.setdefault(str(item["loc"][0]), []).append(item["msg"].removeprefix("Value error, "))
        said = [f"{name}: {values.get(name)!r} does not fit: {' or '.join(why)}" for name, why in wrong.items()]
        raise ValueError("; ".join(said)) from error
