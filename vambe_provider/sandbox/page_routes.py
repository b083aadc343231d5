"""What the page is asked for, and what its forms do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from aiohttp import web

from vambe_provider.sandbox import actions
from vambe_provider.sandbox.catalog import SENDERS, find_stage
from vambe_provider.sandbox.control import refuse_other_sites
from vambe_provider.sandbox.page import Wanted, render
from vambe_provider.sandbox.page_parts import static
from vambe_provider.sandbox.replies import ApiError
from vambe_provider.sandbox.validation import phone_digits

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.control import Control
    from vambe_provider.sandbox.model import JsonObject


@cache
def _headers() -> dict[str, str]:
    """Return what every page carries: nothing runs in it but its own script, and nothing is asked of another host."""
    script, style = (
        base64.b64encode(hashlib.sha256(static(name).encode()).digest()).decode() for name in ("page.js", "page.css")
    )
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


class Pages:
    """The routes of the page.

    :param service: the sandbox that it shows.
    :param control: what its forms call.
    """

    def __init__(self, service: Service, control: Control) -> None:
        self._service = service
        self._control = control
        # From the name of an action to what it does with the form, and where it leads afterwards.
        self._forms: dict[str, Callable[[dict[str, str]], str]] = {
            "reply": self._of_contact(control.reply),
            "close": self._of_contact(control.close),
            "move": self._of_contact(control.move),
            "open": self._open,
            "fault": self._fault,
            "clear": self._to_faults(control.clear_faults),
            "reset": self._to_faults(control.reset),
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        names = "|".join(self._forms)
        # Vambe's web app has a conversation at /pipeline, which is where links of the provider lead.
        paths = [web.get("/", self._show), web.get("/pipeline", self._conversation)]
        return [*paths, web.post(f"/__sandbox__/page/{{what:{names}}}", self._posted)]

    async def _show(self, request: web.Request) -> web.Response:
        return self._page(request, view=request.query.get("view", "inbox"))

    async def _conversation(self, request: web.Request) -> web.Response:
        contact = request.query.get("chatContactId", "")
        if contact not in self._service.state.contacts:
            problem = "There is no such contact: it was merged into another one, or the sandbox was reset."
            return self._page(request, problem=problem, status=404)
        raise web.HTTPSeeOther(f"/?contact={quote(contact)}")

    async def _posted(self, request: web.Request) -> web.Response:
        refuse_other_sites(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        what = request.match_info["what"]
        view = {"open": "open", "fault": "faults"}.get(what, "inbox")
        try:
            with self._service.state.changed:
                where = self._forms[what](form)
        except (ApiError, KeyError, ValueError) as error:
            problem = str(error.message if isinstance(error, ApiError) else error)
            return self._page(request, view=view, problem=problem, typed=form, status=400)
        raise web.HTTPSeeOther(where)

    def _page(
        self,
        request: web.Request,
        *,
        view: str = "inbox",
        problem: str = "",
        typed: dict[str, str] | None = None,
        status: int = 200,
    ) -> web.Response:
        wanted = Wanted(
            base_url=f"{request.scheme}://{request.host}",
            view=view,
            contact=request.query.get("contact"),
            search=request.query.get("q", ""),
            problem=problem,
            typed=typed or {},
        )
        with self._service.state.changed:
            page = render(self._service, wanted)
        return web.Response(text=page, status=status, content_type="text/html", headers=_headers())

    @staticmethod
    def _of_contact(act: Callable[[JsonObject], Any]) -> Callable[[dict[str, str]], str]:
        def submit(form: dict[str, str]) -> str:
            contact = form.get("contact", "")
            # What was clicked may be outdated by now (merged, closed); the page then shows how things are.
            with contextlib.suppress(KeyError, ValueError):
                act(form | {"ai_contact_id": contact})
            return f"/?{urlencode({'contact': contact})}"

        return submit

    @staticmethod
    def _to_faults(act: Callable[[JsonObject], Any]) -> Callable[[dict[str, str]], str]:
        def submit(form: dict[str, str]) -> str:
            act(dict(form))
            return "/?view=faults"

        return submit

    def _fault(self, form: dict[str, str]) -> str:
        given: dict[str, Any] = {name: value.strip() for name, value in form.items() if value.strip()}
        for name, kind in (("times", int), ("status", int), ("seconds", float)):
            if name in given and not (name == "times" and given[name] == "forever"):
                try:
                    given[name] = kind(given[name])
                except ValueError:
                    raise ValueError(f"{name}: {given[name]!r} is not a number") from None
        self._control.add_fault(given)
        return "/?view=faults"

    def _open(self, form: dict[str, str]) -> str:
        sender = SENDERS.get(form.get("phone_id", ""))
        if sender is None:
            raise ValueError("the sandbox has no such sender")
        words = form.get("message", "").strip()
        opening = actions.Opening(
            phone=phone_digits(form.get("phone", "")),
            channel=sender.channel,
            phone_id=sender.id,
            stage_id=find_stage(form.get("stage", "")).id,
            name=form.get("name", "").strip() or None,
            message={"content": words, "ai_generated": False} if words else None,
        )
        try:
            contact, _ = actions.open_ticket(self._service.state, opening)
        except actions.TicketConflictError:
            raise ValueError("the contact has an active ticket, and existing_ticket is conflict") from None
        except actions.OutsideWindowError:
            raise ValueError("the customer has not written for 24 hours, and session_window is refuse") from None
        return f"/?{urlencode({'contact': contact.id})}"
