"""From the fields of a request to work that can be delivered: checked, addressed, and given its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from vambe_provider import __version__
from vambe_provider.delivery import clock
from vambe_provider.delivery.key import digest, fingerprint, key_digests, message_hash, ticket_key
from vambe_provider.delivery.model import Outcome, Row, Unsendable, Work
from vambe_provider.delivery.rows.mapping import PERSONAL, RowFunction, RowMapping, check_columns
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError, VambeError, VambeValidationError

if TYPE_CHECKING:
    from vambe_provider.api.models import OpenTicket
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.permission import Permission, Subject
    from vambe_provider.delivery.person import Persons

_OBJECTS = ("contact_metadata", "ticket_metadata", "integration_data")

ResolveStage = Callable[[str], str]
"""From a stage's name or id to its id; raises VambeConfigError for one that is not there."""


def prepare_ticket(
    data: Mapping[str, Any],
    *,
    key: TicketKey,
    settings: ConnectionSettings,
    resolve_stage: ResolveStage,
    persons: Persons,
    phone_id: str | None = None,
    channel: str | None = None,
    where: str | None = None,
    row_hash: str | None = None,
    number: int = 0,
) -> Work:
    """Return work for the fields of a request.

    :param data: the fields; ``stage`` (name or id) may stand in place of ``stage_id``.
    :param key: the identity of the ticket.
    :param settings: the connection, whose ``default_region``, ``repair`` and ``allowed_countries`` read the numbers.
    :param resolve_stage: from a stage's name to its id.
    :param persons: makes the person's hash of a number.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param where: what the data belongs to, for errors.
    :param row_hash: hash of the row behind it; the fingerprint without one.
    :param number: which row of the source it is.
    :raises VambeValidationError: names every problem at once.
    """
    from vambe_provider.api.models import parse_ticket
    from vambe_provider.contact_policy.numbers import canonical_number

    place = where or f"row {key.text}"
    fields, problems = dict(data), []
    try:
        _stage(fields, resolve_stage)
    except VambeConfigError as error:
        problems.append(f"stage: {error.message}. {error.fix or ''}".strip())
        fields["stage_id"] = "unknown"
    try:
        if fields.get("to_phone_number") is not None:
            fields["to_phone_number"] = canonical_number(
                fields["to_phone_number"],
                default_region=settings.default_region,
                repair=settings.repair,
                allowed_countries=settings.allowed_countries,
            )
    except PhoneNumberError as error:
        problems.extend([*error.problems, *([error.fix] if error.fix else [])][:1])
        fields["to_phone_number"] = (
            "+56912345678"  # stands in, so that the other fields are judged too; it is never sent
        )
    try:
        ticket = parse_ticket(fields, where=place)
    except VambeValidationError as error:
        problems.extend(error.problems)
    if problems:
        raise VambeValidationError(problems, where=place)
    body = ticket.body()
    content = fingerprint(body, phone_id or settings.phone_id, channel or settings.channel)
    return Work(
        key=key,
        ticket=ticket,
        person=persons.of(ticket.to_phone_number),
        fingerprint=content,
        message_hash=_message_hash(ticket),
        row_hash=row_hash or content,
        number=number,
        size=len(str(body)),
    )


def _message_hash(ticket: OpenTicket) -> str | None:
    """Return the hash of the text that the customer gets; what becomes of a template is not known."""
    message = ticket.message
    if message is None or message.template_id is not None or not message.content:
        return None
    return message_hash(message.content)


def _stage(fields: dict[str, Any], resolve_stage: ResolveStage) -> None:
    stage = fields.pop("stage", None)
    if stage is None:
        return
    if fields.get("stage_id"):
        raise VambeConfigError("stage and stage_id are both given", fix="Give one of them.")
    fields["stage_id"] = resolve_stage(str(stage))


class Preparer:
    """From the rows of one run to its work; a row is a tuple in the order of the columns.

    :param mapping: what makes a request of a row.
    :param key_columns: the columns that make a row what it is.
    :param namespace: the set in which their values are unique.
    :param settings: the connection.
    :param resolve_stage: from a stage's name to its id.
    :param persons: makes the person's hash of a number.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param shard: this run's share of the rows, as (index, count).
    :param permission: asks the contact policy, which needs columns of its own; None without a policy.
    """

    def __init__(
        self,
        mapping: RowMapping | RowFunction,
        *,
        key_columns: Sequence[str],
        namespace: str,
        settings: ConnectionSettings,
        resolve_stage: ResolveStage,
        persons: Persons,
        phone_id: str | None = None,
        channel: str | None = None,
        shard: tuple[int, int] = (0, 1),
        permission: Permission | None = None,
    ) -> None:
        if not key_columns:
            raise VambeConfigError(
                "key_columns: at least one column is needed", fix="Name what makes a row unique, such as order_id."
            )
        if not 0 <= shard[0] < shard[1]:
            raise VambeConfigError(f"shard_index {shard[0]} is not below shard_count {shard[1]}")
        self.namespace = namespace
        self._mapping = mapping
        self._key_columns = tuple(key_columns)
        self._settings = settings
        self._resolve_stage = resolve_stage
        self._persons = persons
        self._sender = {"phone_id": phone_id, "channel": channel}
        self._shard = shard
        self.permission = permission
        self._columns: tuple[str, ...] = ()
        self._places: tuple[int, ...] = ()
        self._made_by = digest(
            mapping.identity or "", str(settings.default_region), str(settings.repair), str(settings.allowed_countries),
            str(phone_id or settings.phone_id), str(channel or settings.channel),
            # What one policy, or an older preset, refused is not refused by another.
            *((repr(permission.policy), __version__) if permission else ()),
        )  # fmt: skip

    @property
    def is_mine(self) -> Callable[[str], bool] | None:
        """Tells from a key's digest whether a row is this run's share; None when all are."""
        index, count = self._shard
        return None if count == 1 else lambda key: int(key[:8], 16) % count == index

    def bind(self, columns: Sequence[str]) -> None:
        """Take the columns of the source; refuse one that lacks a column, and a stage that is not there, before
        anything is sent.

        :raises VambeConfigError: names what is missing and what there is.
        """
        asked = self.permission.columns if self.permission is not None else ()
        check_columns([*self._key_columns, *self._mapping.columns, *asked], columns)
        self._columns = tuple(columns)
        self._places = tuple(self._columns.index(name) for name in self._key_columns)
        if self._mapping.constant_stage is not None:
            self._resolve_stage(self._mapping.constant_stage)

    def digests(self, rows: Sequence[Sequence[object]]) -> list[str | None]:
        """Return the digest of each row's key; None for one without a usable key."""
        places = self._places
        if len(places) == 1:
            [place] = places
            return key_digests(self.namespace, ((row[place],) for row in rows))
        return key_digests(self.namespace, ([row[place] for place in places] for row in rows))

    def row_hash(self, row: Sequence[object]) -> str:
        """Return what tells whether a refused row, or the way requests are made, has changed."""
        named = sorted(zip(self._columns, row, strict=True), key=itemgetter(0))
        return digest(self._made_by, *(f"{name}={type(value).__name__}:{_text(value)}" for name, value in named))

    @property
    def can_glance(self) -> bool:
        """Whether an unchanged row surely gives an unchanged request; what a function gives may change with it."""
        return self._mapping.identity is not None

    def key(self, row: Sequence[object], *, personal: Sequence[str] = ()) -> TicketKey:
        """Return the key of a row.

        :param personal: texts that must not be readable in it.
        :raises VambeValidationError: when it has no usable key.
        """
        values = {name: row[place] for name, place in zip(self._key_columns, self._places, strict=True)}
        return ticket_key(self.namespace, values, personal=personal, secret=self._persons.secret)

    def __call__(self, values: Sequence[object], *, number: int = 0) -> Work | Unsendable:
        """Return the work of a row, or why it cannot be sent."""
        key: TicketKey | None = None
        row = dict(zip(self._columns, values, strict=True))
        try:
            personal = self._personal(row)
            key = self.key(values, personal=personal)
            request = self._mapping(row)
            if request is None:
                return Unsendable(Outcome.SKIPPED, key, number=number)
            request = _literal(request)
            made = [_text(request.get(name)) for name in PERSONAL]
            if not set(made) <= {*personal, ""}:
                key = self.key(values, personal=made)
            work = prepare_ticket(
                request,
                key=key,
                settings=self._settings,
                resolve_stage=self._resolve_stage,
                persons=self._persons,
                row_hash=self.row_hash(values) if self.can_glance else None,
                number=number,
                **self._sender,
            )
            return work if self.permission is None else replace(work, subject=self._subject(work, row))
        except VambeValidationError as error:
            return Unsendable(Outcome.REJECTED, key, _about(error, key), self.row_hash(values), number)

    def _subject(self, work: Work, row: Row) -> Subject:
        now = datetime.fromtimestamp(clock.utc(), UTC)
        permission = cast("Permission", self.permission)
        return permission.subject(work.ticket.to_phone_number, row, first_seen=now)

    def _personal(self, row: Row) -> list[str]:
        """Return the texts of a row that must not be shown in its key."""
        columns = self._mapping.personal_columns
        if columns is not None:
            return [_text(row.get(name)) for name in columns]
        # What a function takes for the number is not known before it has returned, and it may never return.
        return [text for text in map(_text, map(row.get, self._key_columns)) if _looks_personal(text)]


def _literal(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request in which a text of a row stays a text, and is never read as JSON.

    :raises VambeValidationError: when a text stands where an object is needed.
    """
    problems = [f"{name}: is a text, not an object" for name in _OBJECTS if isinstance(request.get(name), str)]
    if problems:
        raise VambeValidationError(problems, where="a row", fix="Give a mapping, or a JSON column of the database.")
    message = request.get("message")
    if not isinstance(message, str):
        return dict(request)
    if not message.strip():
        raise VambeValidationError(["message: is empty; leave it out to send none"], where="a row")
    return {**request, "message": {"content": message}}


def _about(error: VambeValidationError, key: TicketKey | None) -> VambeError:
    if key is None or error.where != "a row":
        return error
    about = VambeValidationError(error.problems, where=f"row {key.text}", fix=error.fix)
    about.exception = error.exception
    return about


def _looks_personal(text: str) -> bool:
    return "@" in text or sum(char.isdigit() for char in text) >= 8


def _text(value: object) -> str:
    try:
        return "" if value is None else str(value)
    except Exception:  # noqa: BLE001 - a number with thousands of digits has no text, and other types may be odder
        return ""
