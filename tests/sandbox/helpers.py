"""A small client with the documented requests, so that the tests say only what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.catalog import find_stage

if TYPE_CHECKING:
    import httpx

NEW = find_stage("Support / New").id
LATE = find_stage("Orders / Late").id
PHONE = "+56912345678"


def ticket_body(**changes: Any) -> dict[str, Any]:
    """Return a complete body; a field set to None is left out."""
    body: dict[str, Any] = {
        "to_phone_number": PHONE,
        "stage_id": NEW,
        "contact_metadata": {},
        "ticket_metadata": {},
        "integration_data": {},
        "message": {"content": "Hola", "ai_generated": False},
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


class Api:
    """The documented requests."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def open(self, *, phone_id: str = "qr-main", channel: str = "web-whatsapp", **fields: Any) -> httpx.Response:
        return self.http.post(f"/api/public/ticket/open/{channel}/{phone_id}", json=ticket_body(**fields))

    def opened(self, **fields: Any) -> str:
        reply = self.open(**fields)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["aiContactId"])

    def info(self, contact: str) -> httpx.Response:
        return self.http.get(f"/api/public/contact/{contact}/info")

    def search(self, **query: str) -> httpx.Response:
        return self.http.get("/api/public/contacts/search", params=query)

    def found(self, **query: str) -> list[str]:
        return [row["id"] for row in self.search(**query).json()]

    def contacts(self, **query: Any) -> httpx.Response:
        return self.http.get("/api/public/contacts", params=query)

    def listed(self, **query: Any) -> list[str]:
        reply = self.contacts(**query)
        assert reply.status_code == 200, reply.text
        return [row["id"] for row in reply.json()]

    def messages(self, contact: str, **query: Any) -> httpx.Response:
        return self.http.get(f"/api/public/contact/v2/{contact}/messages", params=query)

    def bodies(self, contact: str, **query: Any) -> list[str]:
        return [message["body"] for message in self.messages(contact, **query).json()["messages"]]

    def close(self, contact: str) -> httpx.Response:
        return self.http.post(f"/api/public/ticket/close/contact/{contact}")

    def ticket_metadata(self, **body: Any) -> httpx.Response:
        return self.http.post("/api/public/ticket/metadata", json=body)

    def amount(self, **body: Any) -> httpx.Response:
        return self.http.post("/api/public/ticket/amount", json=body)

    def contact_metadata(self, contact: str, body: Any) -> httpx.Response:
        return self.http.post(f"/api/public/contact/{contact}/update-metadata", json=body)
