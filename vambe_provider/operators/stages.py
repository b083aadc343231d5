"""Finds senders and stages before anything is claimed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings, Stage
    from vambe_provider.hooks.vambe import VambeHook

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_sender(settings: ConnectionSettings, *, phone_id: str | None, channel: str | None) -> None:
    """Refuse a sender to which nothing can be posted, before anything is claimed.

    :raises VambeConfigError: when there is no phone id, or none that fits the channel.
    """
    from vambe_provider.api.requests import open_ticket_path

    open_ticket_path(phone_id=phone_id or settings.phone_id, channel=channel or settings.channel)


def refuse_policy(settings: ConnectionSettings) -> None:
    """Refuse a connection with a contact policy where nothing asks it: what nothing asks is not a promise."""
    if settings.contact_policy is not None:
        raise VambeConfigError(
            f"The connection {settings.name} has a contact_policy, which is not available in this version",
            fix="Take it out of the connection's extra, and restrict the query or the schedule instead.",
        )


class Stages:
    """Finds stages by name or id, and asks Vambe as rarely as possible.

    :param hook: reads the pipelines when a name has to be found.
    """

    def __init__(self, hook: VambeHook) -> None:
        self._hook = hook
        self._known: dict[str, Stage | VambeConfigError] = {}

    def id_of(self, name_or_id: str) -> str:
        """Return the id of a stage; what looks like an id is taken as one.

        :raises VambeConfigError: when no stage or more than one has this name; lists what there is.
        """
        return name_or_id.strip() if _UUID.fullmatch(name_or_id.strip()) else self.find(name_or_id).id

    def find(self, name_or_id: str) -> Stage:
        """Return the stage with its pipeline; a name that was not found is not looked for again.

        :raises VambeConfigError: when no stage or more than one fits.
        """
        if name_or_id not in self._known:
            try:
                self._known[name_or_id] = self._hook.find_stage(name_or_id)
            except VambeConfigError as error:
                self._known[name_or_id] = error
        found = self._known[name_or_id]
        if isinstance(found, VambeConfigError):
            raise found
        return found
