"""Run by Python at the start of every process of the tests (tests/conftest.py puts this folder into PYTHONPATH).

A fifth of the time in which torch, transformers and vLLM are imported is the garbage collector's, which looks through
modules that stay; the end-to-end runs start about a hundred processes that import them.
"""

import gc

gc.set_threshold(50_000, 20, 20)
