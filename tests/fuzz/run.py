"""The fuzz tests at length: ``python tests/fuzz/run.py [EXAMPLES [PYTEST ARGUMENTS]]``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    os.environ["GWSYNC_FUZZ_EXAMPLES"] = sys.argv[1] if sys.argv[1:] else "20000"
    here = str(Path(__file__).parent)
    sys.exit(pytest.main([here, "-q", "-o", "faulthandler_timeout=0", *sys.argv[2:]]))
