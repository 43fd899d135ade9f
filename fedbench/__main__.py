"""``python -m fedbench`` is the command ``fedbench``."""

from __future__ import annotations

import sys

from fedbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
