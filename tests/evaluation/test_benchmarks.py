"""Benchmarks from YAML: shipped ones on files in their sets' layout, one of a user's own, and what is refused."""

import json
import random
import shutil
from pathlib import Path

import pytest
import yaml

from sp3f_verl import languages
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.benchmark import SHIPPED, Benchmark, names
from sp3f_verl.evaluation.problems import of_parquet
from sp3f_verl.rewards.answers.checkers import BUILT_IN, check

BELEBELE = [
    {
        **{
            "link": "https://x/a",
            "question_number": 1,
            "flores_passage": "El calcio es un metal.",
            "dialect": "spa_Latn",
        },
        **{
            "question": "¿Qué es un metal?",
            "mc_answer1": "el agua",
            "mc_answer2": "el calcio",
            "mc_answer3": "el aire",
        },
        **{"mc_answer4": "el fuego", "correct_answer_num": "2"},
    }
]
MCLM = [
    {"en": "What is 1+1?", "zh-cn": "1加1是多少？", "zh-tw": "1加1等於多少？", "answer": 2.0},
    {"en": "What is 3/2?", "zh-cn": "3除以2是多少？", "zh-tw": "3除以2等於多少？", "answer": 1.5},
]


def read(benchmark, rows, language, tmp_path, variant="", name="rows.parquet"):
    path = tmp_path / name
    if path.suffix == ".parquet":
        write_parquet(rows, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Benchmark.load(benchmark).problems(language, variant, path)


def mine(tmp_path, **changes):
    """A benchmark of a user's own; None takes a key out."""
    keys = {"file": "my_{language}.parquet", "columns": {"question": "q", "answer": "a"}, "languages": ["es", "sw"]}
    keys = {key: value for key, value in {**keys, **changes}.items() if value is not None}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


class TestShipped:
    def test_all_can_be_read_and_know_their_languages(self):
        result = {name: Benchmark.load(name) for name in names()}
        assert {"mgsm", "mt_math100", "belebele", "global_mmlu_lite", "gsm8k", "aime2024"} <= set(result)
        assert result["mgsm"].languages == ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
        assert result["mt_math100"].variants["zh"] == {"cn": "zh-cn", "tw": "zh-tw"}
        sp3f = "ar bn de en es fr hi id it ja ko pt ru sw te th yo zh".split()
        assert set(sp3f) <= set(result["belebele"].languages)
        # docs/evaluation.md tells these counts; the sets' other languages are not in the table
        assert {name: len(one.languages) for name, one in result.items()} == {
            **{"aime2024": 40, "belebele": 43, "global_mmlu_lite": 15, "gsm8k": 1, "mgsm": 11, "mt_math100": 40}
        }

    def test_the_prompt_is_that_of_training(self, tmp_path):
        """The table's instruction as the system turn, then the question: as data_prep.sp3f writes it."""
        (problem,) = read("mgsm", [{"question": "¿Cuánto es 7+5?", "answer_number": 12}], "es", tmp_path)
        assert problem.messages == [
            {"role": "system", "content": languages.get("es").instruction},
            {"role": "user", "content": "¿Cuánto es 7+5?"},
        ]
        assert (problem.gold, problem.checker) == ("12", "math")

    def test_belebele_shows_passage_and_options(self, tmp_path):
        (problem,) = read("belebele", BELEBELE, "es", tmp_path)
        asked = problem.messages[1]["content"]
        assert asked.startswith("El calcio es un metal.\n\n¿Qué es un metal?\n\nA) el agua\nB) el calcio\n")
        assert problem.gold == "B::el calcio" and problem.choices[3] == ("D", "el fuego")
        right = [
            check(answer, problem.gold, problem.checker, BUILT_IN, "es") for answer in ("B", "(B)", "el calcio", "b")
        ]
        wrong = [check(answer, problem.gold, problem.checker, BUILT_IN, "es") for answer in ("A", "Bario", "2")]
        assert right == [1] * 4 and wrong == [0] * 3  # a word that begins with B is not B

    def test_global_mmlu_has_letters(self, tmp_path):
        row = {"sample_id": "a/1", "question": "?", "answer": "C"} | {f"option_{one}": one * 2 for one in "abcd"}
        (problem,) = read("global_mmlu_lite", [row], "sw", tmp_path)
        assert (problem.gold, problem.problem) == ("C::cc", "a/1")

    def test_mt_math100_asks_chinese_twice(self, tmp_path):
        benchmark = Benchmark.load("mt_math100")
        result = {one: read("mt_math100", MCLM, "zh", tmp_path, one) for one in benchmark.variants["zh"]}
        assert [one.messages[1]["content"] for one in result["tw"]] == [row["zh-tw"] for row in MCLM]
        assert [one.problem for one in result["cn"]] == [one.problem for one in result["tw"]]  # one problem, two texts
        assert not {one.id for one in result["cn"]} & {one.id for one in result["tw"]}
        assert [one.gold for one in result["cn"]] == ["2", "1.5"]

    def test_gsm8k_takes_the_number_behind_the_marks(self, tmp_path):
        row = {"question": "?", "answer": "He has 2+2=<<2+2=4>>4.\n#### 1,204"}
        (problem,) = read("gsm8k", [row], "en", tmp_path, name="rows.jsonl")
        assert problem.gold == "1,204"

    def test_mgsm_reads_its_tsv(self, tmp_path):
        path = tmp_path / "mgsm_es.tsv"
        path.write_text("Uno\t1\nDos\t2\n")
        assert [one.gold for one in Benchmark.load("mgsm").problems("es", "", path)] == ["1", "2"]

    def test_the_hub_is_read_by_config_split_and_columns(self, tmp_path):
        """A folder in the Hub's layout stands in for the Hub: `datasets` reads both in one way."""
        pytest.importorskip("datasets")
        hub = tmp_path / "hub"
        write_parquet(BELEBELE, hub / "data" / "spa_Latn.parquet")
        config = "configs:\n- config_name: spa_Latn\n  data_files: [{split: test, path: data/spa_Latn.parquet}]\n"
        (hub / "README.md").write_text(f"---\n{config}---\n")
        keys = yaml.safe_load((SHIPPED / "belebele.yaml").read_text()) | {"hub": str(hub)}
        (tmp_path / "belebele.yaml").write_text(yaml.safe_dump(keys))
        benchmark = Benchmark.load(str(tmp_path / "belebele.yaml"))
        sources = benchmark.sources(["es"], tmp_path / "cache")
        (problem,) = benchmark.problems("es", "", sources["es", ""])
        assert problem.gold == "B::el calcio"
        shutil.rmtree(hub)
        assert benchmark.sources(["es"], tmp_path / "cache") == sources  # the second time from the cache
        with pytest.raises(BadInput, match=r"cannot be loaded from the Hub .* --file belebele:sw=FILE\.$"):
            benchmark.sources(["sw"], tmp_path / "cache")

    def test_a_changed_yaml_does_not_get_the_old_set_from_the_cache(self, tmp_path):
        """Another set, or other columns of it, under the same name."""
        pytest.importorskip("datasets")
        for hub in ("a", "b"):
            write_parquet([{"q": f"{hub}?", "a": hub, "other": f"not {hub}"}], tmp_path / hub / "test.parquet")
        result = []
        for hub, column in (("a", "a"), ("b", "a"), ("b", "other"), ("a", "a")):
            changes = {"file": None, "hub": str(tmp_path / hub), "columns": {"question": "q", "answer": column}}
            benchmark = Benchmark.load(str(mine(tmp_path, **changes)))
            source = benchmark.sources(["es"], tmp_path / "cache")["es", ""]
            (problem,) = benchmark.problems("es", "", source)
            result.append((problem.messages[1]["content"], problem.gold))
        assert result == [("a?", "a"), ("b?", "b"), ("b?", "not b"), ("a?", "a")]


class TestOwn:
    def test_a_yaml_and_a_parquet(self, tmp_path):
        write_parquet([{"q": "Uno", "a": "1"}], tmp_path / "my_es.parquet")
        benchmark = Benchmark.load(str(mine(tmp_path)))
        sources = benchmark.sources(["es"], tmp_path)
        (problem,) = benchmark.problems("es", "", sources["es", ""])
        assert (benchmark.name, problem.gold, problem.language) == ("mine", "1", "es")

    def test_one_parquet_with_all_languages(self, tmp_path):
        """Row i of each language is one problem: es has a and b, sw a."""
        rows = [{"q": "a", "a": "1", "l": "es"}, {"q": "A", "a": "1", "l": "sw"}, {"q": "b", "a": "2", "l": "es"}]
        path = str(mine(tmp_path, language_column="l", file="all.parquet", languages=["es", "sw", "te"]))
        result = {code: read(path, rows, code, tmp_path, name="all.parquet") for code in ("es", "sw")}
        assert [one.gold for one in result["es"]] == ["1", "2"]
        assert [one.problem for one in result["es"]] == ["0", "1"] and result["sw"][0].problem == "0"
        with pytest.raises(BadInput, match=r"all\.parquet has no rows with l 'te'; give a file"):
            read(path, rows, "te", tmp_path, name="all.parquet")

    def test_a_checker_of_ones_own(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "my_checks.py").write_text("def same(answer, gold):\n    return answer == gold\n")
        benchmark = Benchmark.load(str(mine(tmp_path, checker="my_checks:same")), allow_code=True)
        assert check("a", "a", benchmark.checker, benchmark.checkers, "es") == 1

    def test_code_that_a_file_names_runs_only_where_it_is_allowed(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "harmful.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
        with pytest.raises(BadInput, match=r"`checker` 'harmful:f' is code that would run here; give --allow-code"):
            Benchmark.load(str(mine(tmp_path, checker="harmful:f")))
        assert not (tmp_path / "ran").exists()
        with pytest.raises(BadInput, match=r"`checker` 'harmful:f' cannot be imported"):
            Benchmark.load(str(mine(tmp_path, checker="harmful:f")), allow_code=True)
        assert (tmp_path / "ran").exists()

    @pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
    def test_shuffled_rows_are_the_same_problems(self, tmp_path, name):
        rows = [{"q": f"{number}?", "a": str(number)} for number in range(20)]
        shuffled = random.Random(1).sample(rows, 20)
        path = str(mine(tmp_path))
        first, second = (read(path, one, "es", tmp_path, name=name) for one in (rows, shuffled))
        assert {one.id: one.gold for one in first} == {one.id: one.gold for one in second}

    def test_a_row_that_comes_twice_is_two_problems(self, tmp_path):
        result = read(str(mine(tmp_path)), [{"q": "?", "a": "1"}] * 3, "es", tmp_path)
        assert len({one.id for one in result}) == len({one.problem for one in result}) == 3

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"colums": {}}, "mine.yaml: colums does not exist (did you mean 'columns'?)"),
            ({"columns": {"question": "q"}}, "`columns` has no 'answer'"),
            ({"columns": None}, "columns is missing; give a mapping such as"),
            ({"question": "{passage} {question}"}, "`columns` has no 'passage'"),
            ({"hub": "a/b"}, "give either `hub` or `file`"),
            ({"file": None}, "give either `hub` or `file`"),
            ({"languages": ["xx"]}, "unknown language 'xx'"),
            ({"languages": None}, "languages is missing; give a list of codes"),
            ({"checker": "maths"}, "`checker` is 'maths' (did you mean 'math'?)"),
            ({"checker": "no.such:thing"}, "`checker` 'no.such:thing' is code that would run here; give --allow-code"),
            ({"answer_pattern": "("}, "no regular expression"),
            ({"answer_pattern": "a"}, "has 0 groups"),
            ({"choices": ["answer"]}, "names 1 options"),
            ({"question": 3}, "question=3; give a text, in quotes"),
            ({"answer_pattern": 5}, "answer_pattern=5; give a text"),
            ({"file": 5}, "file=5; give a text"),
            ({"checker": ["math"]}, "checker=['math']; give a text"),
            ({"answer_from": "1"}, "answer_from='1'; give a whole number"),
            ({"answer_from": True}, "answer_from=True; give a whole number"),
            ({"choices": "AB"}, "choices='AB'; give a list of names"),
            ({"choices": ["A", 2]}, "choices[1]=2; give a list of names"),
            ({"columns": {"question": 5, "answer": "a"}}, "`columns.question` is 5; give a column's name"),
            ({"columns": {"question": "q", "answer": []}}, "`columns.answer` is []; give a column's name"),
            ({"columns": {3: "q"}}, "`columns` has the name 3; give a text"),
            ({"languages": [False]}, '`languages` has False, as YAML reads a bare no; write "no" in quotes'),
            ({"languages": {"nb": False}}, '`languages` has False, as YAML reads a bare no; write "no" in quotes'),
            ({"languages": {"zh": {"cn": 5}}}, "`languages` names the set of 'zh' 5; give a text"),
            ({"languages": {"es": None}}, "`languages` names the set of 'es' None; give a text"),
            ({"languages": {"zh": {}}}, "`languages` has no variant of 'zh'"),
        ],
    )
    def test_a_wrong_yaml_is_one_sentence(self, tmp_path, changes, expected):
        with pytest.raises(BadInput) as error:
            Benchmark.load(str(mine(tmp_path, **changes)))
        assert expected in str(error.value) and str(tmp_path / "mine.yaml") in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("key", ["choices", "question", "answer_pattern", "answer_from", "checker", "columns"])
    def test_a_key_without_a_value_is_one_sentence(self, tmp_path, key):
        path = mine(tmp_path)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: None}))
        with pytest.raises(BadInput, match=rf"mine\.yaml: {key}(=None| is missing| is null); give [^\n]+\.$"):
            Benchmark.load(str(path))

    @pytest.mark.parametrize("expected", [["sw", {"es": "x"}], [{"es": "x", "sw": "sw"}], {"es": "x", "sw": "sw"}])
    def test_languages_may_be_written_in_several_ways(self, tmp_path, expected):
        benchmark = Benchmark.load(str(mine(tmp_path, languages=expected)))
        assert benchmark.variants == {"es": {"": "x"}, "sw": {"": "sw"}}

    def test_no_yaml_at_all(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("a: [1")
        with pytest.raises(BadInput, match="cannot be read as YAML"):
            Benchmark.load(str(tmp_path / "mine.yaml"))
        with pytest.raises(BadInput, match=r"--benchmark=mgms is none \(did you mean 'mgsm'\?\)"):
            Benchmark.load("mgms")

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ([{"q": "?"}], "no column 'a'"),
            ([{"q": "?", "a": "1"}, {"q": "?", "a": float("nan")}], "row 1: 'a' is nan"),
            ([{"q": "", "a": "1"}], "row 0: 'q' is ''"),
            ([{"q": None, "a": "1"}], "row 0: 'q' is None"),
            ([{"q": ["?"], "a": "1"}], "row 0: 'q' is ['?']"),
        ],
    )
    def test_a_row_without_a_value_is_one_sentence(self, tmp_path, rows, expected):
        if isinstance(rows[0].get("a"), str) and len(rows) > 1:
            rows[0]["a"] = 1.0
        with pytest.raises(BadInput) as error:
            read(str(mine(tmp_path)), rows, "es", tmp_path)
        assert expected in str(error.value) and "rows.parquet" in str(error.value)

    def test_an_answer_that_is_no_option(self, tmp_path):
        with pytest.raises(BadInput, match=r"the answer '5' is none of A, B, C, D, 1, 2, 3, 4"):
            read("belebele", [BELEBELE[0] | {"correct_answer_num": "5"}], "es", tmp_path)

    def test_a_problem_key_that_tells_nothing_apart(self, tmp_path):
        with pytest.raises(BadInput, match=r"row 1 is the problem 'https://x/a 1', as .*row 0 is"):
            read("belebele", [BELEBELE[0], BELEBELE[0] | {"question": "?"}], "es", tmp_path)


class TestFiles:
    def test_one_file_for_all_languages_or_some(self, tmp_path):
        benchmark = Benchmark.load("mt_math100")
        benchmark.read_from({"zh": Path("a.parquet"), "en": Path("b.parquet")})
        assert len(benchmark.every) > 30  # an answer may be in any of them, whatever is given
        assert benchmark.languages == ("en", "zh") and list(benchmark.variants["zh"]) == ["cn", "tw"]
        assert set(benchmark.sources(["zh"], tmp_path).values()) == {Path("a.parquet")}
        benchmark = Benchmark.load("mt_math100")
        benchmark.read_from({"zh.tw": Path("a.parquet"), "zh.cn": Path("b.parquet")})
        assert list(benchmark.sources(["zh"], tmp_path).values()) == [Path("b.parquet"), Path("a.parquet")]
        benchmark = Benchmark.load("mt_math100")
        benchmark.read_from({"zh": Path("a.tsv")})  # one column of questions
        assert list(benchmark.variants["zh"]) == ["cn"]
        benchmark = Benchmark.load("mt_math100")
        benchmark.read_from({"all": Path("a.parquet")})
        assert len(benchmark.languages) > 30

    @pytest.mark.parametrize("place", ["pt", "es.cn", ""])
    def test_a_language_that_is_not_there(self, place):
        with pytest.raises(BadInput, match="it is not there; mgsm has bn, de"):
            Benchmark.load("mgsm").read_from({place: Path("a.tsv")})


class TestRows:
    def test_rl_rows_keep_their_prompt(self, tmp_path):
        row = {"id": "a", "data_source": "mine", "prompt": [{"role": "user", "content": "?"}], "language": "es"}
        write_parquet([row | {"reward_model": {"ground_truth": "1"}}], tmp_path / "rl.parquet")
        ((name, problem),) = of_parquet(tmp_path / "rl.parquet", ["math"])
        assert (name, problem.messages, problem.gold) == ("mine", row["prompt"], "1")

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"language": "xx"}, "unknown language 'xx'"),
            ({"language": None}, "line 1 has no 'language'"),
            ({"extra_info": {"checker": "mth"}}, "did you mean 'math'"),
            ({"reward_model": {"ground_truth": None}}, "line 1 has no 'ground_truth'"),
            ({"prompt": "hello"}, "line 1: 'prompt' is 'hello'; give a list of turns"),
            ({"prompt": [None]}, "line 1: 'prompt' is [None]; give a list of turns"),
            ({"prompt": [{"role": "user"}]}, "line 1: 'prompt' is [{'role': 'user'}]; give a list of turns"),
            ({"prompt": [{"role": "user", "content": 5}]}, "give a list of turns {role: text, content: text}"),
            ({"prompt": {"role": "user", "content": "?"}}, "give a list of turns {role: text, content: text}"),
            *(
                ({"prompt": [{"role": "user", "content": blank}]}, "line 1: the prompt has no text in turn 0 (user)")
                for blank in ("", " \n")
            ),
            *(
                ({"reward_model": {"ground_truth": gold}}, "line 1: 'reward_model.ground_truth' is ")
                for gold in (["4", "5"], True, {"a": 1}, 10**400)
            ),
            ({"language": ["es"]}, "line 1: 'language' or 'extra_info.lang' or 'extra_info.language' is ['es']; give"),
            ({"extra_info": "x"}, "line 1: 'extra_info' is 'x'; give a mapping"),
            ({"data_source": 5}, "line 1: 'data_source' is 5; give"),
            ({"data_source": "../../escaped"}, "line 1: 'data_source' is '../../escaped'; give"),
            ({"data_source": "/tmp/escaped"}, "line 1: 'data_source' is '/tmp/escaped'; give"),
            ({"data_source": "a/./b"}, "line 1: 'data_source' is 'a/./b'; give"),
            ({"data_source": "a\0b"}, "line 1: 'data_source' is 'a\\x00b'; give"),
            ({"data_source": "a" * 300}, "give a name of at most"),
        ],
    )
    def test_a_wrong_row_is_one_sentence(self, tmp_path, change, expected):
        row = {"prompt": [{"role": "user", "content": "?"}], "language": "es", "reward_model": {"ground_truth": "1"}}
        (tmp_path / "rl.jsonl").write_text(json.dumps(row | change) + "\n")
        with pytest.raises(BadInput) as error:
            list(of_parquet(tmp_path / "rl.jsonl", ["math"]))
        assert expected in str(error.value) and "rl.jsonl" in str(error.value) and len(str(error.value)) < 500
