"""What a failed look means, and how many of them a wait bears."""

from __future__ import annotations

from vambe_provider.exceptions import VambeAuthError, VambeConfigError, VambeError, VambeRefusedError

MAX_FAILURES = 30
"""Failed looks in a row that a wait bears by default: half an hour at the default interval."""
FINAL_LOOKS = 3
"""Looks in a row after which a refusal of the API itself is final."""


def refuses_the_key(error: BaseException) -> bool:
    """Return whether the API does not know the key; it may just be changing."""
    return isinstance(error, VambeAuthError) and error.status == 401


def is_refusal(error: BaseException) -> bool:
    """Return whether the API itself says no to what was asked for, such as a contact that does not exist.

    Once is not enough: a gateway can speak in its place for a moment.
    """
    return isinstance(error, VambeRefusedError) and not refuses_the_key(error)


def is_mistake(error: BaseException) -> bool:
    """Return whether an argument or the connection is wrong; a redirect may be a gateway's and is not one."""
    return isinstance(error, VambeConfigError) and error.status is None


def is_asked_to_wait(error: BaseException) -> bool:
    """Return whether the API says when to come again, which costs no patience."""
    return isinstance(error, VambeError) and (error.status == 429 or error.retry_after is not None)


def kind_of(error: BaseException) -> str:
    """Return a short name of an error; the text of another library's may hold anything."""
    return str(getattr(error, "kind", type(error).__name__))


class Patience:
    """How many failed looks in a row a wait bears. Others may look more often: one counts for each of its intervals.

    :param looks: that may fail, the last one ending the wait.
    :param interval: seconds between two looks of this wait.
    """

    def __init__(self, looks: int, interval: float) -> None:
        self._looks = looks
        self._interval = interval
        self._failed = 0
        self._counted_at = float("-inf")
        self.error: BaseException | None = None
        """Why the last look failed; None after a good one."""

    def good(self) -> None:
        """Note a look that worked."""
        self._failed, self._counted_at, self.error = 0, float("-inf"), None

    def fail(self, error: BaseException, *, now: float) -> bool:
        """Note a look that failed, and return whether that was one too many.

        :param now: by the monotonic clock.
        """
        self.error = error
        # A little less than the interval, since rounds come with jitter.
        if not is_asked_to_wait(error) and now - self._counted_at >= self._interval * 0.8:
            self._failed, self._counted_at = self._failed + 1, now
        return self._failed >= self._looks


class Refusals:
    """How often in a row the API has said no to one contact, and since when."""

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0
        self.error: BaseException | None = None

    def good(self) -> None:
        """Note that the contact could be read."""
        self._count, self.error = 0, None

    def add(self, error: BaseException, *, now: float) -> None:
        """Note one.

        :param now: by the monotonic clock.
        """
        self._since = self._since if self._count else now
        self._count, self.error = self._count + 1, error

    def final(self, interval: float, *, now: float) -> bool:
        """Return whether that is the answer: it was repeated over some looks of a wait.

        :param interval: seconds between two looks of the wait.
        """
        return self._count >= FINAL_LOOKS and now - self._since >= interval * (FINAL_LOOKS - 1) * 0.8
