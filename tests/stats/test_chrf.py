"""chrF by hand, and its ties."""

import pytest

from sp3f_verl.stats.chrf import chrf


def test_by_hand():
    """abc against abd, n = 1..3: precision and recall 2/3, 1/2, 0, mean 7/18; equal, so F is the same.
    ab against abc, n = 1, 2: precision 1, 1; recall 2/3, 1/2, mean 7/12; F = 5 * 7/12 / (4 + 7/12) = 7/11."""
    assert chrf("a b c", "abd") == pytest.approx(7 / 18, abs=1e-11)
    assert chrf("ab", "abc") == pytest.approx(7 / 11, abs=1e-11)


def test_recall_weighs_four_times():
    """ab against abab: precision 1, 1; recall 2/4, 1/3, mean 5/12; F = 5 * 5/12 / (4 + 5/12) = 25/53.
    abab against ab has the two exchanged: 5 * 5/12 / (4 * 5/12 + 1) = 25/32."""
    assert chrf("ab", "abab") == pytest.approx(25 / 53, abs=1e-11)
    assert chrf("abab", "ab") == pytest.approx(25 / 32, abs=1e-11)


def test_limits():
    assert chrf("মোট ডিম", "মোট  ডিম\n") == chrf("a b c", "abc") == 1
    assert chrf("xyz", "abc") == chrf("", "abc") == chrf("abc", "") == chrf("", "") == 0
