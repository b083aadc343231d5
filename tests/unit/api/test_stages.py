from __future__ import annotations

import pytest

from vambe_provider.api import ChatMessage, Pipeline
from vambe_provider.api.conversation import in_order
from vambe_provider.api.stages import find_stage
from vambe_provider.exceptions import VambeConfigError


def pipeline(name: str | None, *stages: tuple[str, str | None]) -> Pipeline:
    return Pipeline.model_validate(
        {"id": f"p-{name}", "name": name, "stages": [{"id": key, "name": stage} for key, stage in stages]}
    )


ALL = [
    pipeline("Soporte / VIP", ("s1", "Nuevo"), ("s2", "En  curso")),
    pipeline("Ventas", ("s3", "Nuevo"), ("s4", "Ganado"), ("s5", "ganado")),
    pipeline(None, ("s6", None)),
]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("s1", "s1"),
        (" S3 ", "s3"),
        ("Soporte / VIP / Nuevo", "s1"),
        ("soporte/vip/nuevo", "s1"),
        ("en curso", "s2"),
        ("Ventas /  Nuevo", "s3"),
        ("Ventas / Ganado", "s4"),
        ("ganado", "s5"),
    ],
)
def test_a_stage_is_found(name: str, found: str) -> None:
    stage = find_stage(ALL, name)
    assert stage.id == found
    assert stage.pipeline_id is not None


def test_a_name_that_two_pipelines_have() -> None:
    with pytest.raises(VambeConfigError) as caught:
        find_stage(ALL, "nuevo")
    assert "Soporte / VIP / Nuevo (s1), Ventas / Nuevo (s3)" in str(caught.value)


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(VambeConfigError) as caught:
        find_stage(ALL, "Ventas / Perdido")
    assert "There are: Soporte / VIP / Nuevo, " in str(caught.value)
    with pytest.raises(VambeConfigError, match="there is no stage"):
        find_stage(ALL, " ")


def test_what_was_given_is_not_repeated_since_it_may_be_a_secret() -> None:
    with pytest.raises(VambeConfigError) as caught:
        find_stage(ALL, "pasted-api-key")
    assert "pasted" not in str(caught.value)


def test_a_stage_may_have_any_name() -> None:
    odd = pipeline("\x1b[31m\u202eP", ("s1", "\ud83d\x00N\n"), ("s2", None))
    for name in ("none", "pn"):
        with pytest.raises(VambeConfigError) as caught:
            find_stage([odd, odd], name)
        assert str(caught.value).isprintable()
        assert str(caught.value).encode()


def test_an_account_with_many_stages_or_none() -> None:
    many = pipeline("P", *[(f"id{number}", f"stage {number}") for number in range(100)])
    with pytest.raises(VambeConfigError, match="and 60 more"):
        find_stage([many], "nothing like it")
    with pytest.raises(VambeConfigError, match="no stages that this API key can see"):
        find_stage([], "New")


def message(key: str, created_at: str | None) -> ChatMessage:
    return ChatMessage(id=key, created_at=created_at)


def test_messages_of_the_same_moment_stay_in_order_whichever_page_comes_first() -> None:
    early, late = "2026-11-22T10:00:00.000Z", "2026-11-22T11:00:00"
    old = [message("a", early), message("b", early), message("c", late)]
    new = [message("d", late), message("e", late)]
    for pages in ([old, new], [new, old]):
        assert [item.id for item in in_order(pages)] == ["a", "b", "c", "d", "e"]


def test_messages_without_times_stay_as_they_came() -> None:
    assert [item.id for item in in_order([[message("b", "2026"), message("a", None)], []])] == ["b", "a"]
    assert [item.id for item in in_order([[message("b", "nonsense")], [message("a", "?")]])] == ["b", "a"]
    assert in_order([[]]) == []
