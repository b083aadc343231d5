"""The pages and the two requests that they make, as a FastAPI application below ``/vambe`` of Airflow's API server.

Every function is a plain ``def``: FastAPI runs it in a thread, because the database of a ledger blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint  # noqa: TC002 - FastAPI reads it

from vambe_provider.ui import changes, guard, pages
from vambe_provider.ui.access import Visitor, login_url, public_host, visitor
from vambe_provider.ui.asked import Asked, DecisionBody, PersonBody
from vambe_provider.ui.ledgers import LedgerUnavailableError
from vambe_provider.ui.render import render
from vambe_provider.ui.scope import Shown

VisitorDep = Annotated[Visitor, Depends(visitor)]
AskedDep = Annotated[Asked, Depends()]

# Without these three, anybody could read what the page can do.
app = FastAPI(title="Vambe tickets", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(packages=[("vambe_provider.ui", "static")]), name="static")
shown = Shown()


def _same_site(request: Request) -> None:
    if refused := guard.refusal(request.headers, public_host=public_host()):
        raise HTTPException(403, refused)


@app.get("/")
def overview(who: VisitorDep, asked: AskedDep) -> Response:
    """Return the counts, the days and the senders."""
    return _html(pages.overview(shown, who, asked))


@app.get("/tickets")
def tickets(who: VisitorDep, asked: AskedDep) -> Response:
    """Return a page of the list."""
    return _html(pages.tickets(shown, who, asked))


@app.get("/tickets.csv")
def export(who: VisitorDep, asked: AskedDep) -> Response:
    """Return all tickets of the list as a file."""
    pieces: Iterator[str] = pages.export(shown, who, asked)
    first = next(pieces)  # the header and the first rows, so that a failure is still a sentence

    def body() -> Iterator[str]:
        yield first
        yield from pieces

    name = f'attachment; filename="vambe-tickets-{_file_name(asked.ledger)}.csv"'
    return StreamingResponse(body(), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})


@app.get("/ticket")
def ticket(who: VisitorDep, asked: AskedDep) -> Response:
    """Return one ticket with its attempts."""
    return _html(pages.ticket(shown, who, asked))


@app.post("/person", dependencies=[Depends(_same_site)])
def person(who: VisitorDep, body: PersonBody) -> Response:
    """Return the tickets of a person, as a part of a page."""
    return _html(pages.person(shown, who, body))


@app.post("/decide", dependencies=[Depends(_same_site)])
def decide(who: VisitorDep, body: DecisionBody) -> Response:
    """Carry out what a person decided."""
    return JSONResponse({"message": changes.decide(shown, who, body)})


@app.middleware("http")
async def _headers(request: Request, go_on: RequestResponseEndpoint) -> Response:
    is_static = request.url.path.startswith(f"{request.scope['root_path']}/static/")
    response = await go_on(request)
    response.headers.update(guard.HEADERS)
    response.headers["Cache-Control"] = "private, max-age=3600" if is_static else "no-store"
    return response


@app.exception_handler(HTTPException)
def _refused(request: Request, error: HTTPException) -> Response:
    if error.status_code == 401 and _is_page(request):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(login_url(f"{request.url.path}{query}"), status_code=303)
    return _message(request, error.status_code, str(error.detail))


@app.exception_handler(LedgerUnavailableError)
def _unavailable(request: Request, error: LedgerUnavailableError) -> Response:
    return _message(request, 503, str(error))


@app.exception_handler(RequestValidationError)
def _odd(request: Request, error: RequestValidationError) -> Response:
    # What was given is not repeated: it may be a phone number.
    names = sorted({str(one["loc"][-1]) for one in error.errors()})
    return _message(request, 422, f"The request is not what the page sends: {', '.join(names)}.")


def _message(request: Request, status: int, text: str) -> Response:
    if not _is_page(request):
        return JSONResponse({"message": text}, status_code=status)
    values: dict[str, Any] = {"page": "", "title": "This cannot be shown", "ledgers": [], "ledger": "", "example": ""}
    return HTMLResponse(render("message.html", **values, status=status, text=text), status_code=status)


def _is_page(request: Request) -> bool:
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")


def _html(page: pages.Page) -> Response:
    return HTMLResponse(render(page.template, **page.values))


def _file_name(ledger: str) -> str:
    return "".join(char for char in ledger if char.isascii() and char.isalnum()) or "ledger"
