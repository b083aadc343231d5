"""What the page says: one short label and one sentence for everything that the ledger knows by a word."""

from __future__ import annotations

from vambe_provider.delivery.model import Evidence, Reason, Sent, State

STATES: dict[str, tuple[str, str]] = {
    State.UNKNOWN: ("unknown", "It may exist, and no look at Vambe could tell. It is not sent again until you decide."),
    State.REJECTED: ("rejected", "The row was refused. It is tried again when its data changes, or when you say so."),
    State.FAILED: ("to be tried again", "Nothing was sent. The next run that returns the row tries it again."),
    State.SENDING: ("being sent", "A worker has it, or had it when it died. The next run finds out what became of it."),
    State.POSTPONED: ("postponed", "The contact policy wants it later. A later run sends it."),
    State.SUPPRESSED: ("never sent", "The contact policy or a person ruled it out."),
    State.OPENED: ("opened", "The ticket exists in Vambe. It is never sent again."),
}
"""Every state: its label, and what it means; those that need a person come first."""

SENT: dict[str, str] = {
    Sent.YES: "was sent",
    Sent.MAYBE: "may have been sent",
    Sent.NO: "was not sent",
}

REASONS: dict[str, str] = {
    Reason.FIRST: "The first attempt.",
    Reason.AGAIN: "Tried again, because the attempt before it surely created nothing.",
    Reason.RESEND: "Sent once more, because the task asked for it with resend=True.",
    Reason.CHANGED: "Sent once more, because the row changed and the task has on_change='open_again'.",
    Reason.BLIND: "Sent once more although nobody could tell, because the task has on_unknown='resend'.",
    Reason.SEED: "Recorded as done; nothing was sent.",
    Reason.DECISION: "A person decided; nothing was sent.",
}

EVIDENCE: dict[str, str] = {
    Evidence.REPLY: "Vambe answered that the ticket is open.",
    Evidence.MARK: "The key of this attempt stands in the data of the contact or of a ticket in Vambe.",
    Evidence.TICKET: "A ticket was created in Vambe during the attempt, and nothing else explains it.",
    Evidence.CONTACT: "The contact was created in Vambe during the attempt, and nothing else explains it.",
    Evidence.MESSAGE: "The message was sent to the contact during the attempt, and nothing else explains it.",
    Evidence.REFUSED: "Vambe refused it in its own words.",
    Evidence.NOT_SENT: "The request did not leave the worker, or Vambe turned it away with 429.",
    Evidence.NOT_POSTED: "It was claimed and given back before its request began.",
    Evidence.LEASE_OVER: "Its claim had run out before the request began.",
    Evidence.NO_CONTACT: "Every look worked, and nothing in Vambe knows a contact of this person.",
    Evidence.WITNESS: "The contact shows no mark of the attempt, where a ticket that surely exists shows its own.",
    Evidence.NO_TRACE: "The contact exists and shows neither the ticket nor that it would be visible.",
    Evidence.NO_WITNESS: "Nothing was found, and nothing shows that it would have been.",
    Evidence.CONTACT_KNOWN: "The contact exists, and the last look did not find it.",
    Evidence.UNREADABLE_CONTACT: "A contact that may be this person's shows no number that can be compared.",
    Evidence.SEARCH_FULL: "The search returned as many contacts as it can, so this one may be missing.",
    Evidence.LOOK_FAILED: "Not every look at Vambe worked.",
    Evidence.TOO_OLD: "The attempt is so old that contacts may have been merged or deleted since.",
    Evidence.OTHER_ACCOUNT: "The attempt went to another account of Vambe, where the task could not look.",
    Evidence.BLIND: "The task asked to send again although nobody could tell.",
    Evidence.PERSON: "A person decided.",
    Evidence.SEEDED: "Recorded as done for the backlog of the first day.",
    Evidence.VALIDATION: "The row was refused before anything was sent.",
    Evidence.POLICY: "The contact policy decided.",
}


def state_label(state: str) -> str:
    """Return the label of a state; one that a newer provider wrote is shown as it is."""
    return STATES.get(state, (state, ""))[0]


def state_meaning(state: str) -> str:
    """Return what a state means; empty for one that a newer provider wrote."""
    return STATES.get(state, (state, ""))[1]


def evidence_text(evidence: str | None) -> str:
    """Return why something is believed; empty while nothing is."""
    return EVIDENCE.get(evidence, evidence) if evidence else ""


def reason_text(reason: str) -> str:
    """Return why an attempt was begun."""
    return REASONS.get(reason, reason)


def sent_text(sent: str) -> str:
    """Return whether an attempt reached Vambe."""
    return SENT.get(sent, sent)
