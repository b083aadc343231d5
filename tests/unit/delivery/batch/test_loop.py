from __future__ import annotations

import itertools
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.delivery import TICKET, Background, Deliveries, connected, options, row, rows
from vambe_provider.api.rate import Rate
from vambe_provider.delivery.attempt import post
from vambe_provider.delivery.batch import loop
from vambe_provider.delivery.batch import progress as words
from vambe_provider.delivery.batch import source as reading
from vambe_provider.delivery.model import Outcome

PHONE = "+56911112222"


def test_rows_become_tickets(everywhere: Deliveries) -> None:
    report = everywhere.many(rows(30), total=30)
    plain = report.to_json()
    assert plain["rows"] == plain["counts"]["opened"] == 30
    assert len(plain["ai_contact_ids"]) == 30
    assert everywhere.tickets() == {str(number): 1 for number in range(1, 31)}
    assert set(everywhere.bodies()) == {f"Hello Person{n}, your order {n} is late" for n in range(1, 31)}
    assert everywhere.log[-1].startswith("30 opened in")


def test_no_rows(deliveries: Deliveries) -> None:
    report = deliveries.many([])
    assert (report.rows, report.verdict(), deliveries.sandbox.request_count) == (0, None, 0)


def test_a_row_that_fails_stops_no_other(everywhere: Deliveries) -> None:
    everywhere.sandbox.fault("open_ticket", kind="status", status=422, says="not a valid number", phone=row(2)["phone"])
    data = [row(1), row(2), row(3, phone="12"), row(4, id=None), row(5)]
    report = everywhere.many(data)
    assert report.counts == {Outcome.OPENED: 2, Outcome.REJECTED: 3}
    assert sorted(error["key"] for error in report.errors) == ["", "id=2", "id=3"]
    assert everywhere.states() == {"id=1": "opened", "id=2": "rejected", "id=3": "rejected", "id=5": "opened"}
    again = everywhere.many(data)
    assert again.counts == {Outcome.ALREADY_OPENED: 2, Outcome.REJECTED: 3}
    tomorrow = everywhere.many(data, opts=options(run="tomorrow"))
    assert tomorrow.counts == {Outcome.ALREADY_OPENED: 2, Outcome.STILL_REJECTED: 2, Outcome.REJECTED: 1}
    assert everywhere.posts() == 3
    fixed = everywhere.many([row(2, name="Another"), row(3)])
    assert fixed.counts == {Outcome.OPENED: 2}


def test_people_who_would_be_messaged_at_night_are_counted_in_one_warning(deliveries: Deliveries) -> None:
    """London, Manila and Los Angeles are so far apart that it is always night in one of them."""
    warnings: list[str] = []
    phones = ("+447400123456", "+639171234567", "+12133734253")
    report = deliveries.many([row(n, phone=phone) for n, phone in enumerate(phones, 1)], warn=warnings.append)
    assert report.counts == {Outcome.OPENED: 3}, "it is a warning, and holds nothing back"
    [line] = warnings
    assert re.match(r"For [123] of the next 3 tickets it is not between 8:00 and 21:00", line)
    assert not any(phone[-6:] in line for phone in phones)
    deliveries.many([row(n, phone=phone) for n, phone in enumerate(phones, 1)], warn=warnings.append)
    assert len(warnings) == 1, "nobody is messaged again, so there is nothing to warn of"


class TestDoubles:
    DATA = (row(1), row(2), row(1), row(1, name="Another"))

    def test_next_to_each_other(self, everywhere: Deliveries) -> None:
        report = everywhere.many(self.DATA)
        assert report.counts == {Outcome.OPENED: 2, Outcome.DUPLICATE: 1, Outcome.CONFLICT: 1}
        assert everywhere.tickets() == {"1": 1, "2": 1}

    def test_far_apart(self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first is done and forgotten when the next ones are read."""
        monkeypatch.setattr(reading, "CHUNK", 2)

        def source() -> Iterator[dict[str, Any]]:
            yield from (row(1), row(2))
            everywhere.sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 2)
            yield from rows(6, start=3)
            everywhere.sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 8)
            yield from (row(1), row(1, name="Another"))

        report = everywhere.many(source())
        assert report.counts == {Outcome.OPENED: 8, Outcome.DUPLICATE: 1, Outcome.CONFLICT: 1}

    def test_the_next_run_knows_them_as_open(self, deliveries: Deliveries) -> None:
        deliveries.many(self.DATA)
        again = deliveries.many(self.DATA, opts=options(run="other"))
        assert again.counts[Outcome.OPENED] == 0
        assert deliveries.tickets() == {"1": 1, "2": 1}

    @pytest.mark.parametrize("data", [(row(1, phone="x"), row(1)), (row(1), row(1, phone="x"))], ids=["first", "last"])
    def test_a_bad_row_and_a_good_one_of_the_same_key(self, everywhere: Deliveries, data: tuple[Any, ...]) -> None:
        """The good one is sent, the bad one is named, wherever it stands."""
        report = everywhere.many(data)
        assert report.counts == {Outcome.REJECTED: 1, Outcome.OPENED: 1}
        assert everywhere.states() == {"id=1": "opened"}
        assert [error["key"] for error in report.errors] == ["id=1"]

    def test_a_conflict_names_both_rows(self, deliveries: Deliveries) -> None:
        report = deliveries.many(self.DATA)
        [error] = [error for error in report.errors if error["outcome"] == "conflict"]
        assert error["row"] == 4
        assert "row 1" in error["reason"]
        assert report.verdict() is not None

    def test_on_purpose(self, deliveries: Deliveries) -> None:
        deliveries.many(rows(1))
        report = deliveries.many([row(1), row(1)], opts=options(run="again", resend=True))
        assert report.counts == {Outcome.OPENED: 1, Outcome.DUPLICATE: 1}
        assert deliveries.tickets() == {"1": 2}


def test_a_dry_run_sends_and_records_nothing(everywhere: Deliveries) -> None:
    everywhere.many(rows(1))
    data = [*rows(3), row(4, phone="x")]
    report = everywhere.many(data, dry_run=True)
    assert report.counts == {Outcome.ALREADY_OPENED: 1, Outcome.DRY_RUN: 2, Outcome.REJECTED: 1}
    assert everywhere.states() == {"id=1": "opened"}
    assert everywhere.posts() == 1


class TestReasonsToStop:
    def test_a_wrong_key(self, deliveries: Deliveries) -> None:
        report = deliveries.many(rows(200), settings=replace(deliveries.settings, api_key="wrong"), max_concurrency=4)
        assert report.stopped is not None
        assert "API key" in report.stopped
        assert deliveries.posts() <= 3 + 4 + 2
        assert set(deliveries.states().values()) == {"failed"}
        assert deliveries.many(rows(200)).counts == {Outcome.OPENED: 200}

    @pytest.mark.parametrize("created", [False, True])
    def test_a_sender_that_is_not_connected(self, deliveries: Deliveries, created: bool) -> None:
        deliveries.sandbox.configure(disconnected_phones=["qr-main"], disconnected_creates_ticket=created)
        report = deliveries.many(rows(100), max_concurrency=2)
        assert report.stopped == "the sender is not connected in Vambe"
        assert deliveries.posts() <= 8
        deliveries.sandbox.configure(disconnected_phones=[])
        deliveries.many(rows(100))
        if not created:
            assert deliveries.tickets() == {str(number): 1 for number in range(1, 101)}

    def test_being_told(self, deliveries: Deliveries) -> None:
        """What is on its way is finished and settled; nothing new begins; the next try does the rest."""
        stop = threading.Event()
        hanging = deliveries.sandbox.fault("open_ticket", kind="hang", times=4)
        run = Background(lambda: deliveries.many(rows(100), stop=stop, max_concurrency=4))
        deliveries.sandbox.wait_for(lambda _: hanging.hits == 4)
        stop.set()
        deliveries.sandbox.clear_faults()
        report = run.result()
        assert report.stopped == "the task was told to stop"
        assert report.counts[Outcome.OPENED] == 4
        assert "sending" not in deliveries.states().values()
        assert deliveries.many(rows(100)).counts == {Outcome.OPENED: 96, Outcome.ALREADY_OPENED: 4}

    def test_being_told_before_it_began(self, deliveries: Deliveries) -> None:
        stop = threading.Event()
        stop.set()
        report = deliveries.many(rows(10), stop=stop)
        assert report.stopped is not None
        assert deliveries.posts() == 0

    def test_a_source_that_fails(self, deliveries: Deliveries) -> None:
        def source() -> Iterator[dict[str, Any]]:
            yield from rows(600)
            raise LookupError("the warehouse is gone")

        with pytest.raises(LookupError):
            deliveries.many(source())
        assert "sending" not in deliveries.states().values()
        assert deliveries.many(rows(600)).verdict() is None
        assert set(deliveries.tickets().values()) == {1}


class TestPace:
    def test_a_rate(self, deliveries: Deliveries) -> None:
        report = deliveries.many(rows(30), rate=Rate(50, 1))
        assert report.counts == {Outcome.OPENED: 30}
        assert report.elapsed >= 0.4

    def test_429_slows_all_workers(self, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        """While Vambe asks to wait, nobody posts: not even what was claimed before."""
        monkeypatch.setattr(post, "BLIND_RATE_LIMIT", 0.1)
        busy = deliveries.sandbox.fault("open_ticket", kind="rate_limit", retry_after=0.5)
        deliveries.sandbox.configure(latency_ms=30.0)
        report = deliveries.many(rows(60), max_concurrency=4)
        assert busy.hits == 1
        assert report.counts == {Outcome.OPENED: 60}
        # The other three were on their way; one more may have had its slot when the answer came.
        times = [
            datetime.fromisoformat(request["time"]).timestamp()
            for request in deliveries.sandbox.requests("open_ticket")
        ]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert gaps.index(max(gaps)) <= 4 + 2

    def test_it_defers_when_it_would_only_wait(self, deliveries: Deliveries) -> None:
        report = deliveries.many(rows(30), rate=Rate(10, 3600), defer_after=60.0)
        assert report.stopped == "deferred"
        assert report.resume_in is not None
        assert 60.0 < report.resume_in <= 3601.0
        assert report.counts[Outcome.OPENED] == 10
        assert "sending" not in deliveries.states().values()

    def test_the_real_limit_of_a_server(self, deliveries: Deliveries) -> None:
        deliveries.sandbox.configure(rate_limit="20/second")
        assert deliveries.many(rows(50), max_concurrency=4).counts == {Outcome.OPENED: 50}
        assert set(deliveries.tickets().values()) == {1}


def test_memory_does_not_grow_with_the_source(deliveries: Deliveries) -> None:
    """The source is read as rows are sent, not before."""
    read: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for data in rows(20_000):
            read.append(data["id"])
            yield data

    stop = threading.Event()
    hanging = deliveries.sandbox.fault("open_ticket", kind="hang", times="forever")
    run = Background(lambda: deliveries.many(source(), stop=stop, max_concurrency=2))
    deliveries.sandbox.wait_for(lambda _: hanging.hits == 2)
    stop.set()
    deliveries.sandbox.clear_faults()
    run.result()
    assert len(read) <= 5 * reading.CHUNK


def test_shards_share_the_rows(everywhere: Deliveries) -> None:
    reports = [everywhere.many(rows(40), prepare=everywhere.prepare(shard=(index, 3))) for index in range(3)]
    assert sum(report.rows for report in reports) == 40
    assert everywhere.tickets() == {str(number): 1 for number in range(1, 41)}


def test_rows_that_are_skipped(deliveries: Deliveries) -> None:
    def ticket(data: dict[str, Any]) -> dict[str, Any] | None:
        return None if data["id"] % 2 else {"to_phone_number": data["phone"], "stage": "Support / New"}

    report = deliveries.many(rows(10), ticket=ticket)
    assert report.counts == {Outcome.SKIPPED: 5, Outcome.OPENED: 5}
    assert report.verdict() is None


def test_a_row_is_not_tried_for_ever(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_TRIES", 3)
    bad = deliveries.sandbox.fault("open_ticket", kind="status", status=500, times="forever", phone=row(1)["phone"])
    report = deliveries.many(rows(20))
    assert report.counts == {Outcome.OPENED: 19, Outcome.FAILED: 1}
    assert bad.hits == 3
    assert report.verdict() is not None
    deliveries.sandbox.clear_faults()
    assert deliveries.many(rows(20)).counts == {Outcome.OPENED: 1, Outcome.ALREADY_OPENED: 19}


def test_the_log_says_how_far_it_is(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "EVERY", 0.0)
    deliveries.many(rows(50), total=50)
    assert any("of 50 rows" in line and "rows/s" in line for line in deliveries.log)


def test_nothing_personal_is_left_anywhere(
    everywhere: Deliveries, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number, name, address, text or key in the ledger, the report, the log or an error, whatever happens."""
    monkeypatch.setattr(words, "EVERY", 0.0)
    caplog.set_level(logging.INFO)
    ticket = {**TICKET, "email": "{mail}", "contact_metadata": {"address": "{street}"}}
    data = [
        row(n, mail=f"secret{n}@mail.example", name=f"Secretname{n}", street=f"Secretstreet {n}", other=f"x{n}")
        for n in range(1, 31)
    ]
    data[3]["phone"] = "+56 2 2345 6789"
    data[4]["mail"] = "secret at mail"
    faults: list[dict[str, Any]] = (
        [{"kind": "status", "status": 422, "says": "not a valid number"},
         {"kind": "drop", "when": "after"}, {"kind": "malformed"},
         {"kind": "status", "status": 500, "when": "before"}, {"kind": "message_fails"}]
    )  # fmt: skip
    for number, fault in enumerate(faults, start=10):
        everywhere.sandbox.fault("open_ticket", phone=row(number)["phone"], **fault)
    prepare = everywhere.prepare(ticket, key_columns=("phone", "mail", "name", "id"))
    report = everywhere.many(data, prepare=prepare)
    assert report.counts[Outcome.OPENED] + report.counts[Outcome.RECONCILED] == 27
    with connected(everywhere.url) as connection:
        tables = ("vambe_ticket_ledger", "vambe_ticket_attempts", "vambe_ticket_schema")
        stored = str([connection.execute(sa.text(f"SELECT * FROM {table}")).all() for table in tables])
    seen = "\n".join([stored, str(report.to_json()), repr(report), caplog.text, *everywhere.log, str(report.verdict())])
    assert "id=7" in seen
    for secret in ("secret", "Secret", "is late", "sandbox-key", "23456789", "56910000", "910000010", "mail.example"):
        assert secret not in seen
    # Four digits may stand in any hash, id or fraction, but not by themselves.
    assert not re.search(r"(?<![0-9a-f.])2345(?![0-9a-f])", seen)
