"""From a phone number that a visitor typed to what stands for its person in a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from vambe_provider.exceptions import PhoneNumberError

if TYPE_CHECKING:
    from collections.abc import Collection

    from vambe_provider.delivery.person import Persons


def find_persons(source: Persons, phone: str) -> Collection[str]:
    """Return what may stand for the person with this number.

    :raises HTTPException: when it is not a number; the text does not repeat it.
    """
    from vambe_provider.contact_policy.numbers import canonical_number

    try:
        return source.any_of(canonical_number(phone))
    except PhoneNumberError:
        raise HTTPException(400, "This is not a phone number with its country code, such as +56 9 1234 5678.") from None
