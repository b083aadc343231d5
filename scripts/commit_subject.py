"""Check the subject of a commit; a hook of pre-commit calls it with the file that holds the message."""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST = 72


def problem_with(message: str) -> str | None:
    """Return what is wrong with the message of a commit, or None.

    :param message: the whole message, with git's comments.
    """
    lines = [line.rstrip() for line in message.splitlines() if not line.startswith("#")]
    subject, *rest = lines or [""]
    if not subject:
        return "the first line is empty; say there what the commit does"
    if subject.startswith(("fixup! ", "squash! ", "Merge ", "Revert ")):
        return None
    if len(subject) > LONGEST:
        return f"the first line has {len(subject)} characters; {LONGEST} are enough, and the reasons belong below"
    if subject.endswith("."):
        return "the first line is a title, without a full stop"
    if rest and rest[0]:
        return "the second line has to be empty"
    return None


if __name__ == "__main__":
    found = problem_with(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.exit(f"The message of the commit: {found}." if found else 0)
