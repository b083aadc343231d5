"""The commands that ask Vambe; they only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vambe_provider.cli.connections import vambe_hook
from vambe_provider.cli.output import print_line, print_table, print_value
from vambe_provider.cli.run import DONE, NOTHING, complain
from vambe_provider.contact_policy.numbers import mask_number
from vambe_provider.exceptions import VambeAuthError, VambeRefusedError

if TYPE_CHECKING:
    import argparse

    from vambe_provider.api import Channel
    from vambe_provider.hooks.vambe import VambeHook

CHANNELS = ("web-whatsapp", "whatsapp")
"""The kinds of sender that can open a ticket."""


def check(options: argparse.Namespace) -> int:
    """Say whether a connection works."""
    with vambe_hook(options.conn_id) as hook:
        works, message = hook.test_connection()
    if options.output != "table":
        print_value({"conn_id": options.conn_id, "ok": works, "message": message}, options.output)
    elif works:
        print_line(message)
    else:
        complain(f"error: {message}")
    return DONE if works else NOTHING


def stages(options: argparse.Namespace) -> int:
    """List the stages of all pipelines."""
    with vambe_hook(options.conn_id) as hook:
        found = [stage for pipeline in hook.get_pipelines() for stage in pipeline.stages]
    if options.output != "table":
        names = ("pipeline_name", "pipeline_id", "name", "id")
        plain = [{"label": stage.label, **{name: getattr(stage, name) for name in names}} for stage in found]
        print_value(plain, options.output)
    elif found:
        print_table(("STAGE", "ID"), [(stage.label, stage.id) for stage in found])
    if not found:
        complain("The key of this connection sees no pipeline with stages.")
    return DONE if found else NOTHING


def channels(options: argparse.Namespace) -> int:
    """List the connected senders."""
    with vambe_hook(options.conn_id) as hook:
        found = [(kind, sender) for kind in CHANNELS if (sender := _sender(hook, kind)) is not None]
    if options.output != "table":
        plain = [{"channel": kind, "phone_id": sender.id, "number": _masked(sender)} for kind, sender in found]
        print_value(plain, options.output)
    elif found:
        print_table(("CHANNEL", "PHONE ID", "NUMBER"), [(kind, sender.id, _masked(sender)) for kind, sender in found])
    if not found:
        complain("No sender is connected. Connect a number in Vambe's settings.")
    return DONE if found else NOTHING


def _masked(sender: Channel) -> str | None:
    """Return the end of the sender's number: enough to know it again."""
    return mask_number(sender.phone_number) if sender.phone_number else None


def _sender(hook: VambeHook, kind: str) -> Channel | None:
    """Return the sender of a channel, or None when none is connected."""
    try:
        return hook.get_channel(kind)
    except VambeAuthError:
        raise
    except VambeRefusedError as error:
        if error.status in (400, 404):
            return None
        raise
