"""From the fields of a request to work that can be delivered: checked, addressed, and given its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vambe_provider.delivery.key import digest, fingerprint, person_hash, ticket_key
from vambe_provider.delivery.mapping import PERSONAL, RowFunction, RowMapping, check_columns
from vambe_provider.delivery.model import Outcome, Row, Unsendable, Work
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError, VambeError, VambeValidationError

if TYPE_CHECKING:
    from vambe_provider.api.settings import ConnectionSettings
    from vambe_provider.delivery.key import TicketKey

ResolveStage = Callable[[str], str]
"""From a stage's name or id to its id; raises VambeConfigError for one that is not there."""


def prepare_ticket(
    data: Mapping[str, Any],
    *,
    key: TicketKey,
    settings: ConnectionSettings,
    resolve_stage: ResolveStage,
    phone_id: str | None = None,
    channel: str | None = None,
    where: str | None = None,
) -> Work:
    """Return work for the fields of a request.

    :param data: the fields; ``stage`` (name or id) may stand in place of ``stage_id``.
    :param key: the identity of the ticket.
    :param settings: the connection; numbers without a country code get its ``default_region``.
    :param resolve_stage: from a stage's name to its id.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param where: what the data belongs to, for errors.
    :raises VambeValidationError: names every problem at once.
    """
    from vambe_provider.api.models import parse_ticket
    from vambe_provider.contact_policy.phone import canonical_number

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
                fields["to_phone_number"], default_region=settings.default_region
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
    message = ticket.message
    return Work(
        key=key,
        ticket=ticket,
        person=person_hash(ticket.to_phone_number),
        fingerprint=fingerprint(ticket.body(), phone_id or settings.phone_id, channel or settings.channel),
        message_hash=digest("message", message.content) if message is not None and message.content else None,
    )


def _stage(fields: dict[str, Any], resolve_stage: ResolveStage) -> None:
    stage = fields.pop("stage", None)
    if stage is None:
        return
    if fields.get("stage_id"):
        raise VambeConfigError("stage and stage_id are both given", fix="Give one of them.")
    fields["stage_id"] = resolve_stage(str(stage))


class Preparer:
    """From the rows of one run to its work.

    :param mapping: what makes a request of a row.
    :param key_columns: the columns that make a row what it is.
    :param namespace: the set in which their values are unique.
    :param settings: the connection.
    :param resolve_stage: from a stage's name to its id.
    :param phone_id: the sender, when it is not the connection's.
    :param channel: its channel, likewise.
    :param shard: this run's share of the rows, as (index, count).
    """

    def __init__(
        self,
        mapping: RowMapping | RowFunction,
        *,
        key_columns: Sequence[str],
        namespace: str,
        settings: ConnectionSettings,
        resolve_stage: ResolveStage,
        phone_id: str | None = None,
        channel: str | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not key_columns:
            raise VambeConfigError(
                "key_columns: at least one column is needed", fix="Name what makes a row unique, as order_id."
            )
        if not 0 <= shard[0] < shard[1]:
            raise VambeConfigError(f"shard_index {shard[0]} is not below shard_count {shard[1]}")
        self._mapping = mapping
        self._key_columns = tuple(key_columns)
        self._namespace = namespace
        self._settings = settings
        self._resolve_stage = resolve_stage
        self._sender = {"phone_id": phone_id, "channel": channel}
        self._shard = shard

    def check(self, columns: Sequence[str]) -> None:
        """Refuse a source that lacks a column, and a stage that is not there, before anything is sent.

        :param columns: the columns of the source.
        :raises VambeConfigError: names what is missing and what there is.
        """
        check_columns([*self._key_columns, *self._mapping.columns], columns)
        if self._mapping.constant_stage is not None:
            self._resolve_stage(self._mapping.constant_stage)

    def __call__(self, row: Row) -> Work | Unsendable | None:
        """Return the work of a row, why it cannot be sent, or None when it belongs to another shard."""
        key: TicketKey | None = None
        try:
            personal = self._personal(row)
            key = self._key(row, personal)
            if int(key.digest[:8], 16) % self._shard[1] != self._shard[0]:
                return None
            request = self._mapping(row)
            if request is None:
                return Unsendable(Outcome.SKIPPED, key)
            made = [_text(request.get(name)) for name in PERSONAL]
            if not set(made) <= {*personal, ""}:
                key = self._key(row, made)
            return prepare_ticket(
                request, key=key, settings=self._settings, resolve_stage=self._resolve_stage, **self._sender
            )
        except VambeValidationError as error:
            return Unsendable(Outcome.REJECTED, key, _about(error, key), _row_fingerprint(row))

    def _personal(self, row: Row) -> list[str]:
        """Return the texts of a row that must not be shown in its key."""
        columns = self._mapping.personal_columns
        if columns is not None:
            return [_text(row.get(name)) for name in columns]
        # What a function takes for the number is not known before it has returned, and it may never return.
        return [text for text in map(_text, map(row.get, self._key_columns)) if _looks_personal(text)]

    def _key(self, row: Row, personal: Sequence[str]) -> TicketKey:
        missing = [f"key column {name}: is missing" for name in self._key_columns if name not in row]
        if missing:
            raise VambeValidationError(missing, where="a row")
        return ticket_key(self._namespace, {name: row[name] for name in self._key_columns}, personal=personal)


def _about(error: VambeValidationError, key: TicketKey | None) -> VambeError:
    if key is None or error.where != "a row":
        return error
    return VambeValidationError(error.problems, where=f"row {key.text}", fix=error.fix)


def _row_fingerprint(row: Row) -> str:
    return digest(*(f"{name}={type(value).__name__}:{_text(value)}" for name, value in sorted(row.items())))


def _looks_personal(text: str) -> bool:
    return "@" in text or sum(char.isdigit() for char in text) >= 8


def _text(value: object) -> str:
    try:
        return "" if value is None else str(value)
    except Exception:  # noqa: BLE001 - a number with thousands of digits has no text, and other types may be odder
        return ""
