"""What the words of a refusal are about: the row that was sent, or something that all rows have in common. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vambe_provider.exceptions import VambeError

Topic = Literal["address", "credit", "key", "sender", "row", "unknown"]


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_SENDER_IS_GONE = _any_of(
    r"disconnect",
    r"not connected",
    r"no (est[aá] )?conectad",
    r"desconect",
    r"session (closed|expired)",
    r"sesi[oó]n (cerrada|expirada)",
    r"scan the qr",
    r"escane\w+ el (c[oó]digo )?qr",
)
# The first that fits decides, so "Phone ID or stage ID doesn't exist" is not taken for a fault of the row.
_TOPICS: tuple[tuple[Topic, re.Pattern[str]], ...] = (
    (
        "address",
        _any_of(r"\bcannot (get|post|put|patch|delete|head|options)\b", r"no route", r"route not found", "/api/"),
    ),
    (
        "credit",
        _any_of(
            r"\bcredits?\b",
            r"\bcr[eé]ditos?\b",
            r"\bsaldo\b",
            r"\bbalance\b",
            r"payment",
            r"subscription",
            r"suscripci[oó]n",
            r"\bquota\b",
            r"billing",
        ),
    ),
    ("key", _any_of(r"api[ _-]?key", r"unauthori[sz]ed", r"(invalid|expired|access) token", r"credential")),
    ("sender", _SENDER_IS_GONE),
    ("sender", _any_of(r"phone[ _-]?id\b", r"\bsender\b", r"\bchannel", r"\bcanal\b", r"remitente")),
    (
        "row",
        _any_of(
            # Fields of a request.
            r"\b(to_phone_number|stage_?id|contact_name|email|contact_metadata|ticket_metadata|integration_data)\b",
            r"\b(template_?id|ai_generated|ticket_id|ai_?contact_?id|contact_number|amount|currency|metadata)\b",
            r"\bmessage(\.\w+)? (must|should|is|cannot|can't|has)\b",
            # What they hold.
            r"\bphone\b",
            r"\b(whatsapp|valid|invalid|wrong|the) number\b",
            r"\bnumber (is|was|does|has|not|must)\b",
            r"n[uú]mero",
            r"tel[eé]fono",
            r"country code",
            r"c[oó]digo de pa[ií]s",
            r"recipient",
            r"destinatario",
            r"\bstage\b",
            r"\betapa\b",
            r"\btemplate\b",
            r"\bplantilla\b",
            r"\bcontacto? (not|no|is|was|has|does|could|with|bloqueado)\b",
            r"\bticket (not|no|is|was|has|does)\b",
            r"\bactive ticket\b",
            r"too (large|long)",
        ),
    ),
)


def topic_of(words: str | None, *, status: int) -> Topic:
    """Say what a refusal is about.

    :param words: what the API said, before anything was taken out of it.
    :param status: of the reply.
    """
    found: Topic = next((topic for topic, pattern in _TOPICS if pattern.search(words or "")), "unknown")
    if status in (401, 403) and found != "address":
        return "key"
    return "row" if status == 413 and found == "unknown" else found


def sender_is_gone(error: VambeError) -> bool:
    """Say whether an error means that the sender's WhatsApp is not connected, which no row can help."""
    return error.status is not None and _SENDER_IS_GONE.search(error.said or "") is not None
