"""The two indexes against the plain loops that they replace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.sandbox.index import SubstringIndex, Timeline

_texts = st.text(alphabet="1234", max_size=5)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | _texts)), _texts.filter(bool))
def test_the_substring_index_finds_what_a_loop_finds(puts: list[tuple[str, str | None]], part: str) -> None:
    index, plain = SubstringIndex(), dict[str, str]()
    for item, text in puts:
        index.put(item, text)
        plain.pop(item, None)
        if text:
            plain[item] = text
    assert index.find(part) == [item for item, text in plain.items() if part in text]
    assert index.find("") == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 9))), st.integers(0, 9))
def test_the_timeline_gives_what_a_loop_gives(touches: list[tuple[str, int | None]], since: int) -> None:
    timeline, plain = Timeline(), dict[str, int]()
    for item, time in touches:
        plain.pop(item, None)
        if time is None:
            timeline.remove(item)
        else:
            timeline.touch(item, time)
            plain[item] = time
    found = timeline.since(since)
    assert sorted(found) == sorted(item for item, time in plain.items() if time > since)
    assert [plain[item] for item in found] == sorted(plain[item] for item in found)
    assert timeline.newest(2) == list(plain)[::-1][:2]
