"""A local Vambe to develop, demo and test against; it opens tickets for nobody and messages nobody.

``running_sandbox()`` runs it in a thread, ``python -m vambe_provider.sandbox`` as a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vambe_provider.sandbox.config import SandboxConfig as SandboxConfig
    from vambe_provider.sandbox.faults import Fault as Fault
    from vambe_provider.sandbox.handle import Sandbox as Sandbox
    from vambe_provider.sandbox.server import running_sandbox as running_sandbox

_HOMES = {"Fault": "faults", "Sandbox": "handle", "SandboxConfig": "config", "running_sandbox": "server"}
__all__ = ["Fault", "Sandbox", "SandboxConfig", "running_sandbox"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package does not import aiohttp."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
