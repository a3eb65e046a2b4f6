"""Where the tests find what lies outside their own folder."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent  # also the PYTHONPATH of processes that a test starts
# Real problems and sentences beside the checkout; whoever needs them skips with a reason where they are absent.
SHARED_DATA = Path(os.environ.get("SP3F_REAL_DATA") or ROOT.parent / "shared" / "data")


def with_helpers() -> dict[str, str]:
    """PYTHONPATH for a process that a test starts and that imports a helper by its plain name."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(HELPERS), os.environ.get("PYTHONPATH")]))}
