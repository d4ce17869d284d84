"""`python -m nasmigrate`."""

from __future__ import annotations

import sys

from nasmigrate.commands import main

if __name__ == "__main__":
    sys.exit(main())
