"""Pairwise judging of a group of responses. The pure core: no model, no verl, no network."""

from sp3f_verl.judge.aggregate import judge_metrics, win_rates
from sp3f_verl.judge.verdict import Verdict, parse_verdict

__all__ = ["Verdict", "judge_metrics", "parse_verdict", "win_rates"]
