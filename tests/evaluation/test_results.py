"""summary.json: what is written is what is read, and a file that is none of ours is told in one sentence."""

import json
import math
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.results import (
    FILE,
    ArenaCandidate,
    ArenaCell,
    ArenaJudge,
    ArenaSummary,
    BenchmarkResult,
    BenchmarkSummary,
    Decoding,
    Estimate,
    HarnessMean,
    HarnessSummary,
    HarnessTask,
    Measures,
    TranslationSummary,
    TranslatorScore,
    not_finite,
    read,
)

CELL = ArenaCell(prompts=3, win_rate=Estimate(mean=50.0, low=40.0, high=60.0), wins=50.0)
SUMMARIES = [
    BenchmarkSummary(
        kind="benchmarks",
        model="m@0123",
        decoding=Decoding(samples=2, temperature=0.7),
        limit=None,
        benchmarks={"mgsm": BenchmarkResult(languages={"es": Measures(problems=2, accuracy=None)})},
    ),
    ArenaSummary(
        kind="arena",
        candidate="dpo",
        languages={"es": CELL},
        others={"sft": ArenaCandidate(mean=CELL)},
        judge=ArenaJudge(model="j", temperature=0.0, extra_body={"a": [1]}, panel=[ArenaJudge(model="k", panel=[])]),
    ),
    HarnessSummary(
        kind="harness",
        suite="tspin",
        tasks={"GSM8K": HarnessTask(metric="acc", value=40.0, shots=None, version=3)},
        mean=HarnessMean(value=40.0, tasks=1),
    ),
    TranslationSummary(kind="translation", scores=[TranslatorScore(translator="a", lp="en-de_DE", bleu=None)]),
]


@pytest.mark.parametrize("summary", SUMMARIES, ids=lambda summary: summary.kind)
def test_what_is_written_is_read_and_holds_nothing_that_was_not_set(tmp_path, summary):
    path = summary.write(tmp_path)
    again = read(tmp_path)
    assert again == summary and type(again) is type(summary) and again.text() == path.read_text()
    assert "unscored" not in path.read_text() and "characters" not in path.read_text()


def test_the_first_candidate_stands_before_the_others():
    summary = SUMMARIES[1]
    assert list(summary.candidates) == ["dpo", "sft"] and summary.candidates["dpo"].languages == {"es": CELL}
    assert [judge.model for judge in summary.judges] == ["j", "k"]


@pytest.mark.parametrize("content", [None, "{}", '{"kind": "of another program"}', '{"kind": ["arena"]}'])
def test_a_folder_without_a_summary_of_ours(tmp_path, content):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read \\(Expecting"),
        ("[1]", "holds a list in place of an object"),
        ("1" * 5000, "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"benchmarks": 5}', "has 'benchmarks' wrong"),
        ('{"kind": "benchmarks", "benchmarks": {"mgsm": {"languages": {"es": 3}}}}', "'benchmarks.mgsm.languages.es'"),
        ('{"kind": "arena", "paired": 5}', "has 'paired' wrong"),
        ('{"kind": "harness", "tasks": {"a": {"value": "x"}}}', "has 'tasks.a.value' wrong"),
        ('{"kind": "benchmarks", "threshold": 1' + "0" * 400 + "}", "has 'threshold' wrong"),
    ],
)
def test_a_damaged_summary_is_told_in_one_sentence(tmp_path, content, sentence):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BadInput, match=sentence) as caught:
        read(tmp_path)
    assert str(tmp_path / FILE) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_what_is_no_number_is_read_and_named(tmp_path):
    accuracy = {"mean": math.nan, "low": None, "high": 1.0}
    content = {"benchmarks": {"a": {"languages": {"es": {"accuracy": accuracy, "tokens": math.inf, "majority": None}}}}}
    (tmp_path / FILE).write_text(json.dumps(content))
    summary = read(tmp_path)
    place = "benchmarks.a.languages.es"
    assert math.isnan(summary.benchmarks["a"].languages["es"].accuracy.mean)
    assert set(not_finite(summary)) == {
        f"{place}.{name}" for name in ("accuracy.mean", "accuracy.low", "tokens", "majority")
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["languages", "mean", "judge", "panel", "tasks", "value", "es", "a\n", "cost", "scores", "lp"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["benchmarks", "arena", "harness", "translation"]),
    parts=st.dictionaries(
        st.sampled_from(["benchmarks", "languages", "others", "judge", "tasks", "versions", "scores", "decoding"]),
        VALUES,
        max_size=4,
    ),
)
def test_whatever_the_file_holds_there_is_a_summary_or_one_sentence(tmp_path_factory, kind, parts):
    folder = tmp_path_factory.mktemp("summary")
    (folder / FILE).write_text(json.dumps({"kind": kind, **parts}))
    try:
        assert read(folder).kind == kind
    except BadInput as error:
        assert "\n" not in str(error)
