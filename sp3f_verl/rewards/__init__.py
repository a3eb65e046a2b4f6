"""Reward terms: pure functions of a response and its row. Imports neither verl, ray nor torch, and loads no model."""

from sp3f_verl.rewards.accuracy import answers_match, answers_match_async
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.terms import TERMS, check_weights, rule_terms, rule_terms_async, total

__all__ = [
    "TERMS",
    "UnsupportedLanguage",
    "answers_match",
    "answers_match_async",
    "check_weights",
    "extract_boxed",
    "language_share",
    "rule_terms",
    "rule_terms_async",
    "total",
]
