"""Which stage a name or an id means. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vambe_provider.api.redact import printable
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.api.models import Pipeline, Stage

_MOST_SHOWN, _MOST_FITTING = 40, 20


def find_stage(pipelines: Iterable[Pipeline], name_or_id: str) -> Stage:
    """Return the stage with an id, with a name as ``Support / New``, or with a name as ``New`` that only one pipeline
    has.

    :param pipelines: all pipelines.
    :param name_or_id: names are compared without regard to case and to the space around the slash.
    :raises VambeConfigError: when no stage or more than one fits; lists what there is.
    """
    wanted = str(name_or_id).strip()
    stages = [stage for pipeline in pipelines for stage in pipeline.stages]
    by_id = [stage for stage in stages if stage.id.lower() == wanted.lower()]
    if by_id:
        return by_id[0]
    key = _folded(wanted)
    found = [stage for stage in stages if key and key in (_folded(stage.label), _folded(stage.name or ""))]
    if len(found) == 1:
        return found[0]
    exact = [stage for stage in found if wanted in (stage.label, stage.name)]
    if len(exact) == 1:
        return exact[0]
    if found:
        labels = ", ".join(printable(f"{stage.label} ({stage.id})") for stage in found[:_MOST_FITTING])
        raise VambeConfigError(
            f"stage: the name fits more than one: {labels}", fix="Write the pipeline too, or the id."
        )
    raise VambeConfigError("stage: there is no stage with this name or id", fix=_existing(stages, key))


def _folded(text: str) -> str:
    return "/".join(" ".join(part.split()) for part in text.casefold().split("/"))


def _existing(stages: list[Stage], key: str) -> str:
    if not stages:
        return "The account has no stages that this API key can see."
    labels = {_folded(stage.label): printable(stage.label) for stage in stages}
    close = difflib.get_close_matches(key, labels, n=1, cutoff=0.7)
    hint = f"Did you mean {labels[close[0]]}? " if close else ""
    names = list(labels.values())
    rest = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"{hint}There are: {', '.join(names[:_MOST_SHOWN])}{rest}."
