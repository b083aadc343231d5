"""The command ``python -m vambe_provider``."""

from __future__ import annotations

import sys

from vambe_provider.cli import main

if __name__ == "__main__":
    sys.exit(main())
