from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox


def test_check_says_that_a_connection_works(connect: Connect, vambe_sandbox: Sandbox, command: Command) -> None:
    connect()
    answer = command("check")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "Connected to 127.0.0.1: the key can read 3 pipelines with 10 stages.\n"
    assert {request["method"] for request in vambe_sandbox.requests()} == {"GET"}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"password": "wrong-key"}, "error: The API key is wrong."),
        ({"host": "http://127.0.0.1:1"}, "error: The host cannot be reached"),
        ({"password": None}, "error: The connection is not complete."),
    ],
)
def test_check_says_what_is_wrong(
    fields: dict[str, object], complaint: str, connect: Connect, command: Command
) -> None:
    connect("other", **fields)
    answer = command("check", "--conn-id", "other")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(complaint)
    assert len(answer.err.splitlines()) == 1
    assert "wrong-key" not in answer.err


def test_check_answers_machines_as_well(connect: Connect, command: Command) -> None:
    connect(password="wrong-key")
    answer = command("check", "--json")
    assert answer.code == 1
    assert (answer.json["conn_id"], answer.json["ok"]) == ("vambe_default", False)
    assert answer.json["message"].startswith("The API key is wrong.")


def test_a_missing_connection_is_named(command: Command) -> None:
    for name in ("check", "stages", "channels"):
        answer = command(name, "--conn-id", "nowhere")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: --conn-id: Airflow has no connection nowhere.")


def test_stages_are_listed_as_operators_take_them(connect: Connect, vambe_sandbox: Sandbox, command: Command) -> None:
    connect()
    lines = command("stages").lines
    assert re.split(r"  +", lines[0]) == ["STAGE", "ID"]
    listed = {cells[0]: cells[1] for line in lines[1:] if (cells := re.split(r"  +", line))}
    assert len(listed) == 10
    assert listed["Support / Human help"] == vambe_sandbox.stage_id("Support / Human help")
    as_json = command("stages", "--json").json
    assert {item["label"]: item["id"] for item in as_json} == listed


def test_channels_show_the_phone_id_and_not_the_number(
    connect: Connect, vambe_sandbox: Sandbox, command: Command
) -> None:
    connect()
    answer = command("channels")
    assert [line.split()[:2] for line in answer.lines[1:]] == [["web-whatsapp", "qr-main"], ["whatsapp", "1951"]]
    assert not re.search(r"\d{7}", answer.out + command("channels", "--json").out)


def test_a_channel_without_a_sender_is_left_out(connect: Connect, vambe_sandbox: Sandbox, command: Command) -> None:
    connect()
    vambe_sandbox.fault("get_channel", kind="status", status=404, times=1)
    assert [item["channel"] for item in command("channels", "--json").json] == ["whatsapp"]
    vambe_sandbox.fault("get_channel", kind="status", status=404, times="forever")
    answer = command("channels")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("No sender is connected.")


def test_a_wrong_key_is_not_taken_for_a_missing_sender(connect: Connect, command: Command) -> None:
    connect(password="wrong-key")
    answer = command("channels")
    assert answer.code == 1
    assert "401" in answer.err
