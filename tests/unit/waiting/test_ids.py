from __future__ import annotations

import json
from typing import Any

import pytest

from vambe_provider.exceptions import VambeConfigError
from vambe_provider.waiting.conditions import moment
from vambe_provider.waiting.ids import check_account, check_id, names, targets
from vambe_provider.waiting.tickets import Target

AT, UNTIL = "2026-03-01T10:00:00+00:00", "2026-03-01T10:02:00+00:00"
A, B = "0f6e3a52-7a40-4a5b-9e0a-0f5f3e0d7c11", "7d6dc8e0-3f4f-4b5e-8a0c-c6a4b9f1e922"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (A, [A]),
        (f" {A} ", [A]),
        ([A, B, A], [A, B]),
        ((A, B), [A, B]),
        ({"ai_contact_id": A, "outcome": "opened", "link": None}, [A]),
        ({"ai_contact_ids": [A, B], "rows": 2}, [A, B]),
        ([{"ai_contact_id": A}, {"ai_contact_id": B}], [A, B]),
        (json.dumps([A, B]), [A, B]),
        (str({"ai_contact_id": A, "link": None}), [A]),
        ({"ai_contact_ids": []}, []),
        ([], []),
    ],
)
def test_everything_that_an_upstream_task_hands_over(given: Any, expected: list[str]) -> None:
    assert [target.contact_id for target in targets(given)] == expected


def test_what_a_mapped_task_returned_is_read_like_a_list() -> None:
    class Lazy:
        def __iter__(self) -> Any:
            return iter([{"ai_contact_id": A}, {"ai_contact_id": B}])

    assert [target.contact_id for target in targets(Lazy())] == [A, B]


RESULT = {
    "ai_contact_id": A,
    "ticket_key": "d" * 32,
    "mark": "d" * 32,
    "opened_at": AT,
    "opened_until": UNTIL,
    "outcome": "opened",
    "stage_id": "s-1",
    "link": None,
    "account": "api.vambe.me",
}


def test_what_the_opening_recorded_is_kept() -> None:
    known = Target(A, mark="d" * 32, opened_at=moment(AT), opened_until=moment(UNTIL), account="api.vambe.me")
    assert targets(RESULT) == [known]
    assert targets(json.dumps([RESULT])) == [known]
    assert targets({"ai_contact_ids": [A], "opened_at": AT, "opened_until": UNTIL}) == [
        Target(A, opened_at=moment(AT), opened_until=moment(UNTIL))
    ]


def test_two_tickets_of_one_contact_are_two_and_a_bare_id_adds_none() -> None:
    other = {**RESULT, "mark": "e" * 32}
    assert [target.mark for target in targets([A, RESULT, RESULT, other, A.upper()])] == ["d" * 32, "e" * 32]


def test_a_uuid_in_capitals_is_the_same_one() -> None:
    assert targets([A.upper(), A]) == [Target(A)]
    assert check_id(f" {A.upper()} ", "ticket_id") == A


@pytest.mark.parametrize(
    ("given", "place", "reason"),
    [
        ("", "ai_contact_ids", "empty"),
        (None, "ai_contact_ids", "empty"),
        ("None", "ai_contact_ids", "empty"),
        ([A, " "], "ai_contact_ids[1]", "empty"),
        ("..", "ai_contact_ids", "cannot be"),
        ([A, "a/b"], "ai_contact_ids[1]", "cannot be"),
        ("a b", "ai_contact_ids", "cannot be"),
        ("x" * 201, "ai_contact_ids", "cannot be"),
        ("+56 9 1234 5678", "ai_contact_ids", "phone number"),
        ("56912345678", "ai_contact_ids", "phone number"),
        (7, "ai_contact_ids", "of the type int"),
        (True, "ai_contact_ids", "of the type bool"),
        (b"abc", "ai_contact_ids", "of the type bytes"),
        ("null", "ai_contact_ids", "empty"),
        ("NaN", "ai_contact_ids", "empty"),
        ("<NA>", "ai_contact_ids", "empty"),
        ("undefined", "ai_contact_ids", "empty"),
        (f"{A},{B}", "ai_contact_ids", "cannot be"),
        (f"{A};{B}", "ai_contact_ids", "cannot be"),
        ("{{ ti.xcom_pull() }}", "ai_contact_ids", "cannot be"),
        ("9-1234-5678", "ai_contact_ids", "phone number"),
        ("(56) 9\u20121234\u20125678", "ai_contact_ids", "phone number"),
        ("ana@example.com", "ai_contact_ids", "e-mail"),
        ({**RESULT, "mark": 5}, "ai_contact_ids.mark", "int"),
        ({**RESULT, "opened_at": "yesterday"}, "ai_contact_ids.opened_at", "ISO 8601"),
        ([RESULT, {**RESULT, "opened_until": 17}], "ai_contact_ids[1].opened_until", "ISO 8601"),
        ({**RESULT, "ticket_id": "a,b"}, "ai_contact_ids.ticket_id", "cannot be"),
        ({"ai_contact_id": None}, "ai_contact_ids.ai_contact_id", "empty"),
        ({"rows": 3}, "ai_contact_ids", "neither"),
    ],
)
def test_what_is_not_an_id_is_named_with_its_place(given: Any, place: str, reason: str) -> None:
    with pytest.raises(VambeConfigError) as caught:
        targets(given)
    assert caught.value.message.startswith(f"{place}: ")
    assert reason in caught.value.message
    assert "56912345678" not in str(caught.value)
    assert "ana@" not in str(caught.value)


def test_a_ticket_of_another_account_is_refused() -> None:
    found = targets([RESULT, B])
    check_account(found, "api.vambe.me", conn_id="crm")
    check_account(found, None, conn_id="crm")
    with pytest.raises(VambeConfigError, match=r"another account than that of connection crm \(api.vambe.me/chile\)"):
        check_account(found, "api.vambe.me/chile", conn_id="crm")


def test_a_ticket_that_was_not_opened_says_so() -> None:
    with pytest.raises(VambeConfigError, match=r"The ticket was not opened \(suppressed\)"):
        targets({"ai_contact_id": None, "outcome": "suppressed"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ("", []),
        (["a", None, "None", " "], ["a"]),
        ("Support / New", ["Support / New"]),
        ('["a", "b"]', ["a", "b"]),
        (["a", "a"], ["a"]),
    ],
)
def test_names(given: Any, expected: list[str]) -> None:
    assert names(given) == expected
