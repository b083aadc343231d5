from __future__ import annotations

import json
from typing import Any

import pytest

from vambe_provider.exceptions import VambeConfigError
from vambe_provider.waiting.ids import contact_ids, names

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
    assert contact_ids(given) == expected


def test_what_a_mapped_task_returned_is_read_like_a_list() -> None:
    class Lazy:
        def __iter__(self) -> Any:
            return iter([{"ai_contact_id": A}, {"ai_contact_id": B}])

    assert contact_ids(Lazy()) == [A, B]


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
        (7, "ai_contact_ids", "is a int"),
        ({"ai_contact_id": None}, "ai_contact_ids.ai_contact_id", "empty"),
        ({"rows": 3}, "ai_contact_ids", "neither"),
    ],
)
def test_what_is_no_id_is_named_with_its_place(given: Any, place: str, reason: str) -> None:
    with pytest.raises(VambeConfigError) as caught:
        contact_ids(given)
    assert caught.value.message.startswith(f"{place}: ")
    assert reason in caught.value.message
    assert "56912345678" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, []), ("", []), ("Support / New", ["Support / New"]), ('["a", "b"]', ["a", "b"]), (["a", "a"], ["a"])],
)
def test_names(given: Any, expected: list[str]) -> None:
    assert names(given) == expected
