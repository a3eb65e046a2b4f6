"""What SPEC 2c found by simulation, found again here; and the warnings that make it seen."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sp3f_verl.selection import Candidates, Settings, choose, pool_diagnostics

OFFSETS = {"da": -0.5, "de": 0.2, "en": 1.0, "es": 0.5, "fr": 0.3, "it": 0.0, "nl": -0.2}


def simulated(offsets, prompts=800, n=64, seed=1, **columns):
    rng = np.random.default_rng(seed)
    codes = sorted(offsets)
    ids, language = np.repeat(np.arange(prompts), len(codes) * n), np.tile(np.repeat(np.arange(len(codes)), n), prompts)
    scores = rng.standard_normal(len(ids)) + np.array([offsets[code] for code in codes])[language]
    numbers = np.tile(np.arange(n), prompts * len(codes))
    return Candidates.of(ids, [codes[at] for at in language], numbers, scores, **columns)


def test_place_of_the_rejected_by_pool_size():
    """Normal scores: what the rule does by itself."""
    candidates = simulated({"en": 0.0}, prompts=8000)
    pairs = choose(candidates, Settings())
    table = {row["k"]: row for row in pool_diagnostics(candidates, pairs, sizes=(4, 8, 16))["pool_sizes"]}
    assert [table[k]["worst"] for k in (4, 8)] == [1.0, 1.0]
    assert table[16]["worst"] == pytest.approx(0.955, abs=0.01)
    at_64 = [table[64][name] for name in ("worst", "second", "third")]
    assert at_64 == pytest.approx([0.27, 0.47, 0.22], abs=0.02)
    assert table[64]["rejected_z"] == pytest.approx(-1.96, abs=0.01)


def test_two_languages_two_sigma_apart_raw():
    candidates = simulated({"da": 0.0, "en": 2.0})
    diagnostics = pool_diagnostics(candidates, choose(candidates, Settings.original("cross_language")), sizes=())
    assert diagnostics["chosen_language"]["en"] == pytest.approx(0.999, abs=0.003)
    assert diagnostics["rejected_language"]["da"] == pytest.approx(0.996, abs=0.005)


def test_seven_languages_raw_and_z():
    candidates = simulated(OFFSETS)
    raw = pool_diagnostics(candidates, choose(candidates, Settings.original("cross_language")), sizes=())
    assert raw["same_language"] == pytest.approx(0.044, abs=0.015)
    assert raw["chosen_language"]["en"] == pytest.approx(0.63, abs=0.04)
    assert any(warning.startswith("top_language is 6") for warning in raw["warnings"])
    for scale in ("z", "z_prompt"):
        pairs = choose(candidates, Settings(pool="cross_language", scale=scale))
        diagnostics = pool_diagnostics(candidates, pairs, sizes=())
        assert diagnostics["same_language"] == pytest.approx(1 / 7, abs=0.03)
        assert max(diagnostics["chosen_language"].values()) < 0.19
        assert not diagnostics["warnings"]
    for consistency in ("pair", "prompt"):
        pairs = choose(candidates, Settings(pool="cross_language", consistency=consistency))
        diagnostics = pool_diagnostics(candidates, pairs, sizes=())
        assert (diagnostics["same_language"], diagnostics["pairs"]) == (1.0, 800)


def test_numbers_of_a_pool_by_hand():
    candidates = Candidates.of(
        list("pppppqqqq"),
        ["da"] * 5 + ["en"] * 4,
        [0, 1, 2, 3, 4, 0, 1, 2, 3],
        [2.0, 1.0, 0.0, None, 3.0, 4.0, 4.0, 4.0, float("nan")],
        lengths=[20, 10, 5, 7, 40, 8, 8, 8, 8],
        truncated=[False] * 4 + [True] + [False] * 4,
        shares=[1.0, None, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 1.0],
    )
    diagnostics = pool_diagnostics(candidates, choose(candidates, Settings(scale="raw")))
    assert json.loads(json.dumps(diagnostics)) == diagnostics
    assert (diagnostics["pools"], diagnostics["pairs"], diagnostics["skipped"]) == (2, 1, {"all_equal": 1})
    assert diagnostics["excluded"] == {"no_score": 2, "truncated": 1, "off_language": 1}
    assert diagnostics["margin"]["mean"] == diagnostics["score_margin"]["p50"] == 2.0
    assert diagnostics["lengths"] == {
        "chosen": 20.0,
        "rejected": 5.0,
        "chosen_longer": 1.0,
        "ratio": pytest.approx(4.0),
    }
    da, en = diagnostics["languages"]["da"], diagnostics["languages"]["en"]
    assert (da["candidates"], da["mean"], da["no_score"], da["language_unknown"]) == (5, 1.5, 0.2, 0.2)
    assert da["spread"] == pytest.approx(1.25**0.5)
    assert da["length_correlation"] == pytest.approx(1.0)  # a doubling is one point
    assert (en["off_language"], en["length_correlation"]) == (0.25, None)
    assert [(row["k"], row["pairs"], row["margin"]) for row in diagnostics["pool_sizes"]] == [(2, 1, 1.0), (3, 1, 2.0)]


def test_correlation_with_length_within_prompts_is_not_that_between_them():
    """Long answers belong to prompts with low scores, and win within a prompt."""
    rng = np.random.default_rng(5)
    prompt = np.repeat(np.arange(300), 8)
    log_length = 5 + 0.01 * prompt + 0.2 * rng.standard_normal(2400)
    scores = -0.05 * prompt + 3 * (log_length - 5 - 0.01 * prompt) + 0.1 * rng.standard_normal(2400)
    candidates = Candidates.of(prompt, ["da"] * 2400, range(2400), scores, lengths=np.exp(log_length).astype(int))
    diagnostics = pool_diagnostics(candidates, choose(candidates))
    assert diagnostics["languages"]["da"]["length_correlation"] < -0.5
    assert diagnostics["languages"]["da"]["length_correlation_within"] > 0.9
    assert any(warning.startswith("chosen_longer") for warning in diagnostics["warnings"])


def test_nothing_left_is_told_and_not_raised():
    candidates = Candidates.of(["p", "p"], ["da", "da"], [0, 1], [None, None], lengths=[3, 3])
    diagnostics = pool_diagnostics(candidates, choose(candidates))
    assert diagnostics["warnings"][0] == "there is not one pair"
    assert diagnostics["languages"]["da"]["length_correlation"] is None


def test_the_room_imports_numpy_and_nothing_heavy():
    code = (
        "import sys, sp3f_verl.selection, sp3f_verl.data.preference_report; "
        "print(*{'torch', 'ray', 'verl', 'matplotlib'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
