from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pytest

from tests.unit.tasks import Ti, context
from vambe_provider.compat import AIRFLOW_V_3_3_PLUS, DAG, AirflowFailException
from vambe_provider.exceptions import (
    VambeNotSentError,
    VambeRefusedError,
)
from vambe_provider.operators.vambe import VambeOpenTicketOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"


def operator(**fields: Any) -> VambeOpenTicketOperator:
    return VambeOpenTicketOperator(task_id="open", **{"to_phone_number": PHONE, "stage": "Support / New", **fields})


def body(sandbox: Sandbox) -> dict[str, Any]:
    [request] = sandbox.requests("open_ticket")
    return dict(request["body"])


@pytest.fixture(autouse=True)
def _connection(connect: Connect) -> None:
    connect()


@pytest.fixture
def ledger(connect: Connect, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return "ledger"


def test_a_ticket_is_opened_and_described_in_plain_json(vambe_sandbox: Sandbox) -> None:
    run = context()
    result = operator(message="Hola").execute(run)
    [ticket] = vambe_sandbox.tickets()
    assert result == {
        "ai_contact_id": ticket["ai_contact_id"],
        "ticket_key": ticket["ticket_metadata"]["airflow_ticket_key"],
        "outcome": "opened",
        "stage_id": ticket["stage_id"],
        "link": f"https://app.vambeai.com/pipeline?id={ticket['pipeline_id']}&chatContactId={ticket['ai_contact_id']}",
        "account": vambe_sandbox.url.removeprefix("http://"),
        "mark": ticket["ticket_metadata"]["airflow_ticket_key"],
        "opened_at": result["opened_at"],
        "opened_until": result["opened_until"],
    }
    assert result["opened_at"][:-5] <= ticket["created_at"][:-5] <= result["opened_until"][:-5]
    assert run["ti"].pushed == {"vambe_conversation": result["link"]}


def test_single_fields_win_over_the_whole_ticket(vambe_sandbox: Sandbox) -> None:
    whole = {
        "to_phone_number": "+56987654321",
        "stage_id": vambe_sandbox.stage_id("Orders / Late"),
        "contact_name": "Ana",
        "ticket_metadata": {"order": 7, "source": "whole"},
        "message": {"templateId": "t1", "content": "Ana"},
    }
    operator(ticket=whole, ticket_metadata={"source": "field"}, message="Hola").execute(context())
    sent = body(vambe_sandbox)
    assert sent["to_phone_number"] == PHONE
    assert sent["stage_id"] == vambe_sandbox.stage_id("Support / New")
    assert sent["contact_name"] == "Ana"
    assert sent["ticket_metadata"].items() >= {"order": "7", "source": "field"}.items()
    assert sent["message"] == {"content": "Hola", "ai_generated": False}


@pytest.mark.parametrize("native", [True, False])
def test_a_whole_ticket_from_an_xcom_survives_templating(vambe_sandbox: Sandbox, native: bool) -> None:
    upstream = {
        "to_phone_number": "56961234567",
        "stage": "Support / New",
        "contact_name": "Ana O'Higgins",
        "ticket_metadata": {"order": 7, "paid": True, "note": None},
        "message": {"content": 'dice "hola"', "ai_generated": True},
    }
    with DAG("templated", schedule=None, render_template_as_native_obj=native):
        task = VambeOpenTicketOperator(
            task_id="open", ticket="{{ upstream }}", resend="{{ conf.resend }}", ticket_key="order/{{ conf.order }}"
        )
    run = context(upstream=upstream, conf={"resend": True, "order": 7})
    task.render_template_fields(run)
    task.execute(run)
    sent = body(vambe_sandbox)
    assert sent["to_phone_number"] == PHONE
    assert sent["contact_name"] == "Ana O'Higgins"
    assert sent["ticket_metadata"].items() >= {"order": "7", "paid": "true"}.items()
    assert sent["message"] == {"content": 'dice "hola"', "ai_generated": True}


@pytest.mark.parametrize("native", [True, False])
def test_single_fields_survive_templating(vambe_sandbox: Sandbox, native: bool) -> None:
    with DAG("templated", schedule=None, render_template_as_native_obj=native):
        task = VambeOpenTicketOperator(
            task_id="open",
            to_phone_number="{{ phone }}",
            stage="{{ stage }}",
            contact_name="{{ name }}",
            email="{{ email }}",
            ticket_metadata="{{ metadata }}",
            message="{{ message }}",
        )
    run = context(
        phone="56961234567", stage="Support / New", name=None, email=None, metadata={"order": 7}, message="42"
    )
    task.render_template_fields(run)
    task.execute(run)
    sent = body(vambe_sandbox)
    assert sent["to_phone_number"] == PHONE
    assert "contact_name" not in sent
    assert "email" not in sent
    assert sent["ticket_metadata"]["order"] == "7"
    assert sent["message"]["content"] == "42"


def test_without_a_message_none_is_sent_and_the_three_objects_are(vambe_sandbox: Sandbox) -> None:
    operator().execute(context())
    sent = body(vambe_sandbox)
    assert "message" not in sent
    assert sent["contact_metadata"] == sent["integration_data"] == {}


def test_a_message_whose_template_gave_nothing_is_an_error(vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="message: its template gave nothing"):
        operator(message="None").execute(context())
    assert vambe_sandbox.tickets() == []


def test_every_problem_is_named_at_once_and_nothing_personal(vambe_sandbox: Sandbox) -> None:
    task = operator(
        to_phone_number="912345678",
        stage="Suport / New",
        email="maria.example.com",
        ticket={"surname": "Rodríguez", "contact_metadata": "gold"},
        contact_metadata={"plan": "gold"},
        message="",
    )
    with pytest.raises(AirflowFailException) as caught:
        task.execute(context())
    text = str(caught.value)
    for expected in (
        "contact_metadata",
        "no country code",
        "Did you mean Support / New",
        "email",
        "surname",
        "message",
    ):
        assert expected in text
    assert not [secret for secret in ("912345678", "maria", "Rodríguez") if secret in text]
    assert vambe_sandbox.requests("open_ticket") == []


def test_a_stage_is_needed(vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="stage: is missing"):
        operator(stage=None, ticket={"stage_id": ""}).execute(context())


def test_without_a_sender_nothing_is_tried(connect: Connect, vambe_sandbox: Sandbox) -> None:
    connect(extra={"phone_id": None})
    with pytest.raises(AirflowFailException, match="phone_id: no sender is given"):
        operator().execute(context())
    assert vambe_sandbox.requests() == []


def test_a_dry_run_checks_everything_and_sends_nothing(vambe_sandbox: Sandbox, ledger: str) -> None:
    result = operator(dry_run="True", ledger_conn_id=ledger).execute(context())
    assert (result["outcome"], result["ai_contact_id"], result["link"]) == ("dry_run", None, None)
    assert result["stage_id"] == vambe_sandbox.stage_id("Support / New")
    assert operator(ledger_conn_id=ledger).execute(context())["outcome"] == "opened"


@pytest.mark.parametrize("argument", ["dry_run", "resend"])
def test_a_flag_that_is_none_is_an_error(argument: str, vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match=f"{argument}: is neither true nor false"):
        operator(**{argument: "perhaps"}).execute(context())
    assert vambe_sandbox.tickets() == []


class TestLedger:
    def test_a_cleared_task_sends_nothing_and_says_how_to(
        self, vambe_sandbox: Sandbox, ledger: str, logged: Callable[[], str]
    ) -> None:
        first = operator(ledger_conn_id=ledger).execute(context())
        again = operator(ledger_conn_id=ledger).execute(context())
        times = {name: again[name] for name in ("opened_at", "opened_until")}
        assert again == {**first, **times, "outcome": "already_opened"}
        assert all(times.values())
        assert "resend=True" in logged()
        assert len(vambe_sandbox.tickets()) == 1

    def test_a_later_run_says_which_ticket_it_was(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        first = operator(ledger_conn_id=ledger, ticket_key="order/7").execute(context())
        later = context(ti=Ti(run_id="run-2"))
        again = operator(ledger_conn_id=ledger, ticket_key="order/7").execute(later)
        assert again["mark"] == first["mark"]
        assert again["opened_at"] is not None

    def test_resend_opens_it_once_more_for_a_run(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        operator(ledger_conn_id=ledger).execute(context())
        outcomes = [operator(ledger_conn_id=ledger, resend="true").execute(context())["outcome"] for _ in range(2)]
        assert outcomes == ["opened", "already_opened"]
        assert len(vambe_sandbox.tickets()) == 2

    def test_the_same_key_in_another_task_is_the_same_ticket(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        ti = Ti(task_id="task", run_id="run-2", map_index=3)
        operator(ledger_conn_id=ledger, ticket_key="order/7").execute(context())
        again = operator(ledger_conn_id=ledger, ticket_key="order/7").execute(context(ti=ti))
        assert again["outcome"] == "already_opened"
        assert len(vambe_sandbox.tickets()) == 1

    def test_the_same_key_in_another_dag_is_another_ticket_unless_both_name_one_namespace(
        self, vambe_sandbox: Sandbox, ledger: str, logged: Callable[[], str]
    ) -> None:
        other = Ti(dag_id="another")
        for namespace, tickets in ((None, 2), ("orders", 3)):
            for ti in (Ti(), other):
                task = operator(ledger_conn_id=ledger, ticket_key="order/7", namespace=namespace)
                task.execute(context(ti=ti))
            assert len(vambe_sandbox.tickets()) == tickets
        assert "It was opened before by the Dag dag." in logged()

    @pytest.mark.parametrize("name", ["ticket_key", "namespace", "ledger_conn_id"])
    @pytest.mark.parametrize("value", ["", "None", None])
    def test_a_promise_whose_template_gave_nothing_is_an_error(
        self, vambe_sandbox: Sandbox, ledger: str, name: str, value: str | None
    ) -> None:
        task = operator(ledger_conn_id=ledger, ticket_key="order/7", namespace="orders")
        setattr(task, name, value)
        with pytest.raises(AirflowFailException, match=f"{name}: is given, and its template gave nothing"):
            task.execute(context())
        assert vambe_sandbox.tickets() == []

    def test_the_same_key_with_another_person_is_an_error(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        operator(ledger_conn_id=ledger, ticket_key="order/7").execute(context())
        with pytest.raises(AirflowFailException, match="was opened for another person"):
            operator(ledger_conn_id=ledger, ticket_key="order/7", to_phone_number="+56961234599").execute(context())
        assert len(vambe_sandbox.tickets()) == 1

    def test_the_same_key_with_other_content_sends_nothing_and_says_so(
        self, vambe_sandbox: Sandbox, ledger: str, logged: Callable[[], str]
    ) -> None:
        operator(ledger_conn_id=ledger, ticket_key="order/7").execute(context())
        again = operator(ledger_conn_id=ledger, ticket_key="order/7", message="Other words").execute(context())
        assert again["outcome"] == "already_opened"
        assert "its content differs" in logged()
        assert len(vambe_sandbox.tickets()) == 1

    def test_a_mapped_list_that_changes_messages_each_person_once(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        def run(phones: list[str]) -> None:
            for index, phone in enumerate(phones):
                ti = Ti(map_index=index, try_number=2)
                operator(ledger_conn_id=ledger, to_phone_number=phone).execute(context(ti=ti))

        run(["+56961234501", "+56961234502"])
        run(["+56961234503", "+56961234501", "+56961234502"])
        assert sorted(ticket["phone"] for ticket in vambe_sandbox.tickets()) == [
            "56961234501", "56961234502", "56961234503"
        ]  # fmt: skip

    def test_each_turn_of_a_task_loop_has_its_own_ticket(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        for _ in range(2):
            for turn in range(3):
                operator(ledger_conn_id=ledger).execute(context(ti=Ti(region_index=turn)))
        assert len(vambe_sandbox.tickets()) == 3

    @pytest.mark.parametrize("message", ["Hola None", "Debe nan pesos", "Hola {name}", "{{ params.x }}", "<NA> late"])
    def test_a_message_that_a_template_left_unfilled_is_refused(self, vambe_sandbox: Sandbox, message: str) -> None:
        with pytest.raises(AirflowFailException, match="which a template left where a value should be"):
            operator(message=message).execute(context())
        assert vambe_sandbox.tickets() == []
        assert operator(message=message, allow_placeholders=True).execute(context())["outcome"] == "opened"

    def test_personal_data_in_a_key_stays_out_of_the_log(self, ledger: str, logged: Callable[[], str]) -> None:
        operator(ledger_conn_id=ledger, ticket_key="customer/56961234567").execute(context())
        text = logged()
        assert "opened" in text
        assert "961234567" not in text

    def test_a_connection_that_runs_no_sql_is_refused_before_anything_is_sent(self, vambe_sandbox: Sandbox) -> None:
        with pytest.raises(AirflowFailException, match="ledger_conn_id: the connection vambe_default"):
            operator(ledger_conn_id="vambe_default").execute(context())
        assert vambe_sandbox.tickets() == []

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow has a task state store from 3.3 on")
    def test_the_state_store_remembers_where_there_is_no_ledger(self, vambe_sandbox: Sandbox) -> None:
        kept: dict[str, Any] = {}
        store = SimpleNamespace(
            get=lambda key, default=None: kept.get(key, default),
            set=lambda key, value, retention=None: kept.update({key: value}),
        )
        outcomes = [operator().execute(context(task_state_store=store))["outcome"] for _ in range(2)]
        assert outcomes == ["opened", "already_opened"]
        assert len(vambe_sandbox.tickets()) == 1

    def test_without_any_memory_a_second_try_looks_first(self, vambe_sandbox: Sandbox) -> None:
        first = operator().execute(context())
        second = Ti(try_number=2)
        again = operator().execute(context(ti=second))
        # A look learns of the creation to the second.
        times = dict.fromkeys(("opened_at", "opened_until"))
        assert {**again, **times} == {**first, **times, "outcome": "reconciled"}
        assert len(vambe_sandbox.tickets()) == 1


class TestFailures:
    def test_a_policy_of_the_connection_is_not_ignored(self, connect: Connect, vambe_sandbox: Sandbox) -> None:
        connect(extra={"contact_policy": "cl-debt"})
        with pytest.raises(AirflowFailException, match="contact_policy, which is not available"):
            operator().execute(context())
        assert vambe_sandbox.requests("open_ticket") == []

    def test_a_number_that_only_an_allowed_country_explains(self, connect: Connect, vambe_sandbox: Sandbox) -> None:
        connect(extra={"allowed_countries": "AR"})
        with pytest.raises(AirflowFailException):
            operator(to_phone_number="56 9 8765 4321").execute(context())
        connect(extra={"allowed_countries": "CL"})
        operator(to_phone_number="56 9 8765 4321").execute(context())
        assert [ticket["phone"].lstrip("+") for ticket in vambe_sandbox.tickets()] == ["56987654321"]

    def test_a_refused_ticket_is_not_retried_and_the_cause_is_kept(self, vambe_sandbox: Sandbox) -> None:
        vambe_sandbox.fault(kind="status", status=400)
        with pytest.raises(AirflowFailException, match="Nothing was sent") as caught:
            operator().execute(context())
        assert isinstance(caught.value.__cause__, VambeRefusedError)

    def test_a_wrong_key_is_not_retried(self, connect: Connect) -> None:
        connect(password="wrong-key-1")
        with pytest.raises(AirflowFailException) as caught:
            operator().execute(context())
        assert "wrong-key-1" not in str(caught.value)

    def test_a_vambe_out_of_reach_may_be_retried(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__VAMBE__RETRY_BUDGET", "0")
        connect(host="http://127.0.0.1:1")
        with pytest.raises(VambeNotSentError):
            operator(stage="b0000000-0000-4000-8000-000000000101").execute(context())

    def test_a_lost_reply_is_found_and_not_sent_again(
        self, vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__VAMBE__RECONCILE_POLLS", "0,0")
        vambe_sandbox.fault(kind="drop", when="after")
        assert operator().execute(context())["outcome"] == "reconciled"
        assert len(vambe_sandbox.tickets()) == 1

    def test_a_wrong_option_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__VAMBE__LEASE", "long")
        with pytest.raises(AirflowFailException, match=r"\[vambe\] lease: 'long'"):
            operator().execute(context())

    def test_the_link_never_fails_the_task(self, vambe_sandbox: Sandbox) -> None:
        vambe_sandbox.fault("get_pipelines", kind="status", status=403, times="forever")
        result = operator(stage=vambe_sandbox.stage_id("Support / New")).execute(context())
        assert (result["outcome"], result["link"]) == ("opened", None)


class TestEmail:
    """Airflow sends mails about a failed task to the `email` of its operator."""

    def test_the_contacts_address_gets_no_mail_about_failures(self, vambe_sandbox: Sandbox) -> None:
        task = operator(email="maria@example.com")
        assert not task.email
        task.execute(context())
        assert body(vambe_sandbox)["email"] == "maria@example.com"

    @pytest.mark.filterwarnings("ignore:Setting email:DeprecationWarning")
    def test_the_operations_address_of_the_dag_is_not_the_contacts(self, vambe_sandbox: Sandbox) -> None:
        with DAG("mails", schedule=None, default_args={"email": ["operations@example.com"], "email_on_failure": True}):
            task, other = operator(), VambeOpenTicketOperator(task_id="other", email="maria@example.com")
        assert task.email == ["operations@example.com"] == other.email
        assert (task.contact_email, other.contact_email) == (None, "maria@example.com")


def test_rows_of_an_expanded_task_are_tickets_of_their_own(run_dag_test: Any, vambe_sandbox: Sandbox) -> None:
    with DAG("mapped", schedule=None) as dag:
        VambeOpenTicketOperator.partial(task_id="open", stage="Support / New").expand(
            to_phone_number=[PHONE, "+56987654321"]
        )
    result = run_dag_test(dag)
    assert result.tasks == {"open[0]": "success", "open[1]": "success"}
    assert len({ticket["ticket_metadata"]["airflow_ticket_key"] for ticket in vambe_sandbox.tickets()}) == 2
    assert "chatContactId" in result.xcom("open", key="vambe_conversation", map_index=1)


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ({"ticket_key": "order/{{ ti.map_index }}"}, ["order/0", "order/1"]),
        ({"ticket_key": "x {{ ti.map_index }} {{ task.to_phone_number }}"}, ["#", "#"]),
        ({"map_index_template": "{{ task.stage }}: {{ vambe_ticket_key }}", "ticket_key": "o/{{ ti.map_index }}"},
         ["Support / New: o/0", "Support / New: o/1"]),
    ],
)  # fmt: skip
def test_a_part_of_a_mapped_task_is_called_by_its_ticket(
    run_dag_test: Any, vambe_sandbox: Sandbox, named: dict[str, Any], names: list[str]
) -> None:
    with DAG("named_parts", schedule=None) as dag:
        VambeOpenTicketOperator.partial(task_id="open", stage="Support / New", **named).expand(
            to_phone_number=[PHONE, "+56987654321"]
        )
    found = sorted(str(ti.rendered_map_index) for ti in run_dag_test(dag).run.get_task_instances())
    assert [name[:1] if name.startswith("#") else name for name in found] == names


def test_what_is_undefined_in_a_template_fails_at_once(vambe_sandbox: Sandbox) -> None:
    with DAG("strict", schedule=None, template_undefined=jinja2.StrictUndefined):
        task = operator(contact_name="{{ nobody.name }}")
    with pytest.raises(jinja2.UndefinedError):
        task.render_template_fields(context())
