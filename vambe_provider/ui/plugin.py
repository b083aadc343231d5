"""What Airflow loads in every process to know about the ledger page; the page itself is loaded by its first visitor."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI

PREFIX = "/vambe"
"""Where the page is mounted, below the path of ``[api] base_url``."""


class LazyApp:
    """The page as an ASGI application that is imported at its first request."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Hand a request on to the page."""
        app = await asyncio.to_thread(_load)
        await app(scope, receive, send)


@cache
def _load() -> FastAPI:
    from vambe_provider.ui.app import app

    return app


def _views(*, task_tab: bool) -> list[dict[str, Any]]:
    # Every address is relative, so that it also holds below a path prefix.
    common = {
        "name": "Vambe tickets",
        "icon": "vambe/static/icon.svg",
        "icon_dark_mode": "vambe/static/icon-dark.svg",
    }
    views = [
        {**common, "href": "vambe/", "destination": "nav", "category": "browse", "url_route": "vambe"},
    ]
    if task_tab:
        run = "vambe/tickets?dag={DAG_ID}&run={RUN_ID}"
        views += [
            {**common, "href": run, "destination": "dag_run", "url_route": "vambe-run"},
            {**common, "href": run, "destination": "task_instance", "url_route": "vambe-task"},
        ]
    return views


def _wants_task_tab() -> bool:
    from airflow.configuration import conf

    return conf.getboolean("vambe", "task_tab", fallback=False)


class VambePlugin(AirflowPlugin):
    """The ledger page. Airflow before 3.1 has no place for one, and there is only the command line."""

    name = "vambe"
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": LazyApp(), "url_prefix": PREFIX, "name": "Vambe tickets"}]
        external_views = _views(task_tab=_wants_task_tab())
