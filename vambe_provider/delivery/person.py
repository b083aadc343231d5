"""What stands for a person wherever a number must not: a hash of the canonical number."""

from __future__ import annotations

import hashlib
import hmac
import re

from vambe_provider.delivery.key import digest

_LENGTH = 32


class Persons:
    """From numbers to what the ledger holds in their place.

    :param secret: ``[vambe] person_secret``. Without one the hash keeps a number out of sight, not out of reach: who
        can try all numbers of a country finds it again.
    """

    def __init__(self, secret: str | None = None) -> None:
        self.secret = secret
        self._secret = secret.encode() if secret else None

    def of(self, e164: str) -> str:
        """Return the 32 hexadecimal characters that stand for a canonical number, such as ``+56912345678``."""
        return self._hash("person", f"+{re.sub('[^0-9]', '', e164)}")

    def any_of(self, number: str) -> frozenset[str]:
        """Return what may stand for the person with this number, in any spelling that WhatsApp or Vambe knows."""
        from vambe_provider.contact_policy.numbers import number_aliases

        return frozenset(self.of(alias) for alias in number_aliases(number))

    def check(self) -> str:
        """Return what tells this secret from another, and says nothing about it."""
        return self._hash("check", "person_secret")

    def _hash(self, kind: str, text: str) -> str:
        if self._secret is None:
            return digest(kind, text)
        return hmac.digest(self._secret, f"{kind}\n{text}".encode(), hashlib.sha256).hex()[:_LENGTH]
