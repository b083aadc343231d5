"""The ledger page in a browser, inside a real Airflow below a path prefix: what operators do without a terminal."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from local_airflow import (
    ask,
    environment,
    free_port,
    migrate,
    processes,
    server_environment,
    start_sandbox,
    start_standalone,
)

from tests.e2e.batch_airflow import DAGS, RealAirflow, make_orders
from tests.support.browser import TOO_FAINT, chromium, picture, require_browser
from tests.support.planted import Planted
from vambe_provider.delivery.model import State

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]
require_browser()

USERS = {"vera": "viewer", "uma": "user", "ada": "admin"}
MANY = 10_000
RUN = "manual__2026-01-01T00:00:00+00:00"
PHONE = "+56961112222"
VIP: dict[str, Any] = {"dag": "late_orders_slowly", "run": RUN, "phone": PHONE, "evidence": "no_trace"}
DOUBTED: list[dict[str, Any]] = [
    {"sent": "no", "evidence": "not_sent", "error": "No connection to Vambe within 30 s."},
    {"sent": "maybe", "evidence": "no_trace", "error": "Vambe answered 502.", "closed_at": None, "try_number": 2},
]
"""What was tried for a ticket of which nobody knows whether it exists."""
TOO_WIDE = """() => [...document.querySelectorAll("*")].filter((one) => {
  // What scrolls for itself, and the head of a table whose cells name themselves at this width.
  const scrolls = (one.closest(".wide") && !one.matches(".wide")) || one.closest(".tickets thead");
  return !scrolls && one.getBoundingClientRect().right > window.innerWidth;
}).map((one) => one.outerHTML.slice(0, 100)).concat(
  document.documentElement.scrollWidth > window.innerWidth ? ["the page"] : []
)"""
"""What is cut off at the right."""
FRAME = "iframe[title='Vambe tickets']"


@dataclass(frozen=True)
class Site:
    """A running Airflow with a ledger, below a path prefix."""

    airflow: RealAirflow
    ledger: Planted
    doubted: str
    tokens: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        return self.airflow.url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    warehouse, log = folder / "warehouse.sqlite", folder / "airflow.log"
    engine = sa.create_engine(f"sqlite:///{warehouse}", poolclass=sa.pool.NullPool)
    make_orders(engine, 8)
    ledger = Planted(engine)
    states = [State.OPENED] * 60 + [State.REJECTED, State.OPENED, State.POSTPONED, State.FAILED, State.SUPPRESSED]
    ledger.many(MANY, namespace="new-leads", dag="late_orders_slowly", run=RUN, ago=timedelta(hours=30), states=states)
    doubted = ledger.ticket("lead=1042", State.UNKNOWN, namespace="vip", tries=DOUBTED, **VIP)
    ledger.ticket("lead=1040", State.OPENED, namespace="vip", **(VIP | {"evidence": "reply"}))
    with processes() as children:
        sandbox = start_sandbox(children, folder=folder)
        env = environment(folder / "home", sandbox_url=sandbox, warehouse=warehouse)
        assert migrate(children, env=env, log=log).wait() == 0, log.read_text()
        env |= _server_environment(folder)
        start_standalone(children, env=env, log=log)
        url = env["AIRFLOW__API__BASE_URL"]
        tokens = {name: _token(url, name) for name in USERS}
        yield Site(RealAirflow(url, sandbox, folder, tokens["ada"]), ledger, doubted, tokens)
    engine.dispose()


def _server_environment(folder: Path) -> dict[str, str]:
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in USERS}))
    port = free_port()
    return server_environment(port) | {
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}/airflow",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/airflow/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__VAMBE__LEDGER_CONN_IDS": "warehouse",
        "AIRFLOW__VAMBE__TASK_TAB": "True",
        # The looks fail here, so that waiting between them is of no use.
        "AIRFLOW__VAMBE__RECONCILE_POLLS": "0,0",
    }


def _token(url: str, name: str) -> str:
    token: str = ask(f"{url}/auth/token", {"username": name, "password": name})["access_token"]
    return token


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def open_as(browser: Browser, site: Site) -> Callable[..., Page]:
    """Return a function that gives a page of somebody who is signed in; Airflow's own scripts are loaded once."""
    contexts: dict[str, BrowserContext] = {}

    def give(name: str | None, **options: Any) -> Page:
        wanted = f"{name} {options}"
        if name is None or wanted not in contexts:
            context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, "locale": "en-US", **options})
            context.set_default_timeout(20_000)
            if name is not None:
                cookie: Any = {"name": "_token", "value": site.tokens[name], "url": f"{site.url}/"}
                context.add_cookies([cookie])
            contexts[wanted] = context
        return contexts[wanted].new_page()

    return give


@pytest.fixture(scope="module")
def night(site: Site) -> str:
    """Return the path of a run that left three tickets of which nobody knows: one was created, two were not."""
    airflow, faults = site.airflow, f"{site.airflow.sandbox}/__sandbox__/faults"
    for number, when in ((0, "after"), (1, "before"), (2, "before")):
        phone = f"+5696{number:07d}"
        ask(faults, {"kind": "status", "where": "open_ticket", "when": when, "phone": phone, "status": 500})
    for look in ("search_contacts", "list_contacts"):
        ask(faults, {"kind": "status", "where": look, "status": 503, "times": "forever"})
    run = airflow.start("late_orders")
    assert airflow.state_in_the_end(run) == "failed"
    ask(faults, method="DELETE")
    report = airflow.report(run)
    assert report["counts"]["unknown"] == 3, report
    return run


def frame_of(page: Page, site: Site, path: str = "") -> FrameLocator:
    """Open the page inside Airflow, as its menu does."""
    page.goto(f"{site.url}/plugin/vambe{path}")
    return page.frame_locator(FRAME)


def test_an_operator_decides_about_the_unknown_and_clears_the_task(
    open_as: Callable[..., Page], site: Site, night: str
) -> None:
    page = open_as(None)
    page.goto(f"{site.url}/")
    page.get_by_label("Username").fill("uma")
    page.get_by_label("Password", exact=True).fill("uma")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Vambe tickets").click()
    frame = page.frame_locator(FRAME)

    frame.get_by_role("row", name="late").get_by_role("link", name="3", exact=True).click()
    frame.get_by_role("heading", name="Tickets", exact=True).wait_for()
    assert sorted(frame.get_by_role("rowheader").all_inner_texts()) == [f"order_id={n}" for n in range(3)]
    for number, decision in ((0, "It was sent"), (1, "It was not sent"), (2, "Never again")):
        frame.get_by_role("link", name=f"order_id={number}").click()
        frame.get_by_role("heading", name=f"order_id={number}").wait_for()
        assert "no look at Vambe could tell" in frame.get_by_role("main").inner_text()
        assert "Not every look at Vambe worked" in frame.get_by_role("main").inner_text()
        frame.get_by_role("button", name=decision, exact=True).click()
        frame.get_by_role("dialog").get_by_role("button", name="Confirm").click()
        frame.get_by_role("status").filter(has_text=f"order_id={number}: ").wait_for()
        frame.get_by_role("link", name="Tickets of late").click()
        frame.get_by_role("heading", name="Tickets", exact=True).wait_for()
    run_id = night.rpartition("/")[2]
    airflow = RealAirflow(site.url, site.airflow.sandbox, site.airflow.folder, site.tokens["uma"])
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
    airflow.api("/dags/late_orders/clearTaskInstances", body)

    assert airflow.state_in_the_end(night) == "success"
    assert sorted(airflow.orders().items()) == [(n, 1) for n in (0, 1, 3, 4, 5, 6, 7)]
    events = airflow.api("/eventLogs?event=vambe_ticket&order_by=event_log_id")["event_logs"]
    told = [(event["owner"], event["dag_id"], json.loads(event["extra"])["decision"]) for event in events]
    assert told == [("uma", "late_orders", decision) for decision in ("sent", "not_sent", "never")]


def test_a_viewer_reads_and_has_no_button_an_admin_has(open_as: Callable[..., Page], site: Site) -> None:
    for name, buttons in (("vera", 0), ("ada", 2)):
        frame = frame_of(open_as(name), site)
        frame.get_by_role("link", name="rejected").first.click()
        frame.get_by_role("heading", name="Tickets", exact=True).wait_for()
        frame.get_by_role("rowheader").first.get_by_role("link").click()
        frame.get_by_role("heading", name="Attempts", exact=True).wait_for()
        assert frame.locator("button[data-decision]").count() == buttons


def test_ten_thousand_tickets_are_a_page_of_fifty(open_as: Callable[..., Page], site: Site) -> None:
    page = open_as("uma")
    frame = frame_of(page, site, "/airflow/vambe/tickets?namespace=new-leads")
    assert "all 10,000" in frame.get_by_role("navigation", name="States").inner_text()
    assert frame.get_by_role("rowheader").count() == 50

    frame.get_by_role("link", name="Older").click()
    frame.get_by_role("link", name="Newest").wait_for()

    assert frame.get_by_role("rowheader").first.inner_text() == "order_id=50"
    page.reload()
    assert frame.get_by_role("rowheader").first.inner_text() == "order_id=50"


def test_several_are_chosen_and_decided_at_once(open_as: Callable[..., Page], site: Site) -> None:
    for number in range(3):
        site.ledger.ticket(f"bulk={number}", State.REJECTED, namespace="bulk", dag="late_orders_slowly", run=RUN)
    frame = frame_of(open_as("uma"), site, "/airflow/vambe/tickets?namespace=bulk")
    for number in range(2):
        frame.get_by_label(f"Choose bulk={number}").check()
    bar = frame.get_by_role("group", name="Decide about the chosen tickets")
    assert bar.get_by_role("button").all_inner_texts() == ["Try again", "Never again"]

    bar.get_by_role("button", name="Try again").click()
    dialog = frame.get_by_role("dialog", name="Try it again?")
    assert dialog.get_by_role("listitem").all_inner_texts() == ["bulk=1", "bulk=0"]
    dialog.get_by_role("button", name="Confirm").click()

    frame.get_by_role("status").filter(has_text="2 tickets: ").wait_for()
    states = frame.get_by_role("navigation", name="States")
    assert states.get_by_role("link").all_inner_texts() == ["all 3", "rejected 1", "to be tried again 2"]


def test_a_person_is_found_and_the_number_stays_unseen(open_as: Callable[..., Page], site: Site) -> None:
    page = open_as("vera")
    frame = frame_of(page, site, "/airflow/vambe/tickets")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    frame.get_by_label("Find a person by phone number").fill(PHONE)
    frame.get_by_role("button", name="Find").click()
    frame.get_by_role("status").filter(has_text="2 tickets to this person").wait_for()

    # Both are of one moment, so either may be the first.
    assert sorted(frame.get_by_role("rowheader").all_inner_texts()) == ["lead=1040", "lead=1042"]
    assert not [url for url in asked if "6111" in url]
    assert "6111" not in frame.locator("body").inner_html()
    assert "61112222" not in (site.airflow.folder / "airflow.log").read_text()


def test_links_and_the_export_leave_the_frame(open_as: Callable[..., Page], site: Site) -> None:
    page = open_as("vera")
    frame = frame_of(page, site, "/airflow/vambe/tickets?namespace=vip&state=opened")

    with page.expect_popup() as opened:
        frame.get_by_role("link", name=RUN).click()
    assert opened.value.url.startswith(f"{site.url}/dags/late_orders_slowly/runs/manual__2026-01-01")
    with page.expect_download() as saved:
        frame.get_by_role("link", name="Export as CSV").click()
    rows = list(csv.DictReader(saved.value.path().read_text().splitlines()))
    assert [row["key"] for row in rows] == ["lead=1040"]


def test_runs_and_tasks_have_a_tab(open_as: Callable[..., Page], site: Site, night: str) -> None:
    run_id = night.rpartition("/")[2]
    for place in ("", "/tasks/open_tickets"):
        page = open_as("vera")
        page.goto(f"{site.url}/dags/late_orders/runs/{run_id}{place}")
        page.get_by_role("link", name="Vambe tickets").last.click()
        frame = page.frame_locator(FRAME)
        frame.get_by_role("heading", name="Tickets of a Dag run").wait_for()
        assert frame.get_by_role("rowheader").count() == 8


def test_a_link_to_the_page_survives_the_login(open_as: Callable[..., Page], site: Site) -> None:
    page = open_as(None)
    page.goto(f"{site.url}/vambe/tickets?namespace=vip&state=opened")
    page.get_by_label("Username").fill("vera")
    page.get_by_label("Password", exact=True).fill("vera")
    page.get_by_role("button", name="Sign in").click()

    page.get_by_role("rowheader", name="lead=1040").wait_for()
    assert page.url == f"{site.url}/vambe/tickets?namespace=vip&state=opened"


def test_everything_is_done_with_the_keyboard(open_as: Callable[..., Page], site: Site) -> None:
    key = site.ledger.ticket("keys=1", State.REJECTED, namespace="keyboard", dag="late_orders_slowly", run=RUN)
    page = open_as("uma")
    page.goto(f"{site.url}/vambe/tickets?namespace=keyboard")
    focused = "document.activeElement.textContent.trim() || document.activeElement.name || document.activeElement.id"

    def tab_to(text: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if page.evaluate(focused) == text:
                return
        raise AssertionError(f"the key Tab does not reach {text}")

    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to("keys=1")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="keys=1").wait_for()
    tab_to("Never again")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Never send it?").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "Never again"
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Never send it?").wait_for()
    tab_to("Confirm")
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="keys=1: never sent any more").wait_for()
    assert site.ledger.state(key) == "suppressed"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_has_the_theme_of_airflow_and_enough_contrast(
    open_as: Callable[..., Page], site: Site, night: str, theme: str
) -> None:
    page = open_as("uma", color_scheme="light" if theme == "dark" else "dark")
    page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    for name, path in (
        ("overview", ""),
        ("list", "tickets"),
        ("ticket", f"ticket?{site.ledger.address(site.doubted)}"),
    ):
        frame = frame_of(page, site, f"/airflow/vambe/{path}" if path else "")
        frame.get_by_role("heading").first.wait_for()
        assert frame.locator("html").get_attribute("data-theme") == theme
        assert frame.locator("body").evaluate(TOO_FAINT) == []
        if file := picture(f"ledger-{name}-{theme}.png"):
            page.screenshot(path=file)


def test_the_theme_follows_airflow_when_it_is_switched(open_as: Callable[..., Page], site: Site) -> None:
    page = open_as("vera")
    frame = frame_of(page, site)
    frame.locator("html[data-theme='light']").wait_for(state="attached")

    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name="Dark").or_(page.get_by_role("menuitem", name="Dark")).click()

    frame.locator("html[data-theme='dark']").wait_for(state="attached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_400_pixels(open_as: Callable[..., Page], site: Site, scheme: str) -> None:
    page = open_as("uma", viewport={"width": 400, "height": 800}, color_scheme=scheme)
    for path in ("", "tickets", f"ticket?{site.ledger.address(site.doubted)}"):
        page.goto(f"{site.url}/vambe/{path}")
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate(TOO_FAINT) == []
        if (file := picture("ledger-phone.png")) and path == "tickets" and scheme == "light":
            page.screenshot(path=file)


def test_another_site_changes_nothing_with_the_visitors_cookie(open_as: Callable[..., Page], site: Site) -> None:
    key = site.ledger.ticket("forged=1", State.REJECTED, namespace="forged", dag="late_orders_slowly", run=RUN)
    page = open_as("uma")
    page.goto(f"{site.url}/vambe/tickets?namespace=forged")
    seen = page.locator("input[data-ticket]").get_attribute("data-seen")
    body = {
        "ledger": "warehouse",
        "decision": "never",
        "tickets": [{"key": key, "account": "api.vambe.example", "seen": seen}],
    }
    target = f"{site.url}/vambe/decide"
    with _elsewhere() as evil:
        page.goto(evil)
        sent = page.evaluate(
            """async ([target, body]) => {
              const kinds = [{}, {mode: "no-cors"}];
              for (const kind of kinds) {
                const more = {method: "POST", credentials: "include", body, headers: {"Content-Type": "text/plain"}};
                await fetch(target, {...more, ...kind}).catch(() => {});
              }
              return kinds.length;
            }""",
            [target, json.dumps(body)],
        )
        with page.expect_response(re.compile("/vambe/decide$")) as answer:
            page.evaluate(
                """([target, body]) => {
                  const form = Object.assign(document.createElement("form"), {action: target, method: "post"});
                  form.enctype = "text/plain";
                  const [name, value] = [body.slice(0, -1) + ', "x": "', '"}'];
                  form.append(Object.assign(document.createElement("input"), {name, value}));
                  document.body.append(form);
                  form.submit();
                }""",
                [target, json.dumps(body)],
            )
    assert (sent, answer.value.status) == (2, 403)
    assert site.ledger.state(key) == "rejected"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        pass


class _elsewhere:  # noqa: N801 - used as a function
    """Another site: the same host, whose cookies go along, at another port."""

    def __enter__(self) -> str:
        self._server = HTTPServer(("127.0.0.1", 0), _Page)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
