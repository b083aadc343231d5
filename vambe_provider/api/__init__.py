"""The Vambe API without Airflow: typed requests and replies, and one sync and one async client.

Names are loaded on first use, so that reading the settings of a connection imports neither pydantic nor an HTTP
library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vambe_provider.api.client import AsyncVambeClient, VambeClient
    from vambe_provider.api.models import (
        Channel,
        ChatMessage,
        Contact,
        Message,
        OpenedTicket,
        OpenTicket,
        Pipeline,
        Stage,
        parse_ticket,
    )
    from vambe_provider.api.settings import ConnectionSettings

__all__ = [
    "AsyncVambeClient",
    "Channel",
    "ChatMessage",
    "ConnectionSettings",
    "Contact",
    "Message",
    "OpenTicket",
    "OpenedTicket",
    "Pipeline",
    "Stage",
    "VambeClient",
    "parse_ticket",
]

_HOME = {
    "AsyncVambeClient": "client",
    "ConnectionSettings": "settings",
    "VambeClient": "client",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'models')}"), name)
