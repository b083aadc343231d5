"""The list of opt-outs on the command line: nothing half done, and no whole number in any output."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tests.support.delivery import PERSON_SECRET, row
from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Answer, Command, Nights

NUMBER, OTHER = "+56961234567", "+56961234568"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VAMBE__PERSON_SECRET", PERSON_SECRET)


def nobody_is_named(*answers: Answer) -> None:
    for answer in answers:
        for number in (NUMBER, OTHER):
            assert number[3:] not in answer.out + answer.err


def test_a_person_who_is_added_gets_no_ticket_until_removed(nights: Nights, command: Command) -> None:
    number = str(row(7)["phone"])
    added = command("suppression", "add", number, "--by", "Ana", "--url", nights.url)
    assert (added.code, added.out) == (0, "1 person will not be contacted for any purpose.\n")
    assert nights.open(7).outcome == Outcome.SUPPRESSED
    assert nights.posts() == 0
    [entry] = command("suppression", "list", "--phone", number, "--url", nights.url, "-o", "json").json
    assert (entry["purpose"], entry["source"], entry["added_by"]) == ("all", "command", "Ana")
    removed = command("suppression", "remove", number, "--url", nights.url)
    assert (removed.code, removed.out) == (0, f"***{number[-3:]} may be contacted again for any purpose.\n")
    assert nights.open(7).outcome == Outcome.OPENED


def test_who_is_not_on_the_list_is_said(nights: Nights, command: Command) -> None:
    removed = command("suppression", "remove", NUMBER, "--url", nights.url)
    assert (removed.code, removed.err) == (1, "***567 is not on the list for any purpose.\n")
    listed = command("suppression", "list", "--phone", NUMBER, "--url", nights.url)
    assert (listed.code, listed.err) == (1, "***567 is not on the list.\n")
    nobody_is_named(removed, listed)


def test_a_file_is_imported_and_may_be_imported_again(nights: Nights, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "registry.txt"
    file.write_text(f"# registry\n{NUMBER}\n\n9 6123 4568\n{NUMBER}\n2 2345 6789\n")
    line = ("suppression", "import", str(file), "--region", "CL", "--purpose", "marketing", "--url", nights.url)
    first, again = command(*line), command(*line, "-o", "json")
    assert (first.code, first.err) == (0, "")
    assert first.out == (
        "2 people will not be contacted for the purpose marketing; 0 stood on the list already.\n"
        "1 line is landlines or service numbers, which never get a ticket.\n"
    )
    assert again.json == {"added": 0, "known": 2, "never_messaged": 1, "wrong": 0}
    nobody_is_named(first, again)


def test_a_wrong_line_is_named_and_nobody_is_imported(nights: Nights, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "registry.txt"
    file.write_text(f"{NUMBER}\nname\n{OTHER} / 9\n")
    answer = command("suppression", "import", str(file), "--url", nights.url)
    assert answer.code == 2
    assert "line 2: " in answer.err
    assert "line 3: the text holds several numbers" in answer.err
    assert "2 lines are wrong, so nobody was put on the list." in answer.err
    assert command("suppression", "list", "--url", nights.url).err == "Nobody is on the list.\n"
    skipped = command("suppression", "import", str(file), "--skip-wrong", "--url", nights.url)
    assert skipped.code == 0
    assert "2 lines are wrong and left out, such as line 2" in skipped.err
    assert len(command("suppression", "list", "--url", nights.url, "-o", "json").json) == 1
    nobody_is_named(answer, skipped)


def test_numbers_are_read_from_the_standard_input(
    nights: Nights, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NUMBER}\n{OTHER}\n"))
    answer = command("suppression", "import", "-", "--url", nights.url, "-o", "json")
    assert answer.json["added"] == 2


def test_a_number_that_is_none_is_refused_without_being_shown(nights: Nights, command: Command) -> None:
    answer = command("suppression", "add", "961234568", "--url", nights.url)
    assert answer.code == 2
    assert answer.err.startswith("error: ***568: the country of the number is not certain")
    assert "961234568" not in answer.err


def test_a_file_that_cannot_be_read_is_one_line(nights: Nights, command: Command, tmp_path: Path) -> None:
    answer = command("suppression", "import", str(tmp_path / "none"), "--url", nights.url)
    assert answer.code == 2
    assert "FILE: cannot read" in answer.err
