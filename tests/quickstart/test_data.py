"""The quickstart's corpus: parallel, seeded, split without leaks, and its faults as declared."""

import itertools
import random

import pytest

from sp3f_verl.data.check import check_rl, check_sft
from sp3f_verl.data.files import digest, read_parquet
from sp3f_verl.data.rows import REFERENCE
from sp3f_verl.judge.reference import Privileged, reference_key
from sp3f_verl.quickstart import settings
from sp3f_verl.quickstart.corpus import Problem, answer, facts, problems, question, sft_answer, split
from sp3f_verl.quickstart.tables import write_tables
from sp3f_verl.rewards import answers_match, extract_boxed, language_share


@pytest.fixture(scope="module")
def default() -> dict:
    return settings.load()


def test_there_are_155_facts_and_none_is_negative():
    """Operands 1..10: 100 sums and the 55 differences a - b with a >= b."""
    every = facts(10)
    assert len(every) == len(set(every)) == 155
    assert all(Problem("sum", *fact).result >= 0 for fact in every)


def test_splits_are_disjoint_and_hold_what_they_say(default):
    parts = split(default)
    seen: set = set()
    for pairs in parts.values():
        assert pairs and not seen & set(pairs) and len(set(pairs)) == len(pairs)
        seen |= set(pairs)
    assert len(seen) == 155 * len(default["languages"])
    of = {name: {fact for _, fact in pairs} for name, pairs in parts.items()}
    assert not of["rl_only"] & of["sft"] and not of["unseen_sums"] & (of["sft"] | of["rl_only"])
    assert of["test"] <= of["sft"], "a test pair's sum is shown by SFT, in other languages"
    assert of["rl_only_test"] <= of["rl_only"]
    assert {language for language, _ in parts["test"]} == set(default["languages"])


def test_every_worked_answer_is_right_in_its_own_language(default):
    """Boxed result equals the sum, the text is in its language, and the question is parallel to the English one."""
    rng = random.Random(0)
    pairs = [(language, fact) for language in default["languages"] for fact in facts(10)]
    for language, problem in itertools.islice(problems(pairs, rng, 0.67), 400):
        text = answer(problem, language)
        assert extract_boxed(text) == str(problem.result)
        assert language_share(text, language, tuple(default["languages"])) >= 0.7
        assert "{" not in question(problem, language)
        numbers = [str(problem.a), str(problem.b)]
        assert all(number in question(problem, language) for number in numbers)


def test_the_reference_judge_prefers_the_own_language_answer_to_its_english_copy(default):
    """Same answer, same steps: only the own-language solution decides, and English text wins nothing."""
    problem = Problem("add", "+", 7, 5, 0, 0)
    for language in default["languages"]:
        mine, english = answer(problem, language), answer(problem, "en")
        privileged = Privileged(gold="12", solution_en=english, solution_own=mine)
        if language != "en":
            assert reference_key(mine, privileged) > reference_key(english, privileged)


def test_faults_come_at_the_declared_rate(default):
    """Strong languages: 15 % English, 30 % without a box; weak ones 60 % each (binomial, 4 standard errors)."""
    rng, problem, n = random.Random(3), Problem("sum", "+", 3, 4), 4000
    for language, rate_english, rate_open in (("de", 0.15, 0.30), ("hi", 0.60, 0.60)):
        texts = [sft_answer(problem, language, rng, default["faults"]) for _ in range(n)]
        english = sum(answer(problem, "en", boxed=False) in text for text in texts) / n
        unboxed = sum("\\boxed" not in text for text in texts) / n
        assert english == pytest.approx(rate_english, abs=4 * (0.25 / n) ** 0.5)
        assert unboxed == pytest.approx(rate_open, abs=4 * (0.25 / n) ** 0.5)


def test_some_rows_show_the_solution_as_a_teacher_reads_it_and_have_no_fault(tmp_path, default):
    few = default | {"corpus": default["corpus"] | {"sft_rows": 400, "privileged_share": 0.5}}
    write_tables(few, tmp_path)
    shown = [row for row in read_parquet(tmp_path / "sft.parquet") if len(row["messages"][0]["content"]) > 200]
    assert 150 < len(shown) < 250
    for row in shown:
        asked, said = (message["content"] for message in row["messages"])
        right = extract_boxed(said)
        assert answers_match(right, extract_boxed(asked), language=row["language"]), "the solution in the prompt"
        assert row["language"] == "en" or said not in asked


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    small = settings.load("smoke")
    other = settings.load("smoke", data_seed=2)
    for name, chosen in (("a", small), ("b", small), ("c", other)):
        write_tables(chosen, tmp_path / name)
    for name in ("sft", "train", "test", "rl_only_test", "unseen_sums", "validation"):
        first, second, third = (digest(tmp_path / folder / f"{name}.parquet") for folder in "abc")
        assert first == second != third, name


def test_the_files_pass_the_checks_of_the_recipes(tmp_path, default):
    small = settings.load("smoke")
    sizes = write_tables(small, tmp_path)
    check_sft(str(tmp_path / "sft.parquet"))
    assert set(check_rl(str(tmp_path / "train.parquet"), REFERENCE)) <= set(default["languages"])
    rows = read_parquet(tmp_path / "train.parquet")
    assert sizes["train"] == len(rows) == 64
    assert all(answers_match(extract_boxed(row["solution_en"]), row["reward_model"]["ground_truth"]) for row in rows)


def test_an_unknown_preset_is_one_sentence():
    with pytest.raises(
        ValueError, match=r"--preset=huge does not exist; the presets are default, smoke, real, .*copsd"
    ):
        settings.load("huge")
