"""What the pages show of a ledger, read as a browser without scripts reads them."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.planted import ACCOUNT, SENDER
from tests.unit.ui.conftest import CONN_ID, SAME_SITE, needs_page
from vambe_provider.delivery.ledger.decisions import Choice
from vambe_provider.delivery.model import Evidence, Reason, Sent, State

if TYPE_CHECKING:
    from tests.support.planted import Planted
    from tests.unit.ui.conftest import Browser

pytestmark = needs_page

RUN = "scheduled__2026-01-01T00:00:00+00:00"


def keys(page: str) -> list[str]:
    """Return the keys in a table of tickets, in their order."""
    return [unescape(text) for text in re.findall(r'<th scope="row" data-label="Key"><a [^>]*>(.*?)</a>', page)]


def test_without_the_option_a_sentence_says_how_to_switch_it_on(browser: Browser) -> None:
    for path in ("/vambe/", "/vambe/tickets", "/vambe/ticket"):
        reply = browser("vera").get(path)
        assert reply.status_code == 200
        assert "ledger_conn_ids = warehouse" in reply.text


def test_an_empty_ledger_says_that_it_is_empty(ledger: Planted, browser: Browser) -> None:
    for path in ("/vambe/", "/vambe/tickets"):
        assert "This ledger is empty" in browser("vera").get(path).text


def test_the_overview_counts_by_namespace_and_state(ledger: Planted, browser: Browser) -> None:
    ledger.many(3, namespace="late-orders", states=[State.UNKNOWN])
    ledger.many(1200, namespace="new-leads", states=[State.OPENED])

    page = browser("vera").get("/vambe/").text

    assert re.findall(r"<strong>([\d,]+)</strong>", page) == ["3", "1,200"]
    [leads] = re.findall(r"<tr><th[^>]*><a[^>]*>new-leads</a></th>(.*?)</tr>", page, re.DOTALL)
    assert re.findall(r">([\d,]+)<", leads) == ["0", "1,200", "1,200"]
    assert f'href="tickets?ledger={CONN_ID}&amp;namespace=late-orders&amp;state=unknown"' in page


def test_the_overview_tells_how_much_of_a_senders_rate_is_used(
    ledger: Planted, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SALES_VAMBE",
        f'{{"conn_type": "vambe", "host": "https://{ACCOUNT}", "password": "k", "extra": {{"rate": "8/hour"}}}}',
    )
    monkeypatch.setenv("AIRFLOW__VAMBE__CONN_IDS", "absent, sales_vambe")
    ledger.many(5, states=[State.OPENED])
    ledger.many(2, namespace="failed", states=[State.FAILED])
    ledger.ticket("seeded", State.OPENED, tries=[{"reason": "seed", "sent": "yes"}])
    ledger.many(3, namespace="earlier", states=[State.OPENED], ago=timedelta(hours=3))

    page = browser("vera").get("/vambe/").text

    row = page[page.index(f">{SENDER}<") :]
    assert "8/hour" in row
    assert "5 of 8" in row
    assert re.findall(r'<td class="number">([\d,]+)</td>', row)[0] == "8"


def test_a_filter_leaves_what_it_names(ledger: Planted, browser: Browser) -> None:
    ledger.ticket("order_id=AB_1", State.REJECTED)
    ledger.ticket("order_id=abc1", State.OPENED, ai_contact_id="contact-7", ago=timedelta(days=3))
    by_key = ledger.ticket("lead=9", State.OPENED, namespace="new-leads", dag="new_leads")
    vera = browser("vera")

    def found(**query: str) -> list[str]:
        return keys(vera.get("/vambe/tickets", params=query).text)

    assert found() == ["lead=9", "order_id=AB_1", "order_id=abc1"]
    assert found(state="rejected") == ["order_id=AB_1"]
    assert found(namespace="new-leads") == found(dag="new_leads") == ["lead=9"]
    assert found(search="ab_") == ["order_id=AB_1"]
    assert found(search="contact-7") == ["order_id=abc1"]
    assert found(search=by_key) == found(search=f"{by_key}.1") == ["lead=9"]
    assert found(search="%") == []
    day = (ledger.created("order_id=abc1")).date()
    assert found(since=day.isoformat(), until=day.isoformat()) == ["order_id=abc1"]
    assert "No ticket that you may see is like this" in vera.get("/vambe/tickets?search=nothing").text


@pytest.mark.parametrize("query", ["since=yesterday", "until=2026-13-01", "after=x", "after=2026~a"])
def test_an_odd_address_is_a_sentence(ledger: Planted, browser: Browser, query: str) -> None:
    reply = browser("vera").get(f"/vambe/tickets?{query}")

    assert reply.status_code == 400
    assert query.split("=")[0] + ": this is not" in reply.text


def test_paging_shows_every_ticket_once_the_newest_first(ledger: Planted, browser: Browser) -> None:
    ledger.many(120, states=[State.OPENED])
    # Recorded in one transaction: the time alone does not order them.
    ledger.at_once(15, namespace="one-moment", ago=timedelta(minutes=30))
    vera, path, seen = browser("vera"), "tickets", []

    while path:
        page = vera.get(f"/vambe/{path}").text
        seen.append(keys(page))
        path = next(iter(re.findall(r'rel="next" href="([^"]+)"', page)), "").replace("&amp;", "&")

    assert [len(page) for page in seen] == [50, 50, 35]
    listed = [key for page in seen for key in page]
    assert len(set(listed)) == 135
    assert [key for key in listed if key.startswith("order_id")] == [f"order_id={n}" for n in range(120)]


@pytest.mark.parametrize("run", [RUN, RUN.replace("+", " ")])
def test_the_tab_of_a_run_shows_what_the_run_tried_or_changed(ledger: Planted, browser: Browser, run: str) -> None:
    ledger.ticket("changed last", State.REJECTED, tries=[])
    ledger.ticket("tried, and tried again later", State.OPENED, run="later", tries=[{"run_id": RUN}, {}])
    ledger.ticket("of another run", State.OPENED, run="another")
    ledger.ticket("of another dag", State.OPENED, dag="new_leads")

    page = browser("vera").get("/vambe/tickets", params={"dag": "late_orders", "run": run}).text

    assert sorted(keys(page)) == ["changed last", "tried, and tried again later"]


def test_a_ticket_tells_what_was_tried_and_why_what_is_believed(ledger: Planted, browser: Browser) -> None:
    tries: list[dict[str, Any]] = [
        {"sent": "no", "evidence": "not_sent", "error": "The connection was refused."},
        {"sent": "maybe", "evidence": "no_trace", "try_number": 2, "map_index": 7, "reason": "again"},
        {"sent": "no", "evidence": "person", "reason": "decision", "decision": "not_sent", "decided_by": "Uma Ubuntu"},
    ]
    key = ledger.ticket("order_id=1", State.FAILED, tries=tries)

    page = browser("vera").get("/vambe/ticket", params={"key": key, "account": ACCOUNT}).text

    assert re.findall(r"<h3>(\w+ ?\d?) <span[^>]*>([^<]*)<", page) == [
        ("Decision", "It was not sent"),
        ("Attempt 2", "may have been sent"),
        ("Attempt 1", "was not sent"),
    ]
    assert "The contact exists and shows neither the ticket" in page
    assert "The connection was refused." in page
    assert "by <strong>Uma Ubuntu</strong>" in page
    run = "scheduled__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert f'href="../dags/late_orders/runs/{run}/tasks/open_tickets/mapped/7"' in page
    assert f'href="../dags/late_orders/runs/{run}"' in page


def test_a_hash_of_a_person_or_a_content_is_on_no_page(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.OPENED)
    [attempt] = ledger.tries(key)
    vera = browser("vera")

    pages = [
        vera.get(path, params={"key": key, "account": ACCOUNT}).text
        for path in ("/vambe/", "/vambe/tickets", "/vambe/tickets.csv", "/vambe/ticket")
    ]

    for name in ("person", "fingerprint", "message_hash", "owner"):
        assert all(attempt[name] not in page for page in pages)


def test_the_conversation_is_linked_below_the_connections_app_url(
    ledger: Planted, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = '{"app_url": "https://app.example/eu"}'
    monkeypatch.setenv(
        "AIRFLOW_CONN_VAMBE_DEFAULT",
        f'{{"conn_type": "vambe", "host": "https://{ACCOUNT}", "password": "k", "extra": {extra}}}',
    )
    contact = 'javascript:alert(1)//&x="><b>'
    key = ledger.ticket("order_id=1", State.OPENED, ai_contact_id=contact)
    elsewhere = ledger.ticket("order_id=2", State.OPENED, ai_contact_id="c-2", account="other.example")
    vera = browser("vera")

    page = vera.get("/vambe/ticket", params={"key": key, "account": ACCOUNT}).text
    other = vera.get("/vambe/ticket", params={"key": elsewhere, "account": "other.example"}).text

    assert re.findall(r'href="(https?:[^"]*)"', page) == [
        "https://app.example/eu/pipeline?chatContactId=javascript%3Aalert%281%29%2F%2F%26x%3D%22%3E%3Cb%3E"
    ]
    assert "c-2" in other
    assert re.findall(r'href="(https?:[^"]*)"', other) == []


def test_what_a_row_brought_along_stays_text(ledger: Planted, browser: Browser) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe"
    key = ledger.ticket(
        evil, State.REJECTED, namespace=evil, error=evil, tries=[{"error": evil, "sender": evil, "evidence_id": evil}]
    )
    uma = browser("uma")

    for path in ("/vambe/", "/vambe/tickets", f"/vambe/ticket?key={key}&account={ACCOUNT}"):
        page = uma.get(path).text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\u202e" not in page
        assert "&lt;script&gt;" in page


def test_the_export_holds_all_that_the_filter_leaves_and_no_formula(ledger: Planted, browser: Browser) -> None:
    ledger.many(2500, states=[State.OPENED, State.REJECTED])
    for text in ("=1+1", "+56", "-1", "@SUM(A1)", "\tx"):
        ledger.ticket(text, State.REJECTED, namespace="odd", error=text)

    reply = browser("vera").get("/vambe/tickets.csv", params={"state": "rejected"})

    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in reply.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert len(rows) == 1255
    assert {row["state"] for row in rows} == {"rejected"}
    assert {row["key"] for row in rows if row["namespace"] == "odd"} == {"'=1+1", "'+56", "'-1", "'@SUM(A1)", "'\tx"}
    assert all(not value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_a_person_is_found_by_any_spelling_of_the_number(ledger: Planted, browser: Browser) -> None:
    ledger.ticket("hers", State.OPENED, phone="+56961234567")
    ledger.ticket("hers, only set aside", State.POSTPONED, phone="+56961234567", tries=[])
    ledger.ticket("his", State.OPENED, phone="+56969999999")

    reply = browser("vera").post(
        "/vambe/person", json={"ledger": CONN_ID, "phone": "56 9 6123-4567"}, headers=SAME_SITE
    )

    assert sorted(keys(reply.text)) == ["hers", "hers, only set aside"]


def test_a_number_that_cannot_be_read_is_not_repeated(
    ledger: Planted, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    vera = browser("vera")

    for phone in ("961234", "not 96-1234 a number", "9" * 80):
        reply = vera.post("/vambe/person", json={"ledger": CONN_ID, "phone": phone}, headers=SAME_SITE)
        assert reply.status_code in (400, 422)
        assert "96" not in reply.text.replace("+56 9 1234 5678", "")
        assert "99" not in reply.text
    assert "961234" not in "".join(capfd.readouterr())


def test_another_secret_finds_nobody_and_says_so(
    ledger: Planted, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.ticket("hers", State.OPENED, phone="+56961234567")
    body = {"ledger": CONN_ID, "phone": "+56961234567"}
    vera = browser("vera")
    assert vera.post("/vambe/person", json=body, headers=SAME_SITE).status_code == 200

    monkeypatch.setenv("AIRFLOW__VAMBE__PERSON_SECRET", "another one")
    reply = vera.post("/vambe/person", json=body, headers=SAME_SITE)

    assert reply.status_code == 503
    assert "person_secret is another one" in reply.json()["message"]


def test_only_ledgers_that_the_option_names_are_shown(ledger: Planted, browser: Browser) -> None:
    reply = browser("ada").get("/vambe/tickets", params={"ledger": "airflow_db"})

    assert reply.status_code == 404
    assert "does not name this connection" in reply.text


def test_every_word_of_the_ledger_has_a_text() -> None:
    from vambe_provider.ui import decisions, words

    assert set(decisions.WORDS) == set(Choice)
    assert set(words.STATES) == set(State)
    assert set(words.SENT) == set(Sent)
    assert set(words.REASONS) == set(Reason)
    assert set(words.EVIDENCE) == set(Evidence)
