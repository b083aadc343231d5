"""A set of tickets that a person approved: exactly these are sent, and only until the approval ends.

An approval is no permission to send at night: the policy is asked again when a ticket is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Approval:
    """What was approved.

    :param hashes: one hash for each ticket, from :func:`approval_hash`.
    :param expires_at: when the approval ends.
    """

    hashes: frozenset[str]
    expires_at: datetime

    def allows(self, ticket: str, now: datetime) -> bool:
        """Return whether a ticket may be sent; otherwise it is ``not_approved``.

        :param ticket: its hash.
        :param now: the present moment.
        """
        return now < self.expires_at and ticket in self.hashes


def approval_hash(key: str, number: str, request: Mapping[str, Any]) -> str:
    """Return the hash of one ticket as a person saw it.

    :param key: the ticket's key.
    :param number: the number in E.164 form.
    :param request: the rendered request.
    """
    text = json.dumps([key, number, request], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
