"""Reward terms: pure functions of a response and its row. Imports neither verl, ray nor torch, and loads no model."""

from sp3f_verl.rewards.answers.accuracy import answers_match, answers_match_async
from sp3f_verl.rewards.answers.checkers import checker_of, load_checkers
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.terms import TERMS, check_weights, rule_terms, rule_terms_async
from sp3f_verl.rewards.weights import active, total, weights_at

__all__ = [
    "TERMS",
    "UnsupportedLanguage",
    "active",
    "answers_match",
    "answers_match_async",
    "check_weights",
    "checker_of",
    "extract_boxed",
    "language_share",
    "load_checkers",
    "rule_terms",
    "rule_terms_async",
    "total",
    "weights_at",
]
