"""The quickstart's measures, means and report, on values worked out by hand."""

import json

import pytest

from helpers.report_folders import quickstart
from helpers.report_runs import write
from sp3f_verl.data.files import write_parquet
from sp3f_verl.data.rows import canonical
from sp3f_verl.evaluation.scores import Scored
from sp3f_verl.quickstart.evaluation import Decoding, _by_language, evaluate, lenient_match, measure
from sp3f_verl.quickstart.gains import write_gains
from sp3f_verl.report.quickstart import COLUMNS, SPLITS, write_report

ROW = {
    "prompt": [{"role": "user", "content": "¿Cuánto es 7+5?"}],
    "reward_model": {"ground_truth": "12"},
    "language": "es",
}


def test_measures_of_a_right_an_unboxed_and_an_english_answer():
    """Right: 1 1 1 1. Unboxed: boxed accuracy 0, lenient 1. In English: right, but not in the language asked for."""
    row, languages = canonical(ROW), ("en", "es")
    right, unboxed = r"El resultado correcto es 7+5=12. \boxed{12}", "El resultado correcto es 7+5=12."
    english = r"The correct result is 7+5=12. \boxed{12}"
    assert measure([right], row, languages) == {"accuracy": 1, "lenient_accuracy": 1, "fidelity": 1, "parseable": 1}
    assert measure([unboxed], row, languages) == {"accuracy": 0, "lenient_accuracy": 1, "fidelity": 1, "parseable": 0}
    assert measure([english], row, languages) == {"accuracy": 1, "lenient_accuracy": 1, "fidelity": 0, "parseable": 1}
    means = measure([right, unboxed, english, right], row, languages)
    assert means == {"accuracy": 0.75, "lenient_accuracy": 1, "fidelity": 0.75, "parseable": 0.75}


def test_a_response_without_words_is_no_failure_to_use_the_language():
    """As in `sp3f evaluate`: one of three has letters enough, and it is in Spanish; of the others nothing is known."""
    row = canonical(ROW)
    texts = [r"\boxed{12}", r"El resultado correcto es doce. \boxed{12}", r"7+5=12 \boxed{12}"]
    assert measure(texts, row, ("en", "es"))["fidelity"] == 1
    assert "fidelity" not in measure(texts[:1], row, ("en", "es"))


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("7+5=12", True),
        ("7+5=13, no: 7+5=12.", True),
        ("7+5=12, no: 7+5=13.", False),
        (r"\boxed{12}", True),
        ("12", False),
        ("", False),
    ],
)
def test_lenient_match_takes_the_last_worked_number_or_the_box(response, right):
    assert lenient_match(response, "12") is right


def test_the_mean_over_languages_weighs_languages_and_not_rows():
    """es: (1 + 0) / 2 = 0.5, zh: 1. All: 0.75, not 2/3. fidelity is known of nothing."""
    right, wrong = Scored({"accuracy": 1.0}), Scored({"accuracy": 0.0})
    means = _by_language({"es": {"a": right, "b": wrong}, "zh": {"c": right}})
    assert means["es"]["accuracy"] == 0.5 and means["all"]["accuracy"] == 0.75
    assert means["es"]["fidelity"] is None and means["all"]["fidelity"] is None


def test_the_quickstarts_evaluation_is_the_same_each_time_and_whatever_the_order(tiny_model, tmp_path):
    rows = [
        {"id": f"{code}{at}", "prompt": [{"role": "user", "content": f"{at}+1?"}], "language": code}
        | {"reward_model": {"ground_truth": str(at + 1)}}
        for code in ("es", "zh")
        for at in range(3)
    ]
    result = []
    for name, order in (("first", rows), ("second", rows[::-1])):
        write_parquet(order, tmp_path / "rows.parquet")
        files = {"test": tmp_path / "rows.parquet", "half": tmp_path / "half.parquet"}
        write_parquet(order[::2], files["half"])
        summaries = evaluate(tiny_model, files, tmp_path, name, Decoding(2, 8, 1))
        summary = summaries["test"]
        assert summary.model_dump() == json.loads((tmp_path / f"{name}_test.json").read_text())
        lines, half = (
            (tmp_path / f"{name}_{split}.responses.jsonl").read_text().splitlines() for split in ("test", "half")
        )
        assert set(half) < set(lines) and len(half) == 3 and summaries["half"].data.rows == 3
        result.append({row["id"]: row["responses"] for row in map(json.loads, lines)})
    assert set(summary.greedy) == set(summary.sampled) == {"es", "zh", "all"}
    assert result[0] == result[1] and result[0].keys() == {row["id"] for row in rows}
    for texts in result[0].values():
        assert len(texts) == 3 and texts[1] != texts[2]
    assert (
        result[0]["es0"][0] == result[0]["zh0"][0] and result[0]["es0"][1] != result[0]["zh0"][1]
    )  # greedy, and sampled


def test_the_report_holds_the_numbers_and_its_pictures(tmp_path):
    quickstart(tmp_path, 0.25, 0.75, ("es", "zh"))
    write(tmp_path / "sp3f", [(step, {"reward/accuracy/mean": step / 4}) for step in range(1, 5)])
    text = write_report(tmp_path).read_text()
    assert text.count("0.250 → 0.750") == 2 * len(SPLITS) * len(COLUMNS) + 2 * len(COLUMNS)
    assert "over 2 languages (es, zh)" in text and "then 4 steps" in text
    for picture in ("rewards.png", "languages.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG") and f"]({picture})" in text


def test_the_report_of_a_pretrained_model_shows_three_stages_and_their_gains(tmp_path):
    quickstart(tmp_path, 0.25, 0.75, ("es", "zh"))
    folder = tmp_path / "evaluation"
    right = {"base": 0, "sft": 3, "sp3f": 6}  # of six sums, greedy
    for split in SPLITS:
        (folder / f"base_{split}.json").write_text((folder / f"sft_{split}.json").read_text())
        for stage, known in right.items():
            lines = []
            for at in range(6):
                for code in ("es", "zh"):
                    greedy = dict.fromkeys(COLUMNS, float(at < known))
                    sampled = {"accuracy": 0.5, "lenient_accuracy": 0.5, "parseable": 1.0}
                    line = {"id": f"{code}:sum:{at}+1:0:0", "language": code, "measured": [greedy, sampled]}
                    lines.append(json.dumps(line) + "\n")
            (folder / f"{stage}_{split}.responses.jsonl").write_text("".join(lines))
    gains = write_gains(folder, list(right), SPLITS).gains
    found = {(gain.before, gain.decoding, gain.measure): gain for gain in gains if gain.split == "test"}
    first = found["base", "greedy", "accuracy"]
    assert (first.mean, first.after, first.sums) == (0.5, "sft", 6) and 0 <= first.low < 0.5 < first.high <= 1
    assert found["sft", "sampled", "accuracy"].mean == 0 and found["sft", "sampled", "fidelity"].mean is None
    text = write_report(tmp_path).read_text()
    assert "Every number is base model → SFT → SP3F" in text and "0.250 → 0.250 → 0.750" in text
    assert "SFT → SP3F, unseen_sums" in text and f"+0.500 [{first.low:.3f}; {first.high:.3f}]" in text
