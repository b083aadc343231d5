from __future__ import annotations

import csv
import getpass
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import make_url

from tests.support.delivery import PERSON_SECRET, Deliveries, connected, row
from vambe_provider.delivery.ledger.tables import attempts
from vambe_provider.delivery.model import Outcome

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command, Nights
    from vambe_provider.sandbox import Sandbox

MODULE = [sys.executable, "-m", "vambe_provider"]
ROOT = Path(__file__).resolve().parents[3]
PERSONAL = re.compile(r"\+?5691\d{7}|Person\d|Hello")


# --- Resolve --------------------------------------------------------------------------------------------------------


def test_a_ticket_resolved_as_not_sent_is_sent_by_the_next_run(nights: Nights, command: Command) -> None:
    nights.unknown(7)
    assert nights.open(7).outcome == Outcome.UNKNOWN
    answer = command("ledger", "resolve", "id=7", "--not-sent", "--url", nights.url)
    assert (answer.code, answer.out) == (0, "id=7 in late-orders counts as not sent; the next run sends it.\n")
    assert nights.open(7).outcome == Outcome.OPENED
    assert nights.tickets() == {"7": 1}


def test_a_ticket_resolved_as_sent_is_never_sent_again(nights: Nights, command: Command) -> None:
    nights.unknown(7)
    posts = nights.posts()
    answer = command("ledger", "resolve", "id=7", "--sent", "--contact", "contact-1", "--url", nights.url)
    assert (answer.code, answer.out) == (0, "id=7 in late-orders is opened now and is never sent again.\n")
    result = nights.open(7)
    assert (result.outcome, result.ai_contact_id) == (Outcome.ALREADY_OPENED, "contact-1")
    assert nights.posts() == posts
    [shown] = command("ledger", "show", "id=7", "--url", nights.url, "--json").json
    assert (shown["state"], shown["evidence"], shown["error"]) == ("opened", "person", None)


def test_a_worker_that_may_be_sending_is_not_overruled(nights: Nights, command: Command) -> None:
    nights.sending(7, lease=600)
    answer = command("ledger", "resolve", "id=7", "--not-sent", "--url", nights.url)
    assert answer.code == 1
    assert "id=7 is being sent by a worker" in answer.err
    assert nights.posts() == 0
    forced = command("ledger", "resolve", "id=7", "--not-sent", "--force", "--url", nights.url)
    assert forced.code == 0
    assert nights.open(7).outcome == Outcome.OPENED


def test_a_worker_whose_lease_is_over_is_overruled(nights: Nights, command: Command) -> None:
    nights.sending(7, lease=-1)
    assert command("ledger", "resolve", "id=7", "--sent", "--url", nights.url).code == 0
    assert nights.open(7).outcome == Outcome.ALREADY_OPENED
    assert nights.posts() == 0


def test_a_person_is_free_again_after_a_verdict(nights: Nights, command: Command) -> None:
    """Another ticket to the same person had to wait for this one."""
    nights.sending(7, lease=600)
    command("ledger", "resolve", "id=7", "--not-sent", "--force", "--url", nights.url)
    assert nights.open(8, phone=row(7)["phone"]).outcome == Outcome.OPENED


def test_several_tickets_are_resolved_together_or_not_at_all(nights: Nights, command: Command) -> None:
    nights.unknown(7)
    nights.open(8)
    answer = command("ledger", "resolve", "id=7", "id=8", "--not-sent", "--url", nights.url)
    assert answer.code == 1
    assert answer.err == (
        "error: id=8 is opened, so there is nothing to resolve. It is not sent again by itself. To open it once more, "
        "run its task with resend=True.\n"
    )
    assert nights.open(7).outcome == Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["id=7"], "Give either --sent or --not-sent."),
        (["id=7", "--sent", "--not-sent"], "Give either --sent or --not-sent."),
        (["id=7", "--not-sent", "--contact", "c"], "--contact belongs to --sent and a single KEY."),
        (["id=7", "id=8", "--sent", "--contact", "c"], "--contact belongs to --sent and a single KEY."),
    ],
)
def test_resolve_wants_one_clear_verdict(arguments: list[str], complaint: str, command: Command) -> None:
    answer = command("ledger", "resolve", *arguments, "--url", "sqlite://")
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {complaint}\n")


def test_a_key_that_two_namespaces_have_needs_its_namespace(lite_nights: Nights, command: Command) -> None:
    lite_nights.unknown(7)
    lite_nights.unknown(7, namespace="payments", phone="+56922222222")
    arguments = ("ledger", "resolve", "id=7", "--sent", "--url", lite_nights.url)
    answer = command(*arguments)
    assert answer.code == 2
    assert "2 tickets have the key 'id=7'" in answer.err
    assert "Add --namespace" in answer.err
    assert command(*arguments, "--namespace", "payments").code == 0
    assert lite_nights.open(7).outcome == Outcome.UNKNOWN


# --- Retry ----------------------------------------------------------------------------------------------------------


def test_a_rejected_ticket_is_tried_again_after_retry(nights: Nights, command: Command) -> None:
    nights.rejected(7)
    assert nights.open(7).outcome == Outcome.REJECTED
    answer = command("ledger", "retry", "id=7", "--url", nights.url)
    assert (answer.code, answer.out) == (0, "id=7 in late-orders is tried again by the next run.\n")
    assert nights.open(7).outcome == Outcome.OPENED


def test_all_rejected_tickets_of_one_namespace_are_tried_again(nights: Nights, command: Command) -> None:
    nights.rejected(7)
    nights.rejected(8)
    nights.rejected(9, namespace="payments")
    nights.unknown(10)
    answer = command("ledger", "retry", "--all", "--namespace", "late-orders", "--url", nights.url)
    assert (answer.code, answer.out) == (0, "2 tickets of late-orders: the next run tries them again.\n")
    outcomes = [nights.open(number).outcome for number in (7, 8, 10)]
    assert outcomes == [Outcome.OPENED, Outcome.OPENED, Outcome.UNKNOWN]
    assert nights.open(9, namespace="payments").outcome == Outcome.REJECTED


def test_retry_leaves_a_ticket_alone_that_may_exist(lite_nights: Nights, command: Command) -> None:
    lite_nights.unknown(7)
    answer = command("ledger", "retry", "id=7", "--url", lite_nights.url)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(
        "error: id=7 is unknown, so there is nothing to retry. Look at the contact in Vambe, then run "
        "`python -m vambe_provider ledger resolve "
    )
    assert lite_nights.open(7).outcome == Outcome.UNKNOWN


@pytest.mark.parametrize("arguments", [[], ["id=7", "--all", "--namespace", "a"], ["--all"]])
def test_retry_wants_keys_or_a_whole_namespace(arguments: list[str], command: Command) -> None:
    answer = command("ledger", "retry", *arguments, "--url", "sqlite://")
    assert answer.code == 2
    assert "--namespace" in answer.err


# --- Prune ----------------------------------------------------------------------------------------------------------


def test_prune_forgets_what_is_old_and_nothing_else(nights: Nights, command: Command) -> None:
    for number in (1, 2, 3):
        nights.open(number)
    nights.rejected(4)
    nights.age(1, days=100)
    nights.age(2, days=89)
    nights.age(4, days=100)
    arguments = ("ledger", "prune", "--older-than", "90d", "--state", "opened", "--url", nights.url)
    would = command(*arguments, "--dry-run")
    assert (would.code, would.out) == (0, "1 ticket in the state opened would be forgotten.\n")
    done = command(*arguments)
    assert (done.code, done.out) == (0, "1 ticket in the state opened was forgotten.\n")
    assert command(*arguments).out == "0 tickets in the state opened were forgotten.\n"
    left = {item["key"] for item in command("ledger", "list", "--json", "--url", nights.url).json}
    assert left == {"id=2", "id=3", "id=4"}


def test_a_forgotten_ticket_is_sent_again(lite_nights: Nights, command: Command) -> None:
    """The reason why the help and the refusal below are so loud."""
    lite_nights.open(1)
    lite_nights.age(1, days=100)
    command("ledger", "prune", "--older-than", "90d", "--state", "opened", "--url", lite_nights.url)
    assert lite_nights.open(1).outcome == Outcome.OPENED
    assert lite_nights.tickets() == {"1": 2}


def test_prune_of_young_tickets_says_what_it_would_do_and_wants_force(nights: Nights, command: Command) -> None:
    nights.open(1)
    nights.open(2)
    for number in (1, 2):
        nights.age(number, hours=30)
    arguments = ("ledger", "prune", "--older-than", "1d", "--state", "opened", "--url", nights.url)
    refused = command(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "2 tickets in the state opened would be forgotten" in refused.err
    assert "--force" in refused.err
    assert nights.open(1).outcome == Outcome.ALREADY_OPENED
    assert command(*arguments, "--force", "--json").json == {"state": "opened", "tickets": 2, "pruned": True}


@pytest.mark.parametrize("state", ["unknown", "sending"])
def test_what_may_have_been_sent_is_never_pruned(state: str, lite_nights: Nights, command: Command) -> None:
    lite_nights.unknown(1)
    lite_nights.sending(2, lease=-1)
    for number in (1, 2):
        lite_nights.age(number, days=100)
    answer = command("ledger", "prune", "--older-than", "90d", "--state", state, "--force", "--url", lite_nights.url)
    assert answer.code == 2
    assert f"Tickets in the state {state} are never pruned" in answer.err
    assert len(command("ledger", "list", "--json", "--url", lite_nights.url).json) == 2


# --- Look -----------------------------------------------------------------------------------------------------------


def test_counts_stand_by_namespace_and_state(nights: Nights, command: Command) -> None:
    nights.open(1)
    nights.open(2)
    nights.rejected(3)
    nights.open(4, namespace="payments")
    answer = command("ledger", "counts", "--url", nights.url)
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert answer.code == 0
    assert answer.lines[0] == "NAMESPACE    ACCOUNT     STATE     TICKETS  FIRST CHANGE         LAST CHANGE"
    for line, start in zip(
        answer.lines[1:],
        [
            "late-orders  vambe.test  opened          2",
            "late-orders  vambe.test  rejected        1",
            "payments     vambe.test  opened          1",
        ],
        strict=True,
    ):
        assert re.fullmatch(rf"{start}  {time}  {time}", line)
    one = command("ledger", "counts", "--namespace", "payments", "--json", "--url", nights.url).json
    assert [(item["namespace"], item["state"], item["tickets"]) for item in one] == [("payments", "opened", 1)]


def test_the_list_is_filtered_and_the_last_change_comes_first(nights: Nights, command: Command) -> None:
    nights.open(1)
    nights.rejected(2)
    nights.open(3, namespace="payments")
    nights.unknown(4)
    for number, hours in ((1, 50), (2, 3), (3, 2), (4, 1)):
        nights.age(number, hours=hours)

    def keys(*filters: str) -> list[str]:
        answer = command("ledger", "list", *filters, "--json", "--url", nights.url)
        return [item["key"] for item in answer.json]

    assert keys() == ["id=4", "id=3", "id=2", "id=1"]
    assert keys("--namespace", "late-orders") == ["id=4", "id=2", "id=1"]
    assert keys("--state", "rejected", "--state", "unknown") == ["id=4", "id=2"]
    assert keys("--run", "2026-11-22") == ["id=4", "id=2"]
    assert keys("--run", "2026%") == []
    assert keys("--older-than", "150m") == ["id=2", "id=1"]
    assert keys("--newer-than", "2d", "--older-than", "90m") == ["id=3", "id=2"]


def test_a_list_that_goes_on_says_so(lite_nights: Nights, command: Command) -> None:
    for number in (1, 2, 3):
        lite_nights.open(number)
    short = command("ledger", "list", "--limit", "2", "--url", lite_nights.url)
    assert len(short.lines) == 3
    assert short.err.startswith("There are more than these 2")
    assert command("ledger", "list", "--limit", "3", "--url", lite_nights.url).err == ""


def test_show_finds_a_ticket_by_its_text_and_by_what_vambe_shows(nights: Nights, command: Command) -> None:
    nights.open(7)
    by_text = command("ledger", "show", "id=7", "--json", "--url", nights.url).json
    by_marker = command("ledger", "show", nights.marker(7), "--json", "--url", nights.url).json
    again = command("ledger", "show", f"{nights.marker(7)}.1", "--json", "--url", nights.url).json
    assert by_text == by_marker == again
    [shown] = by_text
    assert shown["evidence"] == "reply"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["updated_at"])


def test_show_prints_one_field_a_line(lite_nights: Nights, command: Command) -> None:
    lite_nights.rejected(7)
    fields = dict(line.split(maxsplit=1) for line in command("ledger", "show", "id=7", "--url", lite_nights.url).lines)
    assert fields["namespace"] == "late-orders"
    assert fields["state"] == "rejected"
    assert fields["error_kind"] == "refused_422"
    assert "ai_contact_id" not in fields


@pytest.mark.parametrize(
    "arguments",
    [
        ["counts"],
        ["list"],
        ["list", "--state", "unknown"],
        ["show", "id=99"],
        ["show", "0" * 32],
        ["resolve", "id=99", "--sent"],
        ["retry", "id=99"],
    ],
)
def test_nothing_found_is_told_apart(arguments: list[str], sqlite_url: str, command: Command) -> None:
    command("ledger", "create", "--url", sqlite_url)
    answer = command("ledger", *arguments, "--url", sqlite_url)
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1


def test_nobody_is_named(nights: Nights, command: Command, tmp_path: Path) -> None:
    nights.open(1)
    nights.rejected(2)
    nights.unknown(3)
    with connected(nights.url) as connection:
        hidden = {
            value
            for found in connection.execute(
                sa.select(attempts.c.person, attempts.c.message_hash, attempts.c.fingerprint)
            )
            for value in found
        }
    outputs = [
        command("ledger", *arguments, "--url", nights.url).out
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["show", "id=1", "id=2", "id=3"],
            ["show", "id=3", "--json"],
            ["history", "id=1", "id=2", "id=3"],
            ["history", "id=3", "-o", "yaml"],
            ["export"],
            ["export", "--format", "json"],
        )
    ]
    assert all(outputs)
    for output in outputs:
        assert not PERSONAL.search(output)
        assert not [value for value in hidden if value in output]


def test_a_key_from_data_cannot_steer_the_terminal(sqlite_url: str, vambe_sandbox: Sandbox, command: Command) -> None:
    deliveries = Deliveries(vambe_sandbox, sqlite_url)
    deliveries.one({**row(1), "id": "1\x1b[2J\nid=2"})
    out = command("ledger", "list", "--url", sqlite_url).out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out


# --- Tables ---------------------------------------------------------------------------------------------------------


def in_terminal(width: int, *arguments: str) -> list[str]:
    """Run a command in a terminal of this width, and return the lines that it shows."""
    own, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width)}
    with subprocess.Popen([*MODULE, *arguments], stdout=its, cwd=ROOT, env=environment) as process:
        os.close(its)
        shown = b""
        while piece := _read(own):
            shown += piece
        os.close(own)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n").splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_a_table_fits_its_terminal_and_a_pipe_gets_all(lite_nights: Nights, command: Command) -> None:
    namespace = "a-namespace-that-says-what-it-is-for-and-goes-on"
    lite_nights.open(1, namespace=namespace)
    arguments = ("ledger", "list", "--url", lite_nights.url)
    narrow = in_terminal(100, *arguments)
    assert max(map(len, narrow)) <= 100
    assert "…" in narrow[1]
    assert "opened" in narrow[1]
    wide = in_terminal(300, *arguments)
    assert wide == command(*arguments).lines
    assert namespace in wide[1]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_early_is_no_error(unbuffered: str, lite_nights: Nights) -> None:
    lite_nights.open(1)
    nobody, pipe = os.pipe()
    os.close(nobody)
    reply = subprocess.run(
        [*MODULE, "ledger", "export", "--url", lite_nights.url],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=pipe,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(pipe)
    assert (reply.returncode, reply.stderr) == (0, "")


# --- Export ---------------------------------------------------------------------------------------------------------


def test_an_export_holds_every_row_that_the_filters_leave(nights: Nights, command: Command, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        nights.open(number)
    nights.rejected(4)
    arguments = ("ledger", "export", "--url", nights.url, "--state", "opened")
    found = list(csv.DictReader(io.StringIO(command(*arguments).out)))
    assert sorted(item["key"] for item in found) == ["id=1", "id=2", "id=3"]
    assert {item["state"] for item in found} == {"opened"}
    assert found[0]["error"] == ""
    as_json = command(*arguments, "--format", "json").json
    assert [{name: "" if value is None else str(value) for name, value in item.items()} for item in as_json] == found
    file = tmp_path / "tickets.json"
    answer = command(*arguments, "--format", "json", "--output", str(file))
    assert (answer.code, answer.out, answer.err) == (0, "", f"3 tickets written to {file}.\n")
    assert json.loads(file.read_text()) == as_json


@pytest.mark.parametrize(("form", "empty"), [("json", "[]\n"), ("csv", "namespace,account,ticket_key,key,state")])
def test_an_empty_export_is_well_formed(form: str, empty: str, sqlite_url: str, command: Command) -> None:
    command("ledger", "create", "--url", sqlite_url)
    answer = command("ledger", "export", "--format", form, "--url", sqlite_url)
    assert answer.code == 1
    assert answer.out.startswith(empty)


def test_an_export_that_cannot_be_written_says_where(lite_nights: Nights, command: Command, tmp_path: Path) -> None:
    lite_nights.open(1)
    target = tmp_path / "nowhere" / "tickets.csv"
    answer = command("ledger", "export", "--output", str(target), "--url", lite_nights.url)
    assert (answer.code, answer.err) == (
        2,
        f"error: --output: cannot write {target}: No such file or directory.\n",
    )


# --- The database ---------------------------------------------------------------------------------------------------


def test_create_makes_the_table_once_and_deliveries_use_it(nights: Nights, command: Command) -> None:
    arguments = ("ledger", "create", "--url", nights.url)
    kinds = ("attempts", "ledger", "schema", "senders", "suppressions")
    made = ", ".join(f"vambe_ticket_{kind}" for kind in kinds)
    assert command(*arguments).out == f"The tables {made} were created.\n"
    again = command(*arguments)
    assert (again.code, again.out) == (0, f"The tables {made} were there already.\n")
    assert nights.open(1).outcome == Outcome.OPENED
    assert command("ledger", "counts", "--json", "--url", nights.url).json[0]["tickets"] == 1


def test_a_missing_table_is_an_error_that_names_the_command(ledger_url: str, command: Command) -> None:
    if ledger_url.startswith("sqlite"):
        Path(make_url(ledger_url).database or "").touch()
    answer = command("ledger", "list", "--url", ledger_url)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: The table vambe_ticket_")
    assert "does not exist. Run `python -m vambe_provider ledger create" in answer.err


def test_before_the_first_run_there_are_none_yet(ledger_url: str, command: Command) -> None:
    for _ in range(2):
        answer = command("ledger", "counts", "--url", ledger_url)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("There are none yet")
        command("ledger", "create", "--url", ledger_url)


def test_a_mistyped_file_is_not_made(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "typo.sqlite"
    answer = command("ledger", "list", "--url", f"sqlite:///{file}")
    assert answer.code == 1
    assert f"there is no file {file}" in answer.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("no-url", "not a SQLAlchemy URL of a known kind"),
        ("postgres://user:s3cret@host/database", "not a SQLAlchemy URL of a known kind"),
        ("postgresql+psycopg2://user:s3cret@127.0.0.1:notaport/database", "not a SQLAlchemy URL of a known kind"),
        ("postgresql+psycopg2://user:s3cret@127.0.0.1:1/database", "The ledger's database failed"),
        ("mysql+pymysql://user:s3cret@127.0.0.1:1/database", "The ledger's database failed"),
    ],
)
def test_an_error_about_the_database_is_one_line_without_its_password(
    url: str, complaint: str, command: Command
) -> None:
    answer = command("ledger", "counts", "--url", url)
    assert answer.code in (1, 2)
    assert complaint in answer.err
    assert len(answer.err.splitlines()) == 1
    assert "s3cret" not in answer.err


def test_the_ledger_is_found_by_its_airflow_connection(
    lite_nights: Nights, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite_nights.open(1)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", lite_nights.url)
    answer = command("ledger", "list", "--conn-id", "warehouse", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert [item["key"] for item in answer.json] == ["id=1"]


@pytest.mark.parametrize(
    ("connection", "complaint"),
    [
        (None, "--conn-id: Airflow has no connection elsewhere"),
        ('{"conn_type": "vambe", "password": "s3cret"}', "does not run SQL"),
    ],
)
def test_a_connection_that_leads_to_no_ledger_is_named(
    connection: Any, complaint: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", connection)
    answer = command("ledger", "list", "--conn-id", "elsewhere")
    assert answer.code == 2
    assert answer.err.startswith("error: --conn-id: ")
    assert complaint in answer.err


@pytest.mark.parametrize("where", [[], ["--conn-id", "a", "--url", "sqlite://"]])
def test_exactly_one_way_to_the_ledger_is_needed(where: list[str], command: Command) -> None:
    answer = command("ledger", "counts", *where)
    assert answer.code == 2
    assert "either --conn-id or --url" in answer.err


@pytest.mark.parametrize("wrong", ["90", "d", "1.5d", "-1d", "99999w", "90 d"])
def test_an_age_that_cannot_be_read_is_named(wrong: str, command: Command) -> None:
    answer = command("ledger", "list", f"--older-than={wrong}", "--url", "sqlite://")
    assert answer.code == 2
    assert f"'{wrong}' is not an age" in answer.err


# --- History, never, seed, forms ------------------------------------------------------------------------------------


def test_the_history_names_each_attempt_and_who_decided(lite_nights: Nights, command: Command) -> None:
    lite_nights.unknown(7)
    command("ledger", "resolve", "id=7", "--not-sent", "--by", "Ana", "--url", lite_nights.url)
    lite_nights.open(7)
    answer = command("ledger", "history", "id=7", "--url", lite_nights.url)
    assert answer.code == 0
    assert answer.lines[0] == "id=7 in late-orders of vambe.test: opened"
    assert [line.split()[0] for line in answer.lines[2:]] == ["1", "2", "3"]
    assert "Ana" in answer.lines[3]
    [shown] = command("ledger", "history", "id=7", "-o", "json", "--url", lite_nights.url).json
    assert [(step["reason"], step["decision"], step["sent"]) for step in shown["history"]] == [
        ("first", None, "no"),
        ("decision", "not_sent", "no"),
        ("again", None, "yes"),
    ]


def test_the_user_of_the_system_decides_unless_another_is_named(lite_nights: Nights, command: Command) -> None:
    lite_nights.unknown(7)
    command("ledger", "resolve", "id=7", "--sent", "--url", lite_nights.url)
    [shown] = command("ledger", "history", "id=7", "--json", "--url", lite_nights.url).json
    assert shown["history"][1]["decided_by"] == getpass.getuser()
    empty = command("ledger", "never", "id=7", "--by", " ", "--url", lite_nights.url)
    assert (empty.code, empty.err) == (2, "error: --by: is given but empty. Leave it out, or give a name.\n")


def test_a_ticket_that_is_ruled_out_is_not_sent_until_retry(lite_nights: Nights, command: Command) -> None:
    lite_nights.failed(7)
    answer = command("ledger", "never", "id=7", "--url", lite_nights.url)
    assert answer.out == "id=7 in late-orders is never sent, until `ledger retry` takes that back.\n"
    assert lite_nights.open(7).outcome == Outcome.SUPPRESSED
    assert command("ledger", "retry", "id=7", "--url", lite_nights.url).code == 0
    assert lite_nights.open(7).outcome == Outcome.OPENED


def test_the_command_in_a_tasks_error_works_as_printed(
    lite_nights: Nights, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CONN_ID", lite_nights.url)
    lite_nights.unknown(7)
    error = lite_nights.open(7).error
    [printed] = re.findall(r"`python -m vambe_provider (ledger resolve [^`]*)`", str(error))
    assert command(*printed.split()).code == 0
    assert lite_nights.open(7).outcome == Outcome.ALREADY_OPENED


def test_yaml_holds_what_json_holds(lite_nights: Nights, command: Command) -> None:
    lite_nights.open(1)
    arguments = ("ledger", "list", "--url", lite_nights.url, "-o")
    assert yaml.safe_load(command(*arguments, "yaml").out) == command(*arguments, "json").json


def test_what_is_seeded_is_not_sent(
    lite_nights: Nights, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__VAMBE__PERSON_SECRET", PERSON_SECRET)
    backlog = tmp_path / "backlog.csv"
    backlog.write_text("id,name\n1,a\n2,b\n2,b\n")
    lite_nights.open(1)
    arguments = ("--namespace", "late-orders", "--account", "vambe.test", "--key-columns", "id")
    where = ("--url", lite_nights.url)
    done = command("ledger", "seed", *arguments, "--file", str(backlog), *where)
    assert (done.code, done.out) == (0, "1 ticket of 3 rows recorded as done in late-orders of vambe.test.\n")
    assert lite_nights.open(2).outcome == Outcome.ALREADY_OPENED
    by_query = command("ledger", "seed", *arguments, "--sql", "SELECT 3 AS id", *where, "-o", "json")
    assert by_query.json == {"rows": 1, "seeded": 1}
    assert lite_nights.open(3).outcome == Outcome.ALREADY_OPENED
    wrong = command("ledger", "seed", *arguments, "--sql", "SELECT 3 AS number", *where)
    assert (wrong.code, "there is no column id" in wrong.err) == (2, True)


def test_upgrade_of_a_current_ledger_changes_nothing(lite_nights: Nights, command: Command) -> None:
    lite_nights.open(1)
    answer = command("ledger", "upgrade", "--url", lite_nights.url)
    assert (answer.code, answer.out) == (0, "The ledger's tables have version 2 already.\n")


def test_an_export_is_for_its_owner_and_computes_nothing(lite_nights: Nights, command: Command, tmp_path: Path) -> None:
    lite_nights.open(1, namespace="=1+1")
    target = tmp_path / "tickets.csv"
    target.write_text("old")
    target.chmod(0o644)
    assert command("ledger", "export", "--output", str(target), "--url", lite_nights.url).code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    [found] = csv.DictReader(io.StringIO(target.read_text()))
    assert found["namespace"] == "'=1+1"
