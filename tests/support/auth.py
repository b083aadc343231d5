"""An auth manager with rights for each Dag, such as real ones have, made from the simple one."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PerDagAuthManager(SimpleAuthManager):
    """A user whose name is ``only-DAG`` has the rights of the role for this one Dag, and none for others."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **given: Any) -> bool:
        """Say whether a user may do something with a Dag."""
        _, only, dag = user.get_name().partition("only-")
        if only and (details is None or details.id != dag):
            return False
        return bool(super().is_authorized_dag(user=user, details=details, **given))
