from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vambe_provider.delivery.rows.mapping import check_columns, compile_ticket
from vambe_provider.exceptions import VambeConfigError, VambeValidationError

ROW = {"phone": 56961234567, "name": "Ana", "id": 7, "total": Decimal("12345.6"), "note": None}


def _made(template: Any, row: dict[str, Any] | None = None) -> Any:
    return compile_ticket(template)(ROW if row is None else row)


def test_a_lone_column_keeps_its_type_and_may_be_null() -> None:
    assert _made({"to_phone_number": "{phone}", "email": "{note}"}) == {"to_phone_number": 56961234567}


def test_texts_are_formatted() -> None:
    made = _made({"message": "Hola {name}, {id:05d}: {total:,.2f} {{name}}", "ticket_metadata": {"a": {"b": "{id}!"}}})
    assert made == {"message": "Hola Ana, 00007: 12,345.60 {name}", "ticket_metadata": {"a": {"b": "7!"}}}


def test_lists_are_formatted_item_by_item() -> None:
    made = _made({"ticket_metadata": {"tags": ["late", "{name}", {"id": "{id}!"}, "{total}"]}})
    assert made == {"ticket_metadata": {"tags": ["late", "Ana", {"id": "7!"}, Decimal("12345.6")]}}


def test_values_that_are_no_texts_stay() -> None:
    assert _made({"message": {"content": "Hi", "ai_generated": False}, "ticket_metadata": {"n": 1}}) == {
        "message": {"content": "Hi", "ai_generated": False},
        "ticket_metadata": {"n": 1},
    }


def test_rows_are_data() -> None:
    """Nothing in a row is a template, in whichever language."""
    evil = {**ROW, "name": "{phone} {0} {{ ti.xcom_pull() }} %(id)s ${id}"}
    assert _made({"message": "Hola {name}"}, evil) == {"message": f"Hola {evil['name']}"}
    assert _made({"message": "{name}"}, evil) == {"message": evil["name"]}


def test_nobody_is_greeted_as_none() -> None:
    with pytest.raises(VambeValidationError) as caught:
        _made({"message": "Hola {note}", "contact_name": "{note} {missing}", "ticket_metadata": {"x": "{total:d}"}})
    assert caught.value.problems == [
        "message: column note is null",
        "contact_name: column note is null",
        "contact_name: the row has no column missing",
        "ticket_metadata.x: column total of type Decimal has no format 'd'",
    ]


@pytest.mark.parametrize(
    "text", ["{name.__class__}", "{name[0]}", "{0}", "{}", "{ }", "{name!r}", "{id:{name}}", "{name", "name}"]
)
def test_nothing_but_a_column_is_reached(text: str) -> None:
    with pytest.raises(VambeConfigError, match=r"ticket\.message"):
        compile_ticket({"message": text})


def test_a_wrong_template_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(VambeConfigError, match="unknown fields phone"):
        compile_ticket({"phone": "{phone}"})
    with pytest.raises(VambeConfigError, match="must be a dict or a function"):
        compile_ticket("{phone}")  # type: ignore[arg-type]


def test_a_template_says_what_it_needs() -> None:
    made = compile_ticket({"to_phone_number": "{phone}", "contact_name": "{name}", "stage": "Support / New",
                           "message": "{id} {total:f}"})  # fmt: skip
    assert made.columns == {"phone", "name", "id", "total"}
    assert made.personal_columns == {"phone", "name"}
    assert made.constant_stage == "Support / New"
    assert compile_ticket({"stage": "{stage}"}).constant_stage is None
    assert compile_ticket(lambda row: None).constant_stage is None


def test_columns_that_the_query_lacks() -> None:
    check_columns(["a"], ["a", "b"])
    with pytest.raises(VambeConfigError, match=r"no column c, d.*returns A, b.*case-sensitive"):
        check_columns(["c", "d", "b"], ["b", "A"])
    with pytest.raises(VambeConfigError, match="returns none"):
        check_columns(["c"], [])


def test_a_function() -> None:
    def ticket(row: dict[str, Any]) -> dict[str, Any] | None:
        name = row.pop("name")  # its own copy
        return {"contact_name": name} if row["id"] == 7 else None

    assert _made(ticket) == {"contact_name": "Ana"}
    assert _made(ticket, {"name": "x", "id": 8}) is None
    assert "name" in ROW


def test_what_a_function_raises_does_not_show_the_row() -> None:
    def ticket(row: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"cannot do {row['phone']}")

    with pytest.raises(VambeValidationError, match="raised RuntimeError") as caught:
        _made(ticket)
    assert "56961234567" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(VambeValidationError, match="returned str, not a dict"):
        _made(lambda row: "text")
