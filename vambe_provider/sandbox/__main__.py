"""Runs the sandbox."""

from __future__ import annotations

import sys

from vambe_provider.sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
