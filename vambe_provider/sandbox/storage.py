"""The SQLite file that lets a restarted sandbox go on with the same tickets."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.model import ChatMessage, Contact, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Thing = Contact | Ticket | ChatMessage


class StateFileError(Exception):
    """The state file cannot be used."""


_PRIVATE = 0o600
_SCHEMA = "CREATE TABLE IF NOT EXISTS thing (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id))"
_PUT = "INSERT INTO thing VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"


class Storage:
    """Contacts, tickets and messages as JSON, written through before the request that changed them is answered.

    :param path: the file; it is created when it is absent.
    :raises StateFileError: when the file is no state file or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            _keep_private(Path(path))
        except OSError as error:
            raise StateFileError(f"{path} cannot be opened as the sandbox's state: {error.strerror}") from error
        # The state's lock already allows only one thread at a time.
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise StateFileError(f"{path} cannot be opened as the sandbox's state: {error}") from error
        try:
            # A killed process loses nothing this way; only a machine that loses power could.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._database.close()
            raise StateFileError(f"{path} cannot be used as the sandbox's state: {error}") from error

    def load(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (kind, fields) of everything, in the order in which it was first written."""
        for kind, body in self._database.execute("SELECT kind, body FROM thing ORDER BY rowid"):
            yield kind, json.loads(body)

    def write(self, things: Mapping[tuple[str, str], Thing | None]) -> None:
        """Write a change in one transaction.

        :param things: what is new, by kind and id; None deletes it.
        """
        self._database.execute("BEGIN")
        for (kind, identity), thing in things.items():
            if thing is None:
                self._database.execute("DELETE FROM thing WHERE kind = ? AND id = ?", (kind, identity))
            else:
                self._database.execute(_PUT, (kind, identity, json.dumps(asdict(thing))))
        self._database.execute("COMMIT")

    def clear(self) -> None:
        """Delete everything."""
        self._database.execute("DELETE FROM thing")

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _keep_private(path: Path) -> None:
    """Make a file that its owner alone can read, or make one private that is there; SQLite's own files follow it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
    if path.is_file() and path.stat().st_uid == os.geteuid():
        path.chmod(_PRIVATE)
