"""`sp3f report BASE OTHER --fail-if RULE`: when it fails, what it says, and what is no rule."""

import json

import pytest

from helpers.report_folders import arena, evaluation
from sp3f_verl import cli


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    """(exit status, stderr) of the command with these rules."""

    def run(*rules, folders=("base", "other")):
        words = [word for rule in rules for word in ("--fail-if", rule)]
        monkeypatch.setattr("sys.argv", ["sp3f", "report", *(str(tmp_path / name) for name in folders), *words])
        return cli.main(), capsys.readouterr().err

    return run


@pytest.fixture
def worse(tmp_path):
    """In the second, 8 of 40 problems of es are wrong in both samples that were right: -0.2 there, -0.1 in the mean."""
    for name in ("base", "other"):
        evaluation(tmp_path / name, {"es": 0.7, "sw": 0.5})
    file = tmp_path / "other" / "mgsm" / "es" / "output.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in [line for line in lines if line["accuracy"] == [1, 1]][:8]:
        line["accuracy"] = [0.0, 0.0]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("mgsm/accuracy < -0.01 at 95 %", 1),
        ("mgsm/accuracy<-.01 at 95%", 1),
        ("mgsm/es/accuracy < -0.05 at 95 %", 1),
        ("mgsm/es/accuracy < -0.19 at 95 %", 0),  # -0.2 is below it, its interval is not
        ("mgsm/es/accuracy < -0.19", 1),
        ("mgsm/es/accuracy < -0.2", 0),
        ("mgsm/sw/accuracy < 0 at 95 %", 0),
        ("mgsm/es/accuracy > -0.1", 0),
        ("mgsm/fidelity < -0.01 at 99 %", 0),
        ("mgsm/sw/accuracy > -0.5 at 95 %", 1),
    ],
)
def test_a_rule_holds_where_the_whole_interval_is_beyond_it(worse, gate, rule, status):
    got, said = gate(rule)
    assert got == status
    assert f"--fail-if {rule!r}: other minus base is" in said and "over 40 problems" in said
    assert said.count("\n") == 1 and ("so that it holds" in said) == bool(status)


def test_the_interval_is_at_the_level_that_is_asked_for(worse, gate):
    _, at_50 = gate("mgsm/es/accuracy < -0.9 at 50 %")
    _, at_99 = gate("mgsm/es/accuracy < -0.9 at 99.9 %")
    lows = [float(said.partition("[")[2].partition(";")[0]) for said in (at_50, at_99)]
    assert lows[1] < lows[0] < -0.2


def test_several_rules_and_folders_are_one_sentence(worse, gate, tmp_path):
    evaluation(tmp_path / "third", {"es": 0.7, "sw": 0.5})
    rules = ["mgsm/accuracy < -0.01 at 95 %", "mgsm/es/accuracy < -0.01"]
    status, said = gate(*rules, folders=("base", "other", "third"))
    wrong = [line for line in said.splitlines() if line.startswith("sp3f: ")]
    assert status == 1 and len(wrong) == 1 and wrong[0].count("other minus base is -") == 2
    assert said.count("third minus base is +0.0000") == 2 and "third minus base" not in wrong[0]


def test_what_cannot_be_told_fails(worse, gate, tmp_path):
    (tmp_path / "other" / "mgsm" / "sw" / "output.jsonl").unlink()
    status, said = gate("mgsm/accuracy < -0.5 at 95 %")
    assert status == 1 and "other minus base cannot be told, as they have not the answers" in said
    assert gate("mgsm/es/accuracy < -0.5 at 95 %")[0] == 0


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("mgsm/accuracy", "is no rule; write it like 'mgsm/accuracy < -0.01 at 95 %'"),
        ("accuracy < -0.01", "is no rule"),
        ("mgsm/accuracy <= -0.01", "is no rule"),
        ("mgsm/accuracy < nan at 95 %", "is no rule"),
        ("mgsm/accuracy < -0.01 at 0.95", "is no rule"),
        ("mgsm/accuracy < -0.01 at 100 %", "at 100 % there is no interval; give 50 to below 100"),
        ("mgsm/accuracy < -1 at 95 %", "-1 is no difference of shares; 0.01 is one point of 100"),
        ("mgsm/acuracy < -0.01", "'acuracy' (did you mean 'accuracy'?) has no pairs; accuracy and fidelity have"),
        ("mgms/accuracy < -0.01", "there is no 'mgms' (did you mean 'mgsm'?); the first folder has mgsm"),
        ("mgsm/de/accuracy < -0.01", "mgsm has no 'de'; it has es, sw"),
    ],
)
def test_what_is_no_rule_is_one_sentence(worse, gate, rule, said):
    status, told = gate(rule)
    assert status == 1 and said in told and told.count("\n") == 1


def test_two_evaluations_are_needed(worse, gate, tmp_path):
    arena(tmp_path / "arena", {"es": 55.0})
    for folders in (("base",), ("base", "arena")):
        status, told = gate("mgsm/accuracy < -0.01", folders=folders)
        assert status == 1 and "give the baseline's folder, and behind it the other one's" in told


def test_a_benchmark_s_name_may_hold_a_slash(gate, tmp_path):
    for name in ("base", "other"):
        evaluation(tmp_path / name, {"en": 0.7}, benchmark="openai_gsm8k")
        summary = tmp_path / name / "summary.json"
        summary.write_text(summary.read_text().replace("openai_gsm8k", "openai/gsm8k"))
    assert gate("openai/gsm8k/accuracy < -0.01 at 95 %")[0] == gate("openai/gsm8k/en/accuracy < -0.01 at 95 %")[0] == 0
