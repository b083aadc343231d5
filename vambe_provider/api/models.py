"""What Vambe is sent and what it answers, typed.

Requests are strict: a wrong or unknown field is an error before anything is sent. Replies are tolerant: fields may be
null, missing or new. No ``repr`` and no error text holds personal data.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from vambe_provider.api.numbers import international_number
from vambe_provider.api.texts import checked_text, mapping_from, metadata_texts
from vambe_provider.exceptions import PhoneNumberError, VambeValidationError

# The pattern of the OpenAPI document of the endpoint, unchanged.
EMAIL_PATTERN = re.compile(
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)
MAX_EMAIL = 320

_SYNONYMS = {
    "phone": "to_phone_number",
    "phone_number": "to_phone_number",
    "to": "to_phone_number",
    "stage": "stage_id",
    "name": "contact_name",
    "mail": "email",
    "metadata": "ticket_metadata",
    "content": "message",
    "text": "message",
    "template_id": "message",
    "templateId": "message",
}


class _Quiet(BaseModel):
    """A model whose ``repr`` shows only the fields that say nothing about a person."""

    shown: ClassVar[tuple[str, ...]] = ()

    def __repr_args__(self) -> Any:
        return [(name, getattr(self, name)) for name in self.shown]


class _Request(_Quiet):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, coerce_numbers_to_str=True
    )


class _Reply(_Quiet):
    model_config = ConfigDict(
        extra="allow",
        hide_input_in_errors=True,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        arbitrary_types_allowed=True,
    )


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _trimmed(value: str) -> str:
    text = checked_text(value).strip()
    if not text:
        raise ValueError("is empty")
    return text


def _phone(value: object) -> str:
    try:
        return international_number(value)
    except PhoneNumberError as error:
        reason, fix = error.problems[0].partition(": ")[2], error.fix or ""
    raise ValueError(f"{reason}; {fix[0].lower()}{fix[1:].rstrip('.')}" if fix else reason)


def _email(value: str) -> str:
    text = value.strip()
    # fullmatch, because a dollar sign alone would let a newline through.
    if len(text) > MAX_EMAIL or not EMAIL_PATTERN.fullmatch(text):
        raise ValueError("is not an e-mail address that Vambe accepts")
    return text


def _metadata(value: object) -> object:
    value = mapping_from(_blank_is_none(value))
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("is not an object")  # noqa: TRY004 - pydantic reports only a ValueError as the problem of a field
    return metadata_texts(value)


_Id = Annotated[str, AfterValidator(_trimmed)]
_Name = Annotated[str, AfterValidator(_trimmed)]
_Metadata = Annotated[dict[str, str], BeforeValidator(_metadata)]


class Message(_Request):
    """The first message of a ticket.

    :param content: the text, or with a template the value of its variable.
    :param template_id: id of a smart template; also accepted and always sent as ``templateId``.
    :param ai_generated: always sent; Vambe's own examples say false.
    """

    shown: ClassVar[tuple[str, ...]] = ("template_id", "ai_generated")

    content: Annotated[str, AfterValidator(checked_text)] | None = Field(default=None, repr=False)
    template_id: _Id | None = Field(default=None, alias="templateId")
    ai_generated: bool = False

    _blank = field_validator("content", "template_id", mode="before")(_blank_is_none)

    @model_validator(mode="after")
    def _something_to_say(self) -> Message:
        if self.content is None and self.template_id is None:
            raise ValueError("neither content nor templateId is given; leave the message out to send none")
        return self

    def body(self) -> dict[str, Any]:
        """Return the JSON object that is sent."""
        given = {"templateId": self.template_id, "content": self.content}
        return {**{key: value for key, value in given.items() if value is not None}, "ai_generated": self.ai_generated}


class OpenTicket(_Request):
    """One ticket to open, as the endpoint page of ``POST /api/public/ticket/open/web-whatsapp/{phoneId}`` describes it.

    :param to_phone_number: with country code, as ``"+56912345678"``, ``"56912345678"`` or ``56912345678``; sent as
        ``+`` and digits.
    :param stage_id: id of the stage in which the ticket starts.
    :param contact_name: full name of the contact.
    :param email: checked against the API's own pattern.
    :param contact_metadata: facts about the person; values are sent as text, nulls are left out.
    :param ticket_metadata: facts about this ticket; likewise.
    :param integration_data: ids in other systems; likewise.
    :param message: a text, or ``{content, templateId, ai_generated}``. Without one, Vambe's assistant may write first.
    """

    shown: ClassVar[tuple[str, ...]] = ("stage_id",)

    to_phone_number: Annotated[str, BeforeValidator(_phone)] = Field(repr=False)
    stage_id: _Id
    contact_name: _Name | None = Field(default=None, repr=False)
    email: Annotated[str, AfterValidator(_email)] | None = Field(default=None, repr=False)
    contact_metadata: _Metadata = Field(default_factory=dict, repr=False)
    ticket_metadata: _Metadata = Field(default_factory=dict, repr=False)
    integration_data: _Metadata = Field(default_factory=dict, repr=False)
    message: Message | None = Field(default=None, repr=False)

    _blank = field_validator("contact_name", "email", mode="before")(_blank_is_none)

    @field_validator("message", mode="before")
    @classmethod
    def _text_is_content(cls, value: object) -> object:
        value = _parsed_message(value)
        if isinstance(value, str):
            if not value.strip():
                raise ValueError("is empty; leave it out to send no message")
            return {"content": value}
        return value

    def body(self) -> dict[str, Any]:
        """Return the JSON object that is sent: always with the three metadata objects, with a message only if given."""
        body: dict[str, Any] = {"to_phone_number": self.to_phone_number, "stage_id": self.stage_id}
        given = {"contact_name": self.contact_name, "email": self.email}
        body.update({key: value for key, value in given.items() if value is not None})
        body["contact_metadata"] = dict(self.contact_metadata)
        body["ticket_metadata"] = dict(self.ticket_metadata)
        body["integration_data"] = dict(self.integration_data)
        if self.message is not None:
            body["message"] = self.message.body()
        return body


def _parsed_message(value: object) -> object:
    """Return the object that a rendered template left as text; any other text is the message itself."""
    parsed = mapping_from(value)
    known = {"content", "templateId", "template_id", "ai_generated"}
    return parsed if isinstance(parsed, Mapping) and (parsed is value or set(parsed) <= known) else value


def parse_ticket(data: Mapping[str, Any] | str | OpenTicket, *, where: str = "the ticket") -> OpenTicket:
    """Return the ticket that a mapping describes, with every problem named at once.

    :param data: the fields of :class:`OpenTicket`; also as JSON text or a Python literal, which is what a rendered
        template leaves.
    :param where: what the data belongs to, for the error, as ``row order_id=1042``.
    :raises VambeValidationError: naming each wrong or unknown field and what is wrong with it; it never holds a value.
    """
    if isinstance(data, OpenTicket):
        return data
    fields = mapping_from(data)
    if not isinstance(fields, Mapping):
        raise VambeValidationError([f"a mapping of fields is needed, not a {type(data).__name__}"], where=where)
    try:
        return OpenTicket.model_validate(dict(fields))
    except ValidationError as error:
        problems = [
            _problem(item) for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    raise VambeValidationError(problems, where=where)


def _problem(item: Any) -> str:
    path = ".".join(str(part)[:60] for part in item["loc"])
    if item["type"] == "missing":
        return f"{path}: is missing"
    if item["type"] == "extra_forbidden":
        return f"{path}: there is no such field{_hint(item['loc'])}"
    text = item["msg"].removeprefix("Value error, ")
    return f"{path}: {text[:1].lower()}{text[1:]}"


def _hint(loc: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = OpenTicket if len(loc) == 1 else Message
    names = [field.alias or name for name, field in model.model_fields.items()]
    key = str(loc[-1])
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.7)
    guess = close[0] if close else _SYNONYMS.get(key) if model is OpenTicket else None
    return f"; did you mean {guess}?" if guess else f"; there are {', '.join(names)}"


def _tolerant_text(value: object) -> object:
    """Return a text or a number as it is and anything else as None: one odd optional field does not spoil a reply."""
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _tolerant_flag(value: object) -> object:
    return value if isinstance(value, bool) else None


def _tolerant_object(value: object) -> object:
    return value if isinstance(value, dict) else None


_Text = Annotated[str | None, BeforeValidator(_tolerant_text)]
_Flag = Annotated[bool | None, BeforeValidator(_tolerant_flag)]
_Object = Annotated[dict[str, Any] | None, BeforeValidator(_tolerant_object)]


class OpenedTicket(_Reply):
    """What Vambe answers when a ticket was opened.

    :param ai_contact_id: the contact, new or existing; there is no id of the ticket.
    :param status: always ``ok``.
    """

    shown: ClassVar[tuple[str, ...]] = ("ai_contact_id", "status")

    ai_contact_id: _Id = Field(
        validation_alias=AliasChoices("aiContactId", "ai_contact_id"), serialization_alias="aiContactId"
    )
    status: str


class Stage(_Reply):
    """One stage of a pipeline.

    :param pipeline_id: the pipeline that it belongs to.
    :param pipeline_name: that pipeline's name.
    """

    shown: ClassVar[tuple[str, ...]] = ("id", "name", "pipeline_name")

    id: _Id
    name: _Text = None
    description: _Text = None
    pipeline_id: str | None = None
    pipeline_name: str | None = None

    @property
    def label(self) -> str:
        """The name that a person would use, as ``Support / New``."""
        return f"{self.pipeline_name or '?'} / {self.name or '?'}"


class Pipeline(_Reply):
    """One pipeline with its stages, in their order."""

    shown: ClassVar[tuple[str, ...]] = ("id", "name", "stages")

    id: _Id
    name: _Text = None
    description: _Text = None
    stages: Annotated[list[Stage], BeforeValidator(lambda value: value or [])] = []

    @model_validator(mode="after")
    def _stages_know_their_pipeline(self) -> Pipeline:
        for stage in self.stages:
            stage.pipeline_id, stage.pipeline_name = self.id, self.name
        return self


class Contact(_Reply):
    """A contact; fields that are not listed here are kept, ``model_dump()`` returns all of them.

    :param id: the ``aiContactId``.
    :param created_at: ISO 8601, as Vambe wrote it; so are the other times.
    :param chat_status: an open list of words; compare without regard to case.
    :param active_ticket_v2: in lists only: ``{id, current_stage_id}``.
    """

    shown: ClassVar[tuple[str, ...]] = ("id", "platform", "chat_status")

    id: _Id = Field(validation_alias=AliasChoices("id", "aiContactId", "ai_contact_id", "contactId", "contact_id"))
    name: _Text = None
    phone: _Text = None
    email: _Text = None
    platform: _Text = None
    created_at: _Text = None
    updated_at: _Text = None
    last_message_at: _Text = None
    last_message_content: _Text = None
    chat_status: _Text = None
    is_chat_read: _Flag = None
    blocked: _Flag = None
    default_stage_id: _Text = None
    active_ticket_v2: _Object = None


class Channel(_Reply):
    """A connected sender; its ``id`` is the ``phone_id`` of the ticket endpoints."""

    shown: ClassVar[tuple[str, ...]] = ("id", "name")

    id: _Id = Field(
        validation_alias=AliasChoices("phoneId", "phone_id", "channelId", "channel_id", "identifier", "id"),
    )
    name: _Text = None
    phone_number: _Text = None
    client_id: _Text = None


class ChatMessage(_Reply):
    """One message of a conversation.

    :param body: the text.
    :param direction: ``INBOUND`` (from the customer) or ``OUTBOUND``, in capitals.
    :param created_at: ISO 8601, as Vambe wrote it.
    """

    shown: ClassVar[tuple[str, ...]] = ("id", "direction", "type", "status", "created_at")

    id: _Text = None
    body: _Text = Field(default=None, validation_alias=AliasChoices("body", "content", "message", "text"))
    created_at: _Text = None
    direction: Annotated[_Text, AfterValidator(lambda value: value and value.upper())] = None
    type: _Text = None
    status: _Text = None
