from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.support.delivery import PERSONS, TICKET, made_of, preparer, row
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.key import named_key
from vambe_provider.delivery.model import Outcome, Unsendable, Work
from vambe_provider.delivery.rows.prepare import prepare_ticket
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

SETTINGS = ConnectionSettings(api_key="k", phone_id="qr-main", default_region="CL")
KEY = named_key("single", "dag/task/run/-1")


def stage(name: str) -> str:
    if name != "Support / New":
        raise VambeConfigError(f"there is no stage {name}", fix="Did you mean Support / New?")
    return "stage-1"


def _work(**changes: Any) -> Work:
    data = {"to_phone_number": "9 6123 4567", "stage": "Support / New", "message": "Hi", **changes}
    return prepare_ticket(data, key=KEY, settings=SETTINGS, resolve_stage=stage, persons=PERSONS)


def test_a_ticket_is_addressed_and_checked() -> None:
    work = _work(contact_name=" Ana ")
    assert work.ticket.to_phone_number == "+56961234567"
    assert (work.ticket.stage_id, work.ticket.contact_name) == ("stage-1", "Ana")
    assert work.key is KEY


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(VambeValidationError) as caught:
        _work(to_phone_number="12", stage="Nowhere", email="no", colour="red")
    text = str(caught.value)
    for part in ("dag/task/run/-1", "stage: there is no stage Nowhere", "to_phone_number", "email", "colour"):
        assert part in text
    with pytest.raises(VambeValidationError, match="to_phone_number: is missing"):
        _work(to_phone_number=None)
    with pytest.raises(VambeValidationError, match="stage and stage_id are both given"):
        _work(stage_id="s")
    with pytest.raises(VambeValidationError, match="stage_id"):
        prepare_ticket(
            {"to_phone_number": "+56961234567"}, key=KEY, settings=SETTINGS, resolve_stage=stage, persons=PERSONS
        )


def test_one_person_is_one_hash_however_the_number_is_written() -> None:
    assert _work().person == _work(to_phone_number="+56 (9) 6123-4567").person
    assert _work().person != _work(to_phone_number="+56961234568").person


def test_the_fingerprint_follows_content_and_sender() -> None:
    assert _work().fingerprint == _work(to_phone_number=56961234567).fingerprint
    assert _work().fingerprint != _work(message="Hello").fingerprint
    other = prepare_ticket(
        {"to_phone_number": "+56961234567", "stage": "Support / New", "message": "Hi"},
        key=KEY, settings=SETTINGS, resolve_stage=stage, persons=PERSONS, phone_id="qr-second",
    )  # fmt: skip
    assert other.fingerprint != _work().fingerprint


def test_the_message_hash() -> None:
    spaced = _work(message={"content": " Hola\r\nAna \n"}).message_hash
    assert spaced == _work(message={"content": "Hola\nAna"}).message_hash
    assert _work(message={"content": "Ana", "templateId": "t"}).message_hash is None
    assert _work().message_hash == _work(contact_name="Ana").message_hash
    assert _work(message=None).message_hash is None
    assert _work(message={"templateId": "t"}).message_hash is None


def test_a_repr_shows_nothing_of_the_person() -> None:
    shown = repr(_work(contact_name="Ana Pérez", email="ana@example.com", message="Secret"))
    for part in ("61234567", "Ana", "example.com", "Secret"):
        assert part not in shown


class TestPreparer:
    def test_a_row(self) -> None:
        made = made_of(preparer(SETTINGS, stage), row(1))
        assert isinstance(made, Work)
        assert made.key.text == "id=1"
        assert made.ticket.message is not None
        assert made.ticket.message.content == "Hello Person1, your order 1 is late"

    def test_a_bad_row_says_which_and_why(self) -> None:
        made = made_of(preparer(SETTINGS, stage), row(1, name=None, phone="x"))
        assert isinstance(made, Unsendable)
        assert made.outcome == Outcome.REJECTED
        assert "row id=1 cannot be sent: message: column name is null" in str(made.error)

    def test_a_bad_row_is_told_from_itself_when_it_changes(self) -> None:
        prepare = preparer(SETTINGS, stage)
        one, two, three = (made_of(prepare, row(1, phone=phone)) for phone in ("x", "x", "y"))
        assert isinstance(one, Unsendable)
        assert isinstance(two, Unsendable)
        assert isinstance(three, Unsendable)
        assert one.row_hash == two.row_hash != three.row_hash

    def test_a_row_without_a_key(self) -> None:
        made = made_of(preparer(SETTINGS, stage), row(1, id=None))
        assert isinstance(made, Unsendable)
        assert made.key is None
        assert "key column id: is null" in str(made.error)

    def test_a_stage_of_each_row(self) -> None:
        prepare = preparer(SETTINGS, stage, {**TICKET, "stage": "{stage}"})
        assert isinstance(made_of(prepare, row(1, stage="Support / New")), Work)
        bad = made_of(prepare, row(1, stage="Nowhere"))
        assert isinstance(bad, Unsendable)
        assert "Did you mean" in str(bad.error)
        prepare.bind(["id", "phone", "name", "stage"])

    def test_a_query_is_checked_before_anything_is_sent(self) -> None:
        preparer(SETTINGS, stage).bind(["id", "phone", "name"])
        with pytest.raises(VambeConfigError, match="no column name"):
            preparer(SETTINGS, stage).bind(["id", "phone"])
        with pytest.raises(VambeConfigError, match="no column id"):
            preparer(SETTINGS, stage, lambda row: None).bind(["phone"])
        with pytest.raises(VambeConfigError, match="no stage Nowhere"):
            preparer(SETTINGS, stage, {**TICKET, "stage": "Nowhere"}).bind(["id", "phone", "name"])

    def test_a_key_that_holds_the_number_is_not_readable(self) -> None:
        prepare = preparer(SETTINGS, stage, key_columns=("phone", "id"))
        made = made_of(prepare, row(1))
        assert isinstance(made, Work)
        assert made.key.text.startswith("phone=#")
        assert made.key.text.endswith("id=1")
        bad = made_of(prepare, row(1, phone="+56 2 2345 6789"))
        assert isinstance(bad, Unsendable)
        assert "2345" not in str(bad.error)

    def test_nor_when_only_a_function_knows_what_the_number_is(self) -> None:
        def ticket(data: dict[str, Any]) -> dict[str, Any]:
            if data["id"] == 2:
                raise ValueError
            return {"to_phone_number": data["contact"], "stage": "Support / New"}

        prepare = preparer(SETTINGS, stage, ticket, key_columns=("contact", "mail", "id"))
        for number in (1, 2):
            made = made_of(prepare, {"contact": "+56961234567", "mail": "a@b.cl", "id": number})
            assert isinstance(made, Work if number == 1 else Unsendable)
            assert made is not None
            assert made.key is not None
            assert "61234567" not in made.key.text
            assert f"id={number}" in made.key.text
        assert made is not None
        assert made.key is not None
        assert "a@b.cl" not in made.key.text

    @pytest.mark.parametrize("note", ['{"templateId": "t-1", "ai_generated": true}', "{}", "{'content': 'x'}", "[1]"])
    def test_a_text_of_a_row_is_never_read_as_json(self, note: str) -> None:
        made = made_of(preparer(SETTINGS, stage, {**TICKET, "message": "{note}"}), row(1, note=note))
        assert isinstance(made, Work)
        assert made.ticket.body()["message"] == {"content": note, "ai_generated": False}

    def test_a_text_where_an_object_is_needed_is_refused(self) -> None:
        made = made_of(preparer(SETTINGS, stage, {**TICKET, "ticket_metadata": "{note}"}), row(1, note='{"a": 1}'))
        assert isinstance(made, Unsendable)
        assert "ticket_metadata: is a text, not an object" in str(made.error)

    @pytest.mark.parametrize("total", [float("nan"), float("inf"), Decimal("NaN")])
    def test_a_number_that_is_none_counts_as_null(self, total: object) -> None:
        ticket = {**TICKET, "message": "Your order is {total} late"}
        made = made_of(preparer(SETTINGS, stage, ticket), row(1, total=total))
        assert isinstance(made, Unsendable)
        assert "column total is null" in str(made.error)

    def test_skipped_rows(self) -> None:
        made = made_of(preparer(SETTINGS, stage, lambda data: None), row(1))
        assert isinstance(made, Unsendable)
        assert (made.outcome, made.error) == (Outcome.SKIPPED, None)

    def test_each_row_belongs_to_exactly_one_shard(self) -> None:
        shards = [preparer(SETTINGS, stage, shard=(index, 4)) for index in range(4)]
        work = made_of(shards[0], row(1))
        assert isinstance(work, Work)
        digests = shards[0].digests([tuple(row(number).values()) for number in range(200)])
        owners = Counter(
            index
            for key in digests
            for index, prepare in enumerate(shards)
            if key is not None and prepare.is_mine is not None and prepare.is_mine(key)
        )
        assert sum(owners.values()) == 200
        assert all(count > 20 for count in owners.values())

    @pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
    def test_a_shard_that_is_not_there(self, shard: tuple[int, int]) -> None:
        with pytest.raises(VambeConfigError, match="shard_index"):
            preparer(SETTINGS, stage, shard=shard)

    def test_no_key_columns(self) -> None:
        with pytest.raises(VambeConfigError, match="key_columns"):
            preparer(SETTINGS, stage, key_columns=())
