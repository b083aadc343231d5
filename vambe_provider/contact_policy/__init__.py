"""May this person be contacted now, and at which number? Neither Airflow nor HTTP, and no clock of its own.

Names are loaded on first use, so that a policy in a Dag file loads no library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vambe_provider.contact_policy.decide import Decision, explain, person_of
    from vambe_provider.contact_policy.facts import Facts, needs
    from vambe_provider.contact_policy.numbers import canonical_number, mask_number, number_aliases
    from vambe_provider.contact_policy.parts import Cap, ContactWindow, Suppression, WarmUp
    from vambe_provider.contact_policy.policy import ContactPolicy, read_policy

PURPOSES = ("service", "marketing", "debt")
"""Why a person is contacted."""

__all__ = [
    "PURPOSES",
    "Cap",
    "ContactPolicy",
    "ContactWindow",
    "Decision",
    "Facts",
    "Suppression",
    "WarmUp",
    "canonical_number",
    "explain",
    "mask_number",
    "needs",
    "number_aliases",
    "person_of",
    "read_policy",
]

_HOME = {
    "Cap": "parts",
    "ContactPolicy": "policy",
    "ContactWindow": "parts",
    "Decision": "decide",
    "Facts": "facts",
    "Suppression": "parts",
    "WarmUp": "parts",
    "explain": "decide",
    "needs": "facts",
    "person_of": "decide",
    "read_policy": "policy",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'numbers')}"), name)
