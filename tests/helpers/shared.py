"""Where the tests find what lies outside their own folder."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent  # also the PYTHONPATH of processes that a test starts
# Real problems and sentences beside the checkout; whoever needs them skips with a reason where they are absent.
SHARED_DATA = Path(os.environ.get("SP3F_REAL_DATA") or ROOT.parent / "shared" / "data")
