"""What the ledger knows of a chunk of rows before any request is made. A pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vambe_provider.delivery.model import State, Verdict
from vambe_provider.delivery.rules import glance

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.delivery.batch.source import Keyed
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.delivery.rules import Glimpse


@dataclass(slots=True)
class Sifted:
    """A chunk, sorted.

    :param fresh: the rows whose request has to be made.
    :param known: how many rows ended in each verdict.
    :param refused: the first rows that are still refused, with their verdict.
    :param dags: how many open tickets each Dag opened that is not this one.
    :param here: the keys of open tickets that this Dag run opened before.
    :param elsewhere: how many rows are open in each other account, and not in this one.
    """

    fresh: list[Keyed] = field(default_factory=list)
    known: Counter[Verdict] = field(default_factory=Counter)
    refused: list[tuple[Keyed, Verdict]] = field(default_factory=list)
    dags: Counter[str] = field(default_factory=Counter)
    here: list[str] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)


def sift(
    rows: Sequence[Keyed],
    glimpses: Mapping[str, Sequence[Glimpse]],
    options: DeliveryOptions,
    *,
    me: str,
    row_hash: Callable[[Sequence[object]], str] | None,
) -> Sifted:
    """Sort a chunk by what is known of its rows.

    :param glimpses: what the ledger knows, by digest.
    :param row_hash: hashes a row that was refused before; None when an unchanged row may give another request.
    """
    found = Sifted()
    for row in rows:
        known = glimpses.get(row.digest) if row.digest is not None else None
        if known is None:
            found.fresh.append(row)
            continue
        verdict = glance(known, _hash(row, known, row_hash), options, me=me)
        if verdict is None:
            row.known = True
            found.fresh.append(row)
            _note_elsewhere(known, options, found)
            continue
        found.known[verdict] += 1
        if verdict == Verdict.OPENED:
            _note_opener(row, known, options, found)
        elif len(found.refused) < 20:
            found.refused.append((row, verdict))
    return found


def _hash(row: Keyed, known: Sequence[Glimpse], row_hash: Callable[[Sequence[object]], str] | None) -> str | None:
    if row_hash is None or all(glimpse.state != State.REJECTED for glimpse in known):
        return None
    return row_hash(row.values)


def _note_opener(row: Keyed, known: Sequence[Glimpse], options: DeliveryOptions, found: Sifted) -> None:
    dag_run = next(glimpse.dag_run for glimpse in known if glimpse.account == options.account)
    if dag_run == options.origin.dag_run:
        found.here.append(row.digest or "")
    elif (dag := dag_run.partition("/")[0]) != options.origin.dag:
        found.dags[dag] += 1


def _note_elsewhere(known: Sequence[Glimpse], options: DeliveryOptions, found: Sifted) -> None:
    if all(glimpse.account != options.account for glimpse in known):
        found.elsewhere.update(glimpse.account for glimpse in known if glimpse.state == State.OPENED)
