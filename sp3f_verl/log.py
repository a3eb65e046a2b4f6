"""One logger for everything that sp3f_verl says beside what a command is asked to show.

Lines go to stderr as `sp3f_verl: ...`, from a handler of its own and never to the root logger as well: Ray forwards a
worker's stderr to the driver, so a second handler there would print each line twice. `SP3F_LOG_LEVEL` sets the level.
"""

import logging
import os
import sys


class _Stderr(logging.StreamHandler):
    """Writes to what `sys.stderr` is at the time of the line: frameworks and tests replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


log = logging.getLogger("sp3f_verl")
if not log.handlers:
    _handler = _Stderr()
    _handler.setFormatter(logging.Formatter("sp3f_verl: %(message)s"))
    log.addHandler(_handler)
    log.setLevel(os.environ.get("SP3F_LOG_LEVEL", "INFO").upper())
    log.propagate = False
