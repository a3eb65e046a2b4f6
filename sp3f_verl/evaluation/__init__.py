"""Measuring models. Light to import: only what needs a model loads one."""

from sp3f_verl.stats.win_rates import length_controlled_win_rate, win_rate

__all__ = ["length_controlled_win_rate", "win_rate"]
