"""What the Vambe connections say about the accounts in a ledger: where conversations are, and the rate of a sender."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from vambe_provider.ui.access import option

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings
    from vambe_provider.api.rate import Rate

log = logging.getLogger(__name__)

_FRESH = 300.0
"""Seconds for which a connection is believed; a secrets backend may be slow."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The settings of the connections that ``[vambe] conn_ids`` names, by account."""

    settings: tuple[ConnectionSettings, ...] = ()

    def conversation(self, account: str, contact: str | None) -> str | None:
        """Return where the conversation with a contact is, always below the ``app_url`` of a connection of the account;
        None when there is none.

        The ledger does not know the pipeline, which the web app leaves out of an address as well as it can.
        """
        found = next((one for one in self.settings if one.account == account), None)
        if found is None or not contact:
            return None
        return f"{found.app_url}/pipeline?{urlencode({'chatContactId': contact})}"

    def rate(self, account: str, sender: str) -> tuple[Rate | None, bool]:
        """Return the rate of a sender, None for no limit, and whether any connection says so.

        :param sender: as ``channel/phone_id``.
        """
        channel, _, phone_id = sender.partition("/")
        same = [one for one in self.settings if one.account == account]
        if not same:
            return None, False
        chosen = next((one for one in same if one.phone_id == phone_id), same[0])
        return chosen.rate_for(channel), True


class AccountReader:
    """Reads the connections now and then."""

    def __init__(self) -> None:
        self._kept: tuple[float, Accounts] | None = None

    def read(self) -> Accounts:
        """Return what the connections say; one that cannot be read is left out, and the log names it."""
        kept = self._kept
        if kept is None or time.monotonic() - kept[0] > _FRESH:
            kept = time.monotonic(), Accounts(tuple(_settings()))
            self._kept = kept
        return kept[1]


def _settings() -> list[ConnectionSettings]:
    from vambe_provider.hooks.vambe import VambeHook

    found = []
    for conn_id in filter(None, (part.strip() for part in (option("conn_ids") or "vambe_default").split(","))):
        try:
            found.append(VambeHook(conn_id).settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the page does without
            log.info("The ledger page cannot use the connection %s: %s", conn_id, type(error).__name__)
    return found
