"""Imported once, by the server that workers are forked from: the successor of a killed worker starts at once."""

import pebble.pool.process  # noqa: F401  (a worker's own loop)

from sp3f_verl.rewards import algebra, symbolic  # noqa: F401  (what a worker is asked to run)

algebra.equal("x+1", "1+x")
