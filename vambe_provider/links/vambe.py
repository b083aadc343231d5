"""The button that leads from a task to the conversation in Vambe's web app."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from vambe_provider.compat import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from vambe_provider.compat import BaseOperator, TaskInstanceKey

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
XCOM_KEY = "vambe_conversation"
"""Where the task leaves the URL. The link only reads it: nothing of this provider runs in the API server for it."""


class VambeConversationLink(BaseOperatorLink):
    """Open the conversation with the contact of this task in Vambe's web app."""

    name = "Vambe conversation"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL that the task left, or an empty text when it left none."""
        return XCom.get_value(ti_key=ti_key, key=XCOM_KEY) or ""


def conversation_url(*, app_url: str, pipeline_id: str, ai_contact_id: str) -> str:
    """Return the address of a conversation in the web app.

    Vambe documents no such address; this is the one that its own app shows.

    :param app_url: the web app, as the connection names it.
    :param pipeline_id: the pipeline in which the ticket is.
    :param ai_contact_id: the contact.
    """
    return f"{app_url}/pipeline?{urlencode({'id': pipeline_id, 'chatContactId': ai_contact_id})}"


def is_below(url: object, app_url: str) -> bool:
    """Return whether an address leads to the web app of a connection; one that was handed on may lead anywhere.

    :param url: the address.
    :param app_url: the web app, as the connection names it.
    """
    if not isinstance(url, str) or _UNSAFE.search(url):
        return False
    try:
        there, app = urlsplit(url), urlsplit(app_url)
    except ValueError:
        return False
    if there.scheme.lower() not in ("http", "https") or app.scheme.lower() != there.scheme.lower():
        return False
    return there.netloc.lower() == app.netloc.lower() and f"{there.path}/".startswith(f"{app.path.rstrip('/')}/")


def push_link(context: Any, url: str | None) -> None:
    """Leave a URL for the link; does nothing without a URL or outside of a task run."""
    ti = context.get("ti")
    if url and ti is not None:
        ti.xcom_push(key=XCOM_KEY, value=url)
