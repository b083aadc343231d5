"""Every error that this provider raises.

::

    VambeError                        sent: "no" | "maybe" | "yes"; status; retry_after; fix
    ├── VambeConfigError              the connection or an argument is wrong; nothing was sent
    ├── VambeValidationError          the data of one ticket is wrong; nothing was sent; names every problem
    │   └── PhoneNumberError          the number cannot be a WhatsApp number
    ├── VambeNotAllowedError          the contact policy does not allow it now; nothing was sent
    ├── VambeNotSentError             the request did not reach Vambe (DNS, connect, TLS, no free connection)
    │   ├── VambeLeaseOverError       its claim ran out before the request left
    │   └── VambeRateLimitError       429: Vambe turned the request away; retry_after says for how long
    ├── VambeRefusedError             Vambe read the request and said no: 400, 404, 413, 422; about: "row" | "run"
    │   └── VambeAuthError            401 or 403: the API key is wrong, or may not do this
    ├── VambeReadError                a read failed: timeout, broken connection, 5xx, odd reply
    ├── VambeMaybeSentError           nobody can tell whether it happened: timeout, broken connection, 5xx, odd reply
    └── VambeDeliveryError            a delivery did not come to a good end
        ├── VambeUnknownOutcomeError  a ticket may exist; a person has to decide
        ├── VambeLedgerError          the ledger cannot be used, so nothing is posted
        └── VambeTicketHeldError      another task is sending this ticket right now

``sent`` answers the only question that matters after a failed POST: may a customer have been messaged? "no" is safe to
repeat, "yes" is not, and "maybe" has to be reconciled first. Texts never hold a key, a full phone number, an e-mail
address or a message.
"""

from __future__ import annotations

from typing import Any, Literal

Sent = Literal["no", "maybe", "yes"]
About = Literal["row", "run"]

_MEANING: dict[Sent, str] = {"no": "Nothing was sent.", "maybe": "It may have been sent.", "yes": "It was sent."}


class VambeError(Exception):
    """Base of all errors of this provider.

    :param message: what happened, without personal data.
    :param fix: what the reader can do about it; appended to the text.
    :param status: the HTTP status, when there was a reply.
    :param said: what the API said, already cut and free of personal data.
    :param retry_after: seconds that the API asked to wait.
    """

    sent: Sent = "no"
    tells_sent: bool = True
    """Whether the text ends with what ``sent`` means; of little sense for an error about many tickets."""
    permanent: bool = False
    """True when the same request would fail in the same way again, so that a task retry is of no use."""

    def __init__(
        self,
        message: str,
        *,
        fix: str | None = None,
        status: int | None = None,
        said: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message
        self.fix = fix
        self.status = status
        self.said = said
        self.retry_after = retry_after
        self.connection: str | None = None
        super().__init__(self.describe())

    def name_connection(self, connection: str | None) -> None:
        """Put the name of the Airflow connection in front of the text, unless one is there.

        :param connection: its id; None or empty when it is not known.
        """
        if connection and self.connection is None:
            self.connection = connection
            self.message = f"connection {connection}: {self.message}"
            self.args = (self.describe(),)

    @property
    def kind(self) -> str:
        """A short stable name for reports and the ledger, as ``refused`` or ``http_404``."""
        name = type(self).__name__.removeprefix("Vambe").removesuffix("Error")
        base = "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_") or "error"
        return f"{base}_{self.status}" if self.status else base

    def describe(self) -> str:
        """Return the whole text: what happened, what the API said, whether it was sent, and the way out."""
        parts = [self.message.rstrip(".") + "."]
        if self.said:
            parts.append(f"Vambe said: {self.said.rstrip('.')}.")
        if self.tells_sent:
            parts.append(_MEANING[self.sent])
        if self.fix:
            parts.append(self.fix)
        return " ".join(parts)


class VambeConfigError(VambeError):
    """The connection or an argument is wrong; nothing was sent."""

    permanent = True


class VambeValidationError(VambeError):
    """The data of one ticket is wrong; nothing was sent.

    :param problems: one text for each wrong field, as ``email: not an e-mail address``.
    :param where: what the data belongs to, as ``row order_id=1042``.
    """

    permanent = True
    exception: str = ""
    """What a ticket function raised, and where; empty when it raised nothing."""

    def __init__(self, problems: list[str], *, where: str = "the ticket", fix: str | None = None) -> None:
        self.problems = problems
        self.where = where
        super().__init__(f"{where} cannot be sent: {'; '.join(problems)}", fix=fix)


class PhoneNumberError(VambeValidationError):
    """The number cannot be a WhatsApp number; the text says why and never holds the number.

    :param problems: one text, without the number.
    :param where: what the number belongs to.
    :param reason: a short stable code; ``vambe_provider.contact_policy.reasons`` lists them.
    """

    def __init__(
        self, problems: list[str], *, where: str = "the ticket", fix: str | None = None, reason: str = "invalid"
    ) -> None:
        self.reason = reason
        super().__init__(problems, where=where, fix=fix)


class VambeNotAllowedError(VambeError):
    """The contact policy does not allow a ticket, or not now; nothing was sent.

    :param reason: a short stable code; ``vambe_provider.contact_policy.reasons`` lists them.
    """

    def __init__(self, message: str, *, reason: str, **details: Any) -> None:
        self.reason = reason
        super().__init__(message, **details)

    @property
    def kind(self) -> str:
        """The reason, by which reports count."""
        return self.reason


class VambeNotSentError(VambeError):
    """The request did not reach Vambe; repeating it is safe."""


class VambeLeaseOverError(VambeNotSentError):
    """The claim of a ticket ran out before its request left, so somebody else may have taken it."""


class VambeRateLimitError(VambeNotSentError):
    """Vambe answered 429; repeating it after ``retry_after`` seconds is safe."""


class VambeRefusedError(VambeError):
    """Vambe read the request and refused it; repeating it unchanged is of no use.

    :param about: ``row`` when Vambe's own words speak of what this one request says, such as its phone number, its
        stage or a field. ``run`` when they speak of what all requests have in common (the key, the address, the credit,
        the sender), or say nothing that is recognised: then the row is not to blame.
    """

    permanent = True

    def __init__(self, message: str, *, about: About = "run", **details: Any) -> None:
        self.about: About = about
        super().__init__(message, **details)


class VambeAuthError(VambeRefusedError):
    """Vambe answered 401 or 403: the API key is wrong, or may not do this."""


class VambeReadError(VambeError):
    """A request that only reads failed after it had left; nothing was changed, and repeating it is safe.

    It is no :class:`VambeNotSentError`, so that a failed look-up is never taken for a ticket that was not sent.
    """


class VambeMaybeSentError(VambeError):
    """Nobody can tell from the reply whether the request took effect; reconcile before repeating it."""

    sent: Sent = "maybe"


class VambeDeliveryError(VambeError):
    """A delivery did not come to a good end; the text says how many rows, and which error came first."""

    tells_sent = False


class VambeUnknownOutcomeError(VambeDeliveryError):
    """A ticket may exist and no check could tell; a person has to decide with ``ledger resolve``."""

    sent: Sent = "maybe"
    permanent = True


class VambeLedgerError(VambeDeliveryError):
    """The ledger cannot be used, so nothing is posted."""


class VambeTicketHeldError(VambeDeliveryError):
    """Another task holds the lease of this ticket, so this one must not send it."""
