"""What the sandbox's account has from the start: senders and pipelines, always with the same ids."""

from __future__ import annotations

from dataclasses import dataclass

CLIENT_ID = "c0000000-0000-4000-8000-000000000001"
"""The account that everything belongs to."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A WhatsApp connection of the account, the ``phoneId`` of the open-ticket path.

    :param id: the phone id as it stands in the path.
    :param channel: ``web-whatsapp`` (connected by QR code) or ``whatsapp`` (official API).
    :param phone_number: the number that customers see.
    :param name: the name in the web app.
    """

    id: str
    channel: str
    phone_number: str
    name: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    :param id: the ``stage_id`` of the API.
    :param name: the name in the web app.
    :param pipeline_id: the pipeline that it belongs to.
    :param pipeline_name: the name of that pipeline.
    """

    id: str
    name: str
    pipeline_id: str
    pipeline_name: str

    @property
    def full_name(self) -> str:
        """The name that people write, as ``Support / New``."""
        return f"{self.pipeline_name} / {self.name}"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline with its stages in order.

    :param id: the ``pipeline_id`` of the API.
    :param name: the name in the web app.
    :param description: the text under the name.
    :param stages: the stages in pipeline order.
    """

    id: str
    name: str
    description: str
    stages: tuple[Stage, ...]


SENDERS: dict[str, Sender] = {
    sender.id: sender
    for sender in (
        Sender("qr-main", "web-whatsapp", "+56220000001", "Main phone"),
        Sender("qr-second", "web-whatsapp", "+56220000002", "Second phone"),
        Sender("1951", "whatsapp", "+56220000003", "Business account"),
    )
}


def _pipeline(number: int, name: str, description: str, stage_names: tuple[str, ...]) -> Pipeline:
    pipeline_id = f"a0000000-0000-4000-8000-00000000000{number}"
    stages = tuple(
        Stage(f"b0000000-0000-4000-8000-000000000{number}{index:02d}", stage_name, pipeline_id, name)
        for index, stage_name in enumerate(stage_names, start=1)
    )
    return Pipeline(pipeline_id, name, description, stages)


PIPELINES: tuple[Pipeline, ...] = (
    _pipeline(1, "Support", "Questions and complaints", ("New", "In progress", "Human help", "Solved")),
    _pipeline(2, "Orders", "Orders that are on their way", ("New", "Late", "Recovered")),
    _pipeline(3, "Payments", "Payments that did not go through", ("Failed", "Promised", "Paid")),
)

STAGES: dict[str, Stage] = {stage.id: stage for pipeline in PIPELINES for stage in pipeline.stages}


def find_stage(name_or_id: str) -> Stage:
    """Return a stage by its id or by its full name.

    :param name_or_id: a stage id, or ``Pipeline / Stage`` in any case.
    :returns: the stage.
    :raises ValueError: when no stage has that id or name; the text lists the names.
    """
    if stage := STAGES.get(name_or_id):
        return stage
    wanted = [part.strip().casefold() for part in name_or_id.split("/")]
    for stage in STAGES.values():
        if wanted == [stage.pipeline_name.casefold(), stage.name.casefold()]:
            return stage
    names = ", ".join(stage.full_name for stage in STAGES.values())
    raise ValueError(f"the sandbox has no stage {name_or_id!r}; it has: {names}")
