"""Who is asking, and what they may see and do. All that the page uses of Airflow's API server stands here.

These names are not public in Airflow; they are the same in 3.1, 3.2 and 3.3, and tests ask every one of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 - FastAPI reads it
from airflow.configuration import conf
from airflow.models import Log
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from vambe_provider.delivery.ledger.entry import Entry

AUDIT_EVENT = "vambe_ticket"
"""The event in Airflow's audit log."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in to Airflow."""

    user: BaseUser

    @property
    def name(self) -> str:
        """The name under which Airflow's audit log knows them."""
        return self.user.get_name()

    def readable(self, dags: Collection[str]) -> frozenset[str]:
        """Return those of the Dags whose task instances they may see."""
        return self._allowed("GET", dags)

    def changeable(self, dags: Collection[str]) -> frozenset[str]:
        """Return those of the Dags whose task instances they may clear."""
        return self._allowed("PUT", dags)

    def _allowed(self, method: Literal["GET", "PUT"], dags: Collection[str]) -> frozenset[str]:
        manager = get_auth_manager()
        return frozenset(
            dag
            for dag, team in _teams(dags).items()
            if manager.is_authorized_dag(
                method=method,
                access_entity=DagAccessEntity.TASK_INSTANCE,
                details=DagDetails(id=dag, team_name=team),
                user=self.user,
            )
        )


def visitor(user: GetUserDep) -> Visitor:
    """Return who is asking; FastAPI answers 401 before this for somebody who is not signed in."""
    return Visitor(user)


def _teams(dags: Collection[str]) -> dict[str, str | None]:
    """Return the team of each Dag.

    A ticket without a Dag is left out, and so is, where Airflow has teams, a Dag that Airflow does not know any more:
    nobody can say whose it was. The command line shows both.
    """
    named = sorted(dag for dag in dags if dag)
    if not named or not conf.getboolean("core", "multi_team", fallback=False):
        return dict.fromkeys(named)
    with create_session() as session:
        known = session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(named))).all()
    return {dag: DagModel.get_team_name(dag) for dag in known}


def login_url(path: str) -> str:
    """Return where somebody signs in and is led back from, relative to a page.

    It is Airflow's own way to the login of whatever auth manager there is, and checks where it leads back to.

    :param path: path and query of the page, with the path prefix.
    """
    parts = urlsplit(conf.get("api", "base_url", fallback=""))
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return f"../api/v2/auth/login?{urlencode({'next': f'{origin}{path}'})}"


def public_host() -> str:
    """Return host and port of ``[api] base_url``, which a browser sees in front of a proxy; empty without one."""
    return urlsplit(conf.get("api", "base_url", fallback="")).netloc


def option(name: str) -> str:
    """Return the text of an option of the section ``[vambe]``; empty when it is not set."""
    return str(conf.get("vambe", name, fallback="") or "").strip()


def record(who: Visitor, ticket: Entry, decision: str, **more: Any) -> None:
    """Write a decision to Airflow's audit log, at the Dag and the run that changed the ticket last."""
    extra = {
        "decision": decision,
        "ticket_key": ticket.ticket_key,
        "namespace": ticket.namespace,
        "account": ticket.account,
        "state_before": ticket.state,
        **more,
    }
    dag, _, run = ticket.dag_run.partition("/")
    entry = Log(
        event=AUDIT_EVENT,
        owner=who.name,
        owner_display_name=who.name,
        extra=json.dumps(extra),
        dag_id=dag,
        run_id=run,
    )
    with create_session() as session:
        session.add(entry)
