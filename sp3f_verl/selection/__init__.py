"""Which candidates become preference pairs: pure functions of scores. Imports neither verl, Ray nor torch."""

from sp3f_verl.selection.candidates import Candidates, text_key
from sp3f_verl.selection.choose import Pairs, Settings, best_of_n, choose
from sp3f_verl.selection.diagnostics import pool_diagnostics
from sp3f_verl.selection.pairs import RULES, select_pair, select_pairs

__all__ = [
    "RULES",
    "Candidates",
    "Pairs",
    "Settings",
    "best_of_n",
    "choose",
    "pool_diagnostics",
    "select_pair",
    "select_pairs",
    "text_key",
]
