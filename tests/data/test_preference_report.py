"""What a report on a preference set counts, and when it warns."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl import languages
from sp3f_verl.data.preference_report import PreferenceReport, similarity
from sp3f_verl.errors import BadInput

SPANISH = "Ella vende los huevos restantes en el mercado cada mañana, y gana dieciocho dólares cada día."
ENGLISH = "She sells the remaining eggs at the market every morning, and she earns eighteen dollars a day."
INDONESIAN = "Dia menjual sisa telur di pasar setiap pagi, dan dia mendapatkan delapan belas dolar setiap hari."


def row(chosen, rejected, prompt="¿Cuánto gana?", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "language": "es"} | more


def preference_report(rows, check_language=True):
    report = PreferenceReport(check_language=check_language)
    for row in rows:
        report.add(row)
    return report.result()


def warned(report, start):
    return any(warning.startswith(start) for warning in report["warnings"])


def test_off_language_is_told_of_either_side_and_formulas_have_no_language():
    rows = [
        row(SPANISH, ENGLISH, "a"),
        row(SPANISH, SPANISH + " Y nada más.", "b"),
        row(r"\boxed{18}", "$x = 18$", "c"),
        row(INDONESIAN, ENGLISH, "d", chosen_language="id", rejected_language="en"),
    ]
    report = preference_report(rows)
    assert report["overall"]["chosen_off_language"] == 0.0
    assert report["overall"]["rejected_off_language"] == pytest.approx(1 / 3)
    assert report["overall"]["same_language"] == 0.75
    assert report["by_language"]["id"]["rejected_off_language"] == 0.0
    assert warned(report, "rejected_off_language is 0.333")


def test_a_language_that_cannot_be_recognised_is_named_and_not_counted(tmp_path, monkeypatch):
    code = "xx"
    entry = languages.TABLE.read_text(encoding="utf-8").split("\nsw:\n")[1].split("\n\n")[0]
    (tmp_path / "own.yaml").write_text(f"{code}:\n{entry}\n".replace("labels", "markers"), encoding="utf-8")
    monkeypatch.setenv(languages.EXTRA_VARIABLE, str(tmp_path / "own.yaml"))
    report = preference_report([row(SPANISH, ENGLISH, language=code)])
    assert report["not_recognised"] == [code]
    assert report["overall"]["chosen_off_language"] is None
    assert warned(report, f"language {code} cannot be recognised")


def test_copies_ties_and_orders():
    rows = [
        row(SPANISH, SPANISH.replace("cada día", "al día"), "a", chosen_score=1.0, rejected_score=1.0),
        row("una respuesta", "otra cosa distinta", "b", chosen_score=1.0, rejected_score=3.0),
        row("una respuesta", "otra cosa distinta", "b", chosen_score=5.0, rejected_score=1.0),
        row("una respuesta", "una cosa muy distinta", "b", chosen_score=6.0, rejected_score=1.0),
        row("otra cosa distinta", "nada de nada", "b"),
        row(SPANISH, SPANISH, "c"),
        row("sí", "no", "d", chosen_score=float("nan"), rejected_score=0.0),
    ]
    report = preference_report(rows, check_language=False)
    overall = report["overall"]
    assert (report["rows"], overall["pairs"], report["prompts"]) == (7, 5, 2)
    assert report["unusable"] == {"score_not_finite": 1, "sides_identical": 1}
    assert (overall["near_duplicate"], overall["tie"], overall["wrong_order"]) == (0.2, 1 / 4, 1 / 4)
    assert (overall["margin"], overall["median_margin"]) == (7 / 4, 2.0)
    assert report["rows_with_a_repeated_prompt"] == 4
    assert (report["repeated_rows"], report["texts_chosen_and_rejected"]) == (1, 1)
    for start in ("near_duplicate", "tie", "wrong_order", "repeated_rows", "texts_chosen", "unusable: 1 rows sides_id"):
        assert warned(report, start)


def test_length_gap_and_broken_rejected_by_source():
    good = [row(f"a{k} b c d", f"e f g h{k}", f"p{k}", source="good") for k in range(300)]
    looped = "una y otra vez se dice lo mismo en esta frase " * 20
    bad = [row("x" * 40 + str(k), looped, f"q{k}", source="bad") for k in range(30)]
    report = preference_report(good + bad, check_language=False)
    assert report["by_source"]["good"]["length_ratio"] == 1.0
    assert report["by_source"]["bad"]["length_ratio"] < 0.1
    assert report["by_source"]["bad"]["chosen_longer"] == 0.0
    assert report["by_source"]["bad"]["rejected_repetitive"] == 1.0
    assert not warned(report, "rejected_repetitive")
    assert warned(report, "source bad: rejected_repetitive is 1")
    assert warned(report, "source bad: length_ratio")
    assert not warned(report, "source good")


def test_message_lists_and_tokens():
    user = [{"role": "user", "content": "Hola"}]
    sides = {
        "chosen": [*user, {"role": "assistant", "content": SPANISH}],
        "rejected": [*user, {"role": "assistant", "content": SPANISH[:50]}],
    }
    report = preference_report([sides | {"language": "es", "chosen_tokens": 30, "rejected_tokens": 15}])
    assert (report["overall"]["chosen_tokens"], report["overall"]["rejected_tokens"]) == (30, 15)
    assert report["overall"]["tie"] is None
    assert json.loads(json.dumps(report)) == report
    assert report["by_language"]["es"]["pairs"] == 1 and warned(report, "length_ratio")


@given(
    st.permutations(
        [row(SPANISH[:k], ENGLISH[k:], "pq"[k % 2], chosen_score=k / 7, rejected_score=0.1) for k in (9, 20, 33)]
    )
)
def test_order_of_rows_changes_nothing(rows):
    assert preference_report(rows, check_language=False) == preference_report(
        sorted(rows, key=str), check_language=False
    )


def test_empty_sets_and_bad_rows():
    assert preference_report([])["warnings"] == ["there is not one usable pair"]
    with pytest.raises(BadInput, match="row 0 has no 'rejected'"):
        preference_report([{"prompt": "a", "chosen": "b"}])
    with pytest.raises(BadInput, match="row 0: unknown language 'Spanish'"):
        preference_report([row("a", "b", language="Spanish")])


@pytest.mark.parametrize(
    ("one", "other", "bounds"),
    [
        (SPANISH, SPANISH, (1, 1)),
        (SPANISH, "  " + SPANISH.replace(" ", "\n"), (1, 1)),
        (SPANISH, SPANISH.replace("mañana", "semana"), (0.75, 0.95)),
        (SPANISH, ENGLISH, (0, 0.1)),
        ("", "a", (0, 0)),
        ("ab", "ab", (1, 1)),
        ("答案是七", "答案是八", (0, 0)),
        ("a\ud800bcdef", "a\ud800bcdeg", (0.5, 0.5)),
    ],
)
def test_similarity(one, other, bounds):
    assert bounds[0] <= similarity(one, other) <= bounds[1]


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_similarity_is_the_jaccard_of_sets_of_5_grams(one, other):
    a, b = ({text[k : k + 5] for k in range(len(text) - 4)} for text in (one, other))
    expected = 1.0 if one == other else len(a & b) / len(a | b) if a | b else 0.0
    assert similarity(one, other) == similarity(other, one) == expected
