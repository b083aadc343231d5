"""Which requests go wrong, and how: the rules, without any networking."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import field, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from vambe_provider.sandbox.described import described
from vambe_provider.sandbox.endpoints import ENDPOINTS

Kind = Literal[
    "status",
    "drop",
    "hang",
    "truncated",
    "malformed",
    "failure_body",
    "huge",
    "redirect",
    "slow",
    "rate_limit",
    "close_after_reply",
    "missing_id",
    "bad_status",
    "message_fails",
]
When = Literal["before", "after"]
# Faults in the reply make most sense when the ticket exists; the others stop the request at the door.
_USUALLY_AFTER = (
    "truncated",
    "malformed",
    "failure_body",
    "huge",
    "slow",
    "close_after_reply",
    "missing_id",
    "bad_status",
    "message_fails",
)


def _an_endpoint(where: str) -> str:
    if where != "*" and where not in ENDPOINTS:
        raise ValueError(f"it is not one of *, {', '.join(ENDPOINTS)}")
    return where


@dataclass(
    kw_only=True,
    slots=True,
    eq=False,
    config=ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True),
)
class Fault:
    """One rule: which requests it hits, and what happens to them.

    Which requests: those of ``where`` that also fit ``phone`` and ``reused`` are counted; of these ``nth``, ``every``
    and ``probability`` choose; ``times`` limits how often.

    :param kind: what goes wrong:
        ``status`` answers with ``status`` and ``body``, in whose JSON stands what it ``says``;
        ``drop`` breaks the connection without a reply, by ``mode``;
        ``hang`` waits ``seconds``, or until it is released, and then goes on as if nothing had been;
        ``truncated`` promises more bytes than it sends; ``malformed`` sends broken JSON;
        ``failure_body`` sends 200 with a body that says it failed, by ``failure``;
        ``huge`` sends ``size`` bytes, without a length when ``chunked``;
        ``redirect`` sends ``status`` (307) to ``location``;
        ``slow`` sends the reply byte by byte with ``seconds`` between two;
        ``rate_limit`` sends 429 with ``retry_after`` written as ``retry_after_form``;
        ``close_after_reply`` replies well, announces keep-alive, and closes ``seconds`` later;
        ``missing_id`` leaves ``aiContactId`` out; ``bad_status`` says ``status`` "pending";
        ``message_fails`` opens the ticket, sends no message and answers 500.
    :param where: an endpoint, named as the client's method (``open_ticket``), or ``*``.
    :param when: ``before`` or ``after`` the request has its effect; the default depends on the kind.
    :param nth: only from the n-th counted request on.
    :param every: only every k-th counted request.
    :param probability: only this share of the counted requests, decided by ``seed``.
    :param times: how often at most, or ``forever``; by default once, and forever with ``every`` or ``probability``.
    :param phone: only requests for this number: its digits, or a part of them; in Python also a function of the digits.
    :param contact: only requests with this id in their path.
    :param reused: only requests on a connection that has (True) or has not (False) carried one before.
    """

    kind: Kind
    where: Annotated[str, AfterValidator(_an_endpoint)] = "*"
    when: When | None = None
    nth: PositiveInt | None = None
    every: PositiveInt | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int = 0
    times: NonNegativeInt | Literal["forever"] | None = None
    phone: str | Callable[[str], bool] | None = None
    contact: str | None = None
    reused: bool | None = None
    status: int | None = None
    says: str | None = None
    body: Literal["json", "html", "empty"] = "json"
    mode: Literal["reset", "close", "half_close"] = "reset"
    seconds: NonNegativeFloat | None = None
    failure: Literal["success", "status", "ok"] = "success"
    size: NonNegativeInt = 2 * 1024 * 1024
    chunked: bool = False
    location: str = "http://127.0.0.1:9/elsewhere"
    retry_after: NonNegativeFloat = 1
    retry_after_form: Literal["seconds", "date", "none"] = "seconds"
    id: int = field(init=False, default=0)
    seen: int = field(init=False, default=0)
    hits: int = field(init=False, default=0)
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fill in what depends on the kind."""
        self._random = random.Random(self.seed)  # noqa: S311
        if self.when is None:
            self.when = "after" if self.kind in _USUALLY_AFTER else "before"
        if self.times is None:
            self.times = "forever" if self.every or self.probability is not None else 1
        if self.status is None:
            self.status = 307 if self.kind == "redirect" else 500
        if isinstance(self.phone, str):
            self.phone = re.sub(r"\D", "", self.phone)

    def fits(self, where: str, phone: str | None, *, reused: bool, contact: str | None = None) -> bool:
        """Tell whether the rule counts a request."""
        if self.where not in ("*", where) or (self.reused is not None and self.reused != reused):
            return False
        if self.contact is not None and self.contact != contact:
            return False
        if self.phone is None:
            return True
        if phone is None:
            return False
        return self.phone in phone if isinstance(self.phone, str) else self.phone(phone)

    @property
    def spent(self) -> bool:
        """Whether the rule has struck as often as it may."""
        return isinstance(self.times, int) and self.hits >= self.times

    def strikes(self) -> bool:
        """Count a request that fits, and tell whether the rule hits it."""
        self.seen += 1
        if self.spent:
            return False
        if self.nth is not None and self.seen < self.nth:
            return False
        if self.every is not None and self.seen % self.every:
            return False
        return self.probability is None or self._random.random() < self.probability

    def as_dict(self) -> dict[str, Any]:
        """Return the rule and its counts as plain JSON values."""
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "_random"}
        return shown | {"phone": "function" if callable(self.phone) else self.phone}


class FaultSet:
    """The rules in force, in the order in which they were added."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force.

        :param fault: the rule.
        :returns: the same rule, with its id.
        """
        fault.id = next(self._ids)
        self.rules.append(fault)
        return fault

    def in_force(self) -> int:
        """Return how many rules can still strike."""
        return sum(not rule.spent for rule in self.rules)

    def needs_phone(self, where: str) -> bool:
        """Tell whether the number of a request has to be known to choose a rule."""
        return any(rule.phone is not None and rule.where in ("*", where) for rule in self.rules)

    def pick(self, where: str, phone: str | None, *, reused: bool, contact: str | None = None) -> Fault | None:
        """Count a request in every rule that fits it, and return the first rule that hits it.

        :param where: the endpoint's name.
        :param phone: digits of the number in the request, when known.
        :param reused: whether the connection has carried a request before.
        :param contact: the id in its path, if there is one.
        """
        fitting = [rule for rule in self.rules if rule.fits(where, phone, reused=reused, contact=contact)]
        striking = [rule for rule in fitting if rule.strikes()]
        if not striking:
            return None
        striking[0].hits += 1
        return striking[0]


def make_fault(description: dict[str, Any]) -> Fault:
    """Return the rule that a JSON object describes.

    :param description: the parameters of :class:`Fault` by name.
    :raises ValueError: when a name or a value is wrong.
    """
    return described(Fault, description, "parameter of a fault")
