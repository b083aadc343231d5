from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

PHONE = "+56961234567"
SUNDAY = "2026-09-06T08:30:00-03:00"


def test_json_holds_the_decision_and_nothing_else(command: Command) -> None:
    answer = command("policy", "explain", "--phone", PHONE, "--at", SUNDAY, "--policy", "cl-debt", "-o", "json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {
        "decision": "postpone",
        "until": "2026-09-07T11:00:00Z",
        "rule": "window",
        "reason": "outside_window",
        "zones": ["America/Santiago", "America/Punta_Arenas"],
    }


def test_yaml_says_the_same(command: Command) -> None:
    words = ("policy", "explain", "--phone", PHONE, "--at", SUNDAY, "--policy", "cl-debt", "-o")
    assert yaml.safe_load(command(*words, "yaml").out) == command(*words, "json").json


def test_the_table_shows_all_rules_in_order_and_which_one_decides(command: Command) -> None:
    answer = command("policy", "explain", "--phone", PHONE, "--at", SUNDAY, "--policy", "cl-debt")
    assert answer.code == 0
    lines = answer.lines
    table = lines.index(next(line for line in lines if line.startswith("RULE")))
    rows = [line.split() for line in lines[table + 1 : table + 9]]
    assert [row[0] for row in rows] == [
        "number", "suppression", "expiry", "window", "person_cap", "new_people", "sender_cap", "breaker",
    ]  # fmt: skip
    assert [row[0] for row in rows if row[-1] == "yes"] == ["window"]
    assert "Mon 08:00 America/Santiago" in answer.out
    assert "cl-debt@2026-11-25" in answer.out


def test_machines_get_all_rules_when_they_ask(command: Command) -> None:
    found = command(
        "policy", "explain", "--phone", PHONE, "--at", SUNDAY, "--policy", "cl-debt", "--rules", "-o", "json"
    ).json
    assert found["preset"] == "cl-debt@2026-11-25"
    assert [rule["rule"] for rule in found["rules"] if rule["decision"] != "pass"] == ["window"]


@pytest.mark.parametrize(
    ("words", "decision", "reason"),
    [
        ((), "send", "allowed"),
        (("--policy", "service"), "postpone", "outside_window"),
        (("--policy", '{"windows": "preset", "purpose": "debt"}'), "postpone", "outside_window"),
        (("--policy", '{"windows": "preset"}', "--purpose", "debt"), "postpone", "outside_window"),
        (("--policy", "mx-debt"), "reject", "no_window"),
        (("--policy", "service", "--timezone", "Europe/Madrid"), "send", "allowed"),
        (("--policy", "service", "--timezone", "Mars/Olympus"), "reject", "unknown_zone"),
    ],
)
def test_the_policy_the_purpose_and_the_zone_decide(
    words: tuple[str, ...], decision: str, reason: str, command: Command
) -> None:
    answer = command("policy", "explain", "--phone", PHONE, "--at", "2026-09-07T06:00:00-03:00", "-o", "json", *words)
    assert (answer.code, answer.json["decision"], answer.json["reason"]) == (0, decision, reason)


def test_the_caps_of_another_purpose_are_answered_as_for_somebody_new(command: Command) -> None:
    words = ("--phone", PHONE, "--at", "2026-09-07T12:00:00-03:00", "--purpose", "debt", "-o", "json")
    assert command("policy", "explain", *words, "--policy", '{"windows": "preset"}').json["decision"] == "send"


def test_a_time_without_a_zone_is_in_utc(command: Command) -> None:
    words = ("policy", "explain", "--phone", PHONE, "--policy", "service", "-o", "json", "--at")
    assert command(*words, "2026-11-25T10:59:00").json["until"] == "2026-11-25T11:00:00Z"
    assert command(*words, "2026-11-25T11:00:00").json["decision"] == "send"


@pytest.mark.parametrize(
    ("phone", "reason"), [("61234567", "old_format"), ("nobody", "characters"), ("+56 2 2345 6789", "landline")]
)
def test_a_number_that_cannot_be_is_rejected_by_the_rule_about_numbers(
    phone: str, reason: str, command: Command
) -> None:
    answer = command("policy", "explain", "--phone", phone, "--region", "CL", "--at", SUNDAY, "-o", "json")
    assert answer.code == 0
    assert answer.json == {"decision": "reject", "until": None, "rule": "number", "reason": reason, "zones": []}


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_the_number_is_never_shown(output: str, command: Command) -> None:
    for phone in (PHONE, "96123456"):
        answer = command("policy", "explain", "--phone", phone, "--at", SUNDAY, "--rules", "-o", output)
        assert "6123" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--at", "soon"), "error: --at: is not a time. Write it as 2026-09-06T08:30:00-03:00."),
        (("--at", "P1D"), "error: --at: is not a time."),
        (("--timezone", " "), "error: --timezone: is given but empty."),
        (("--policy", "cl"), "error: --policy.preset: there is no preset of that name. There are br-debt, cl-debt,"),
        (("--policy", '{"windows": []}'), "error: --policy.windows: is empty"),
        (("--policy", json.dumps({"windws": "any"})), "error: --policy.windws: there is no such field. Did you mean"),
        (("--region", "Chile"), "error: default_region: there is no such region."),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(words: tuple[str, ...], complaint: str, command: Command) -> None:
    answer = command("policy", "explain", "--phone", PHONE, *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(complaint)
    assert len(answer.err.splitlines()) == 1
