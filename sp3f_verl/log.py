"""One logger for everything that sp3f_verl says beside what a command is asked to show.

    from sp3f_verl.log import log

    log.info("iteration 0: 64 groups")   # sp3f_verl: iteration 0: 64 groups

Lines go to stderr by one handler, and never to the root logger as well: verl and Ray give that one a handler in every
worker, and Ray forwards a worker's stderr to the driver, so that each line would arrive there twice. `SP3F_LOG_LEVEL`
sets the level, in Ray's workers too (`cpu.patches.logical_gpus` hands it on).
"""

import logging
import os
import sys

LEVEL_VARIABLE = "SP3F_LOG_LEVEL"


class _Stderr(logging.StreamHandler):
    """Writes to what `sys.stderr` is at the time of the line: frameworks and tests replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


def _logger() -> logging.Logger:
    logger = logging.getLogger("sp3f_verl")
    logger.propagate = False
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("sp3f_verl: %(message)s"))
    logger.handlers = [handler]
    level = os.environ.get(LEVEL_VARIABLE, "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    logger.setLevel(level if known else "INFO")
    if not known:  # no exception: verl would swallow it together with the plugin
        logger.warning(f"{LEVEL_VARIABLE}={level} is no level; it is one of DEBUG, INFO, WARNING, ERROR.")
    return logger


def show(line: str) -> None:
    """What a run is asked to show, on stdout, at any level: what it trains on."""
    print(f"sp3f_verl: {line}", flush=True)


log = _logger()
