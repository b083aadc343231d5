"""What the ledger, the lists and the row say about one ticket, and what a policy has to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from vambe_provider.contact_policy.caps import Tally

if TYPE_CHECKING:
    from vambe_provider.contact_policy.breaker import Breaker
    from vambe_provider.contact_policy.parts import Cap, Suppression
    from vambe_provider.contact_policy.policy import ContactPolicy
    from vambe_provider.contact_policy.suppression import Suppressed


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts about one person and one sender at one moment. What is not known refuses the ticket.

    :param suppressed: the entries of all lists about the person; None when a list could not be read.
    :param list_imported: when the newest imported list was imported; None when none was.
    :param expires_at: the moment from which the row is not worth sending; None for never.
    :param counts: what each cap of the policy has counted.
    :param new_person: whether the account never wrote to the person; None counts as new.
    :param new_people: the people whom the sender wrote to for the first time today.
    :param first_send: when the sender's first ticket was sent; None when there was none.
    :param breaker: the sender's breaker; None when it has none.
    """

    suppressed: Sequence[Suppressed] | None = None
    list_imported: datetime | None = None
    expires_at: datetime | None = None
    counts: Mapping[Cap, Tally] = field(default_factory=dict)
    new_person: bool | None = None
    new_people: Tally | None = None
    first_send: datetime | None = None
    breaker: Breaker | None = None

    @classmethod
    def of_a_stranger(cls, policy: ContactPolicy, purpose: str | None = None) -> Facts:
        """Return the facts about somebody who is on no list and in no ledger.

        :param purpose: the purpose, when it is not the policy's.
        """
        counts = dict.fromkeys(needs(policy, purpose).counts, Tally())
        return cls(suppressed=(), counts=counts, new_people=Tally())


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What has to be looked up for a policy, so that nothing else is.

    :param opt_outs: the query and the column of opt-outs; the ledger's own list is always needed.
    :param counts: the caps whose attempts have to be counted inside the claim.
    :param new_people: whether the new people of the sender's day, its first ticket, and whether the person is new have
        to be known.
    :param columns: the columns of the row that the policy reads.
    """

    opt_outs: Suppression
    counts: tuple[Cap, ...]
    new_people: bool
    columns: tuple[str, ...]


def needs(policy: ContactPolicy, purpose: str | None = None) -> Needs:
    """Return what has to be looked up for a policy.

    :param purpose: the purpose, when it is not the policy's.
    """
    from vambe_provider.contact_policy.rules import all_caps

    return Needs(
        opt_outs=policy.opt_outs,
        counts=all_caps(policy, purpose or policy.purpose),
        new_people=policy.warm_up is not None,
        columns=policy.columns,
    )
