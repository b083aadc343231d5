"""A place for the rows that a slow reader has not taken yet, so that the statement behind them can end."""

from __future__ import annotations

import io
import pickle
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vambe_provider.delivery import clock
from vambe_provider.exceptions import VambeDeliveryError

if TYPE_CHECKING:
    from vambe_provider.transfers.streams import Batch, Stream

PATIENCE = 30.0
"""Seconds for which a statement waits for a slow reader, added up, before the rest of its rows goes to the spool."""
_AHEAD = 3
"""Batches that are read ahead in memory."""


class _Pickler(pickle.Pickler):
    """Pickles what drivers return; a view of memory as its bytes."""

    dispatch_table = {memoryview: lambda view: (bytes, (view.tobytes(),))}


class Spool:
    """Batches of rows in a file that has no name, encrypted with a key that exists in this process only.

    The file is deleted as it is made (mode 0600 where it has to have a name), so that neither another user nor a later
    look at the disk finds rows in it.
    """

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._file = tempfile.TemporaryFile(prefix="vambe-")  # noqa: SIM115 - closed by close()
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._places: deque[tuple[int, int, int]] = deque()
        self._end = self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def append(self, batch: Batch) -> None:
        """Add a batch."""
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(list(batch))
        sealed = self._cipher.encrypt(self._count.to_bytes(12, "big"), buffer.getbuffer(), None)
        with self._lock:
            self._file.seek(self._end)
            self._file.write(sealed)
            self._places.append((self._end, len(sealed), self._count))
            self._end += len(sealed)
            self._count += 1

    def pop(self) -> Batch | None:
        """Take the first batch that is left; None when there is none now."""
        with self._lock:
            if not self._places:
                return None
            place, length, number = self._places.popleft()
            self._file.seek(place)
            sealed = self._file.read(length)
        opened = self._cipher.decrypt(number.to_bytes(12, "big"), sealed, None)
        # What this process wrote itself a moment ago: the cipher refuses anything else.
        batch: Batch = pickle.loads(opened)  # noqa: S301
        return batch

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


class ReadAhead:
    """Reads a result in a thread of its own, which is the only one that touches the database.

    A statement that has waited long enough for its reader is read to its end, into a :class:`Spool`.

    :param open_stream: opens the result; called, read and closed in that thread.
    :param patience: seconds that a statement waits for its reader, added up.
    """

    def __init__(self, open_stream: Callable[[], AbstractContextManager[Stream]], *, patience: float) -> None:
        self._open_stream, self._patience = open_stream, patience
        self._stream: Stream | None = None
        self._ready: deque[Batch] = deque()
        self._spool: Spool | None = None
        self._error: BaseException | None = None
        self._ended = self._closing = False
        self._stays = False  # values of a driver's own kind cannot leave the memory, so that the statement has to wait
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="vambe-query", daemon=True)

    def start(self) -> Stream:
        """Run the query; return what its result looks like.

        :raises Exception: whatever the database's driver raised.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._stream is not None or self._ended)
            if self._stream is None:
                raise self._error or RuntimeError("the query ended without a result")
            return self._stream

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in their order, then raise what ended the reading too early."""
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                batch = self._ready.popleft() if self._ready else None
                self._changed.notify_all()
            if batch is None and self._spool is not None:
                batch = self._spool.pop()
            if batch is not None:
                yield batch
            elif self._error is not None:
                raise self._error
            else:
                return

    def close(self) -> None:
        """End the reading, also when not all rows were taken."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        if self._spool is not None:
            self._spool.close()

    def _has_news(self) -> bool:
        return bool(self._ready or (self._spool is not None and len(self._spool)) or self._ended)

    def _read(self) -> None:
        try:
            with self._open_stream() as stream:
                self._tell(stream=stream)
                for batch in stream.batches:
                    self._put(batch, detached=stream.detached)
                    if self._closing:
                        break
        except BaseException as error:  # noqa: BLE001 - it is the reader's
            self._error = error
        self._tell(ended=True)

    def _tell(self, *, stream: Stream | None = None, ended: bool = False) -> None:
        with self._changed:
            self._stream = stream or self._stream
            self._ended = ended
            self._changed.notify_all()

    def _put(self, batch: Batch, *, detached: bool) -> None:
        if not self._has_room(detached=detached) and self._put_aside(batch):
            return
        with self._changed:
            self._ready.append(batch)
            self._changed.notify_all()

    def _has_room(self, *, detached: bool) -> bool:
        """Wait until the reader has taken enough; return False when the statement must not wait any longer."""
        with self._changed:
            while self._spool is None and len(self._ready) >= _AHEAD and not self._closing:
                began = clock.now()
                self._changed.wait(None if detached or self._stays else self._patience)
                if detached or self._stays:
                    continue
                self._patience = max(self._patience - (clock.now() - began), 0.0)
                if not self._patience:
                    return False
            return self._spool is None

    def _put_aside(self, batch: Batch) -> bool:
        """Write a batch to the spool; return False when its rows can only wait in memory."""
        try:
            spool = self._spool or Spool()
            spool.append(batch)
        except OSError as error:
            raise VambeDeliveryError(
                f"sql: the rows could not be put aside for a slow reader: {type(error).__name__} {error.errno}",
                fix="Rows that were sent are recorded. Give the folder of temporary files (TMPDIR) more room.",
            ) from None
        except (pickle.PicklingError, TypeError, AttributeError):
            if self._spool is not None:
                raise VambeDeliveryError(
                    "sql: a row has a value of a type that cannot be put aside for a slow reader",
                    fix="Rows that were sent are recorded. Cast the columns to text or numbers in the query.",
                ) from None
            spool.close()
            self._stays = True
            self._has_room(detached=True)
            return False
        with self._changed:
            self._spool = spool
            self._changed.notify_all()
        return True
