"""Who may see and change what, asked of Airflow's own application with its own cookies."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from tests.airflow_db import AIRFLOW
from tests.support.planted import ACCOUNT
from tests.unit.ui.conftest import CONN_ID, SAME_SITE, needs_page
from vambe_provider.delivery.model import State

if TYPE_CHECKING:
    from httpx import Response

    from tests.support.planted import Planted
    from tests.unit.ui.conftest import Browser

pytestmark = needs_page

PAGES = ("/vambe/", "/vambe/tickets", "/vambe/tickets.csv", "/vambe/ticket?key=x&account=y")


def decide(client: Any, key: str, decision: str, *, seen: str = "", headers: dict[str, str] = SAME_SITE) -> Response:
    body = {"ledger": CONN_ID, "decision": decision, "tickets": [{"key": key, "account": ACCOUNT, "seen": seen}]}
    reply: Response = client.post("/vambe/decide", json=body, headers=headers)
    return reply


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_led_to_the_login_and_back(ledger: Planted, browser: Browser, path: str) -> None:
    nobody = browser(None)

    first = nobody.get(path)
    reply = nobody.get(urljoin(str(first.url), first.headers["location"]))

    assert (first.status_code, reply.status_code) == (303, 307)
    target = urlsplit(reply.headers["location"])
    assert target.path == "/auth/login"
    # Airflow 3.1 cuts what it leads back to at an ampersand.
    assert path.startswith(urlsplit(parse_qs(target.query)["next"][0]).path)
    assert AIRFLOW == (3, 1) or parse_qs(target.query)["next"][0].endswith(path)


@pytest.mark.parametrize("path", PAGES)
def test_a_script_without_a_user_gets_401(ledger: Planted, browser: Browser, path: str) -> None:
    assert browser(None).get(path, headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize("path", ["/vambe/decide", "/vambe/person"])
def test_nobody_changes_or_finds_anything(ledger: Planted, browser: Browser, path: str) -> None:
    assert browser(None).post(path, json={}, headers=SAME_SITE).status_code == 401


@pytest.mark.parametrize("path", ["/vambe/docs", "/vambe/redoc", "/vambe/openapi.json"])
def test_what_the_page_can_do_is_published_nowhere(browser: Browser, path: str) -> None:
    assert browser("ada").get(path).status_code == 404


def test_a_viewer_sees_tickets_and_no_button(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN)
    vera = browser("vera")

    listed = vera.get("/vambe/tickets")
    shown = vera.get("/vambe/ticket", params={"key": key, "account": ACCOUNT})

    assert (listed.status_code, shown.status_code) == (200, 200)
    assert "order_id=1" in listed.text
    for page in (listed, shown):
        assert "data-decision=" not in page.text
        assert "data-ticket=" not in page.text
    assert "it takes the right to clear its tasks" in shown.text


def test_a_viewer_who_forges_the_request_changes_nothing(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN)

    reply = decide(browser("vera"), key, "sent")

    assert reply.status_code == 403
    assert "You may not change tickets of this Dag" in reply.json()["message"]
    assert ledger.state(key) == "unknown"


def test_a_user_sees_the_buttons(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN)

    page = browser("uma").get("/vambe/ticket", params={"key": key, "account": ACCOUNT}).text

    assert [name for name in ("sent", "not_sent", "retry", "never") if f'data-decision="{name}"' in page] == [
        "sent",
        "not_sent",
        "never",
    ]


def test_counts_lists_and_exports_hold_only_dags_that_one_may_read(ledger: Planted, browser: Browser) -> None:
    ledger.many(30, dag="late_orders", namespace="late-orders", states=[State.OPENED])
    ledger.many(4, dag="new_leads", namespace="new-leads", states=[State.REJECTED])
    only = browser("only-new_leads")

    overview, listed, file = (only.get(path).text for path in PAGES[:3])

    for page in (overview, listed, file):
        assert "late_orders" not in page
        assert "late-orders" not in page
    assert re.findall(r"<strong>(\d+)</strong>", overview) == ["4"]
    assert ": 0 sent, 0 maybe, 4 not sent" in overview
    assert ": 30 sent" not in overview
    assert "all <b>4</b>" in listed
    assert len(file.splitlines()) == 5
    assert re.findall(r"<strong>(\d+)</strong>", browser("vera").get("/vambe/").text) == ["4", "30"]


def test_a_ticket_of_a_dag_that_one_may_not_read_is_as_good_as_none(ledger: Planted, browser: Browser) -> None:
    hidden = ledger.ticket("order_id=1", State.UNKNOWN, dag="late_orders")
    only = browser("only-new_leads")

    there = only.get("/vambe/ticket", params={"key": hidden, "account": ACCOUNT})
    absent = only.get("/vambe/ticket", params={"key": "0" * 32, "account": ACCOUNT})

    assert (there.status_code, there.text) == (404, absent.text)
    assert decide(only, hidden, "sent").status_code == 404


def test_attempts_of_other_dags_are_counted_and_not_shown(ledger: Planted, browser: Browser) -> None:
    tries = [{"dag_id": "late_orders", "run_id": "secret_run"}, {"dag_id": "new_leads"}]
    key = ledger.ticket("lead=1", State.UNKNOWN, dag="new_leads", tries=tries)
    only = browser("only-new_leads")

    page = only.get("/vambe/ticket", params={"key": key, "account": ACCOUNT}).text

    assert "secret_run" not in page
    assert "1 more attempt belongs to Dags that you may not see" in page
    assert "data-decision=" not in page
    assert decide(only, key, "sent").status_code == 403


def test_other_tickets_to_a_person_are_those_of_readable_dags(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("lead=1", State.OPENED, dag="new_leads", namespace="new-leads")
    ledger.ticket("lead=2", State.OPENED, dag="new_leads", namespace="new-leads")
    ledger.ticket("order_id=3", State.OPENED, dag="late_orders")

    page = browser("only-new_leads").get("/vambe/ticket", params={"key": key, "account": ACCOUNT}).text

    assert "lead=2" in page
    assert "order_id=3" not in page


FORGED: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "http://testserver:8555"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {},
]


@pytest.mark.parametrize("headers", FORGED)
def test_a_request_of_another_site_changes_nothing(ledger: Planted, browser: Browser, headers: dict[str, str]) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN)

    assert decide(browser("uma"), key, "sent", headers=headers).status_code == 403
    assert ledger.state(key) == "unknown"


def test_a_form_of_another_site_changes_nothing(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN)
    body = json.dumps(
        {"ledger": CONN_ID, "decision": "sent", "tickets": [{"key": key, "account": ACCOUNT, "seen": ""}]}
    )

    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = browser("uma").post("/vambe/decide", content=body, headers={"content-type": kind, **SAME_SITE})
        assert reply.status_code in (403, 422)
    assert ledger.state(key) == "unknown"


def test_behind_a_proxy_the_public_address_counts_as_this_site(
    ledger: Planted, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team")
    uma = browser("uma")

    seen = decide(uma, "0" * 32, "sent", headers={"origin": "https://airflow.example"})
    other = decide(uma, "0" * 32, "sent", headers={"origin": "https://airflow.example.evil.example"})

    assert (seen.status_code, other.status_code) == (404, 403)


def test_every_answer_tells_browsers_what_the_page_may_do(ledger: Planted, browser: Browser) -> None:
    for path in ("/vambe/", "/vambe/tickets.csv", "/vambe/nothing", "/vambe/static/page.js"):
        headers = browser("uma").get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["x-content-type-options"] == "nosniff"
        assert ("no-store" in headers["cache-control"]) == ("static" not in path)


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="teams came with Airflow 3.2")
def test_a_team_sees_its_own_dags_and_those_of_nobody(
    ledger: Planted, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give_to_team("sales_dag", "sales")
    _give_to_team("shared_dag", None)
    for number, dag in enumerate(("sales_dag", "shared_dag", "deleted_dag")):
        ledger.ticket(f"row={number}", State.OPENED, dag=dag, ago=timedelta(hours=1))
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "vera:viewer:sales,uma:viewer:support")

    sales, support = (browser(name).get("/vambe/tickets").text for name in ("vera", "uma"))

    assert [f"row={number}" in sales for number in range(3)] == [True, True, False]
    assert [f"row={number}" in support for number in range(3)] == [False, True, False]


def _give_to_team(dag_id: str, team: str | None) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    with create_session() as session:
        bundle = session.merge(DagBundleModel(name=f"bundle_of_{dag_id}"))
        if team:
            bundle.teams = [session.merge(Team(name=team))]
        session.flush()
        session.merge(DagModel(dag_id=dag_id, bundle_name=bundle.name, is_stale=True))
