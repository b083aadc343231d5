"""The commands of ``policy``; they read no connection and send nothing."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.api.texts import iso_utc
from vambe_provider.cli.output import print_fields, print_json, print_line, print_table
from vambe_provider.cli.run import DONE
from vambe_provider.contact_policy.decide import Answer, Decision, Person, explain, person_of, refused_person
from vambe_provider.contact_policy.facts import Facts
from vambe_provider.contact_policy.numbers import canonical_number, mask_number
from vambe_provider.contact_policy.policy import ContactPolicy, read_policy
from vambe_provider.contact_policy.reasons import meaning
from vambe_provider.exceptions import PhoneNumberError, VambeConfigError

if TYPE_CHECKING:
    import argparse


def explain_decision(options: argparse.Namespace) -> int:
    """Say whether a person may be contacted at a moment, and which rule decides."""
    policy = read_policy(options.policy, argument="--policy") or ContactPolicy()
    now = _moment(options.at)
    if options.timezone is not None and not options.timezone.strip():
        raise VambeConfigError("--timezone: is given but empty", fix="Leave it out, or write America/Santiago.")
    person, number = _person(options, policy)
    decision, answers = explain(person, options.purpose, now, Facts.of_a_stranger(policy, options.purpose), policy)
    if options.output == "table":
        _print_table(decision, answers, number=number, now=now, any_time=policy.windows == "any")
        return DONE
    found = _plain(decision) | (_more(decision, answers) if options.rules else {})
    if options.output == "json":
        print_json(found)
    else:
        import yaml

        sys.stdout.write(yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
    return DONE


def _person(options: argparse.Namespace, policy: ContactPolicy) -> tuple[Person, str]:
    """Return the person behind the number, and how the number may be shown."""
    try:
        number = canonical_number(options.phone, default_region=options.region)
    except PhoneNumberError as error:
        return refused_person(error), mask_number(options.phone)
    return person_of(number, policy=policy, timezone=options.timezone), mask_number(number)


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    import pendulum

    moment: object = None
    with suppress(ValueError, TypeError):
        moment = pendulum.parse(text)
    if not isinstance(moment, datetime):
        raise VambeConfigError(
            "--at: is not a time", fix="Write it as 2026-09-06T08:30:00-03:00. Without a zone it is in UTC."
        )
    return moment


def _plain(decision: Decision) -> dict[str, Any]:
    """Return a decision as its readers know it."""
    return {
        "decision": decision.decision,
        "until": _iso(decision.until),
        "rule": decision.rule,
        "reason": decision.reason,
        "zones": list(decision.zones),
    }


def _more(decision: Decision, answers: list[Answer]) -> dict[str, Any]:
    rules = [
        {"rule": each.rule, "decision": each.decision, "until": _iso(each.until), "reason": each.reason}
        for each in answers
    ]
    return {"preset": decision.preset, "rules": rules}


def _print_table(decision: Decision, answers: list[Answer], *, number: str, now: datetime, any_time: bool) -> None:
    print_fields(
        {
            "number": number,
            "at": _clocks(now, decision.zones),
            "decision": decision.decision,
            "until": "" if decision.until is None else _clocks(decision.until, decision.zones),
            "rule": decision.rule,
            "reason": f"{decision.reason}: {meaning(decision.reason)}",
            "zones": ", ".join(decision.zones),
            "preset": decision.preset or "",
        }
    )
    print_line("")
    rows = [
        (each.rule, each.decision, each.reason, each.until, "yes" if each.rule == decision.rule else "")
        for each in answers
    ]
    print_table(("RULE", "ANSWER", "REASON", "UNTIL (UTC)", "DECIDES"), rows)
    print_line("")
    print_line("No ledger and no list was asked: it is the answer for somebody who never got a ticket.")
    if any_time:
        print_line("The policy has no windows; without `windows`, a ticket may be sent at any time.")


def _clocks(moment: datetime, zones: tuple[str, ...]) -> str:
    """Return a moment in UTC and in the contact's zones."""
    import pendulum

    instant = pendulum.instance(moment)
    local = [f"{instant.in_timezone(zone).format('ddd HH:mm')} {zone}" for zone in zones[:3]]
    utc = instant.in_timezone("UTC").format("YYYY-MM-DD HH:mm:ss")
    return f"{utc} UTC ({', '.join(local)})" if local else f"{utc} UTC"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso_utc(moment)
