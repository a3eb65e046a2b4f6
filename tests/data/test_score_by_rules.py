"""`data_prep.score --reward`: candidates scored as training would, without a reward model."""

import pyarrow.parquet as pq
import pytest

from data_prep import score
from helpers.croco_steps import run_croco, write_prompts
from helpers.tables import write_rows
from sp3f_verl.data.schemas import CANDIDATE
from sp3f_verl.rewards.terms import rule_terms

QUESTION = {"en": "What is seven plus five?", "es": "¿Cuánto es siete más cinco?"}
SAID = {
    "en": "Seven and five make twelve, so that the answer is",
    "es": "Siete y cinco son doce, de modo que la respuesta es",
}
TEXTS = {
    "right": "{own} \\boxed{{12}}",
    "wrong": "{own} \\boxed{{13}}",
    "no_box": "{own} 12.",
    "other": "{other} \\boxed{{12}}",
}


@pytest.fixture
def files(tmp_path):
    """Prompts with their gold answer as RL rows have it, and four candidates of each."""
    prompts, rows = [], []
    for code, other in (("en", "es"), ("es", "en")):
        turns = [{"role": "user", "content": QUESTION[code]}]
        gold = {"reward_model": {"style": "rule", "ground_truth": "12"}} if code == "en" else {"ground_truth": 12}
        prompts.append({"id": "p0", "language": code, "prompt": turns, **gold})
        for number, text in enumerate(TEXTS.values()):
            said = text.format(own=SAID[code], other=SAID[other])
            row = {"id": "p0", "cand_id": f"{code}-{number}", "lang_declared": code, "status": "ok", "text": said}
            rows.append(dict.fromkeys(CANDIDATE.names) | row)
    write_rows(rows, CANDIDATE, tmp_path / "candidates.parquet")
    return write_prompts(tmp_path / "prompts.jsonl", prompts), tmp_path / "candidates.parquet"


def run(files, output, *more):
    prompts, candidates = files
    return score.main(["--prompts", str(prompts), "--candidates", str(candidates), "--output", str(output), *more])


def test_the_score_is_the_reward_of_training(files, tmp_path):
    assert run(files, tmp_path / "scored", "--reward", "acc_parseable_threshold") == 0
    rows = pq.read_table(tmp_path / "scored" / "candidates.parquet").to_pylist()
    for row in rows:
        terms = rule_terms(row["text"], "12", row["lang_declared"], others=("en", "es"))
        assert row["reward_raw"] == terms["accuracy"] + terms["parseable"] + terms["language"]
        assert row["reward_model"] == "reward acc_parseable_threshold" and row["reward_tokens"] is None
    assert [row["reward_raw"] for row in rows] == [3, 2, 1, 2] * 2  # right, wrong, no_box, other


def test_pairs_are_chosen_by_it(files, tmp_path):
    assert run(files, tmp_path / "scored", "--reward", "acc") == 0
    folder = run_croco(tmp_path / "scored" / "candidates.parquet", files[0], tmp_path / "pairs", "--rule", "min")
    pairs = pq.read_table(folder / "train.parquet").to_pylist()
    assert {(row["prompt_lang"], row["chosen"]) for row in pairs} == {
        (code, TEXTS["right"].format(own=SAID[code], other="")) for code in SAID
    }


def test_what_cannot_be_scored_so(files, tmp_path, capsys):
    prompts = write_prompts(tmp_path / "bare.jsonl", [{"id": "p0", "language": "en", "prompt": QUESTION["en"]}])
    assert run((prompts, files[1]), tmp_path / "out", "--reward", "acc") == 1
    assert "'p0' in 'en' has no gold answer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(files, tmp_path / "out", "--reward", "acc", "--model", "m")
    assert "leave one of them out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(files, tmp_path / "out", "--reward", "acc_lc_cta")  # a judge has a part in it
    assert not (tmp_path / "out").exists()
