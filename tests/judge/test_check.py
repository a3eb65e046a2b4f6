"""`sp3f judge-check`: pairs of which the better one is known, what is measured of them, and the command as a whole."""

import json
import random
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from omegaconf import OmegaConf

from helpers.judging import shown
from helpers.model_server import ModelServer, Reply
from helpers.recipes import compose_recipe
from sp3f_verl.cli import main
from sp3f_verl.data.files import write_parquet
from sp3f_verl.data.rows import canonical
from sp3f_verl.errors import BadInput
from sp3f_verl.judge.check.measure import (
    Check,
    estimated_usd,
    interval,
    label_by_accuracy,
    label_by_pairs,
    means,
    measure,
    pairs_for,
    questions_of_a_group,
)
from sp3f_verl.judge.check.pairs import LabelledPair, pairs_from_responses, pairs_from_rows
from sp3f_verl.judge.check.report import report, waits
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import VERSION, Entry, read_transcript
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.verl_bridge import judge_check


def row(a: int, b: int, **other) -> dict:
    """A training row whose own-language solution is right."""
    total = a + b
    return {
        "prompt": [{"role": "user", "content": f"¿Cuánto es {a}+{b}?"}],
        "reward_model": {"ground_truth": str(total)},
        "language": "es",
        "query_en": f"What is {a}+{b}?",
        "solution_en": f"{a} + {b} = {total}, so \\boxed{{{total}}}",
        "translated_solution": f"Primero tomamos {a} y después {b}.\nLa suma {a} + {b} es {total}: \\boxed{{{total}}}.",
        **other,
    }


def pairs_of(*rows: dict, seed: int = 0) -> dict[str, LabelledPair]:
    return {pair.kind: pair for pair in pairs_from_rows(map(canonical, rows), random.Random(seed))}


def gold_of(pair: LabelledPair) -> str:
    return pair.row["reward_model"]["ground_truth"]


def is_right(response: str, pair: LabelledPair) -> bool:
    return answers_match(extract_boxed(response), gold_of(pair))


class TestPairs:
    def test_each_kind_spoils_what_it_says_and_nothing_else(self):
        pairs = pairs_of(row(7, 15))
        good = row(7, 15)["translated_solution"]
        assert list(pairs) == ["answer", "steps", "cut off", "language"]
        assert all(pair.better == good and is_right(good, pair) for pair in pairs.values())
        answer = pairs["answer"].worse
        assert answer.partition("\\boxed")[0] == good.partition("\\boxed")[0] and not is_right(answer, pairs["answer"])
        steps = pairs["steps"].worse
        assert is_right(steps, pairs["steps"]) and steps != good
        assert re.sub(r"\d+", "#", steps) == re.sub(r"\d+", "#", good)
        assert sorted(re.findall(r"\d+", steps)) == sorted(re.findall(r"\d+", good))
        assert (
            good.startswith(pairs["cut off"].worse) and len(good) / 2 - 2 < len(pairs["cut off"].worse) <= len(good) / 2
        )
        assert not is_right(pairs["cut off"].worse, pairs["cut off"])
        assert pairs["language"].worse == row(7, 15)["solution_en"]

    @pytest.mark.parametrize(
        ("solution", "gold", "digit"),
        [
            ("سبعة زائد خمسة: ٧ + ٥ = ١٢، إذن \\boxed{١٢}", "12", r"[٠-٩]"),
            ("सात और पाँच: ७ + ५ = १२, इसलिए \\boxed{१२}", "12", r"[०-९]"),
            ("七加五等于多少呢,我们来算一下:7+5=12,所以答案是\\boxed{12}", "12", r"[0-9]"),
        ],
    )
    def test_digits_of_every_script_and_text_without_spaces(self, solution, gold, digit):
        pairs = pairs_of(row(7, 5, translated_solution=solution, reward_model={"ground_truth": gold}, language="ar"))
        assert list(pairs) == ["answer", "steps", "cut off", "language"]
        assert not is_right(pairs["answer"].worse, pairs["answer"]) and is_right(pairs["steps"].worse, pairs["steps"])
        assert re.fullmatch(f"{digit}+", extract_boxed(pairs["answer"].worse)), "in the same script"

    @pytest.mark.parametrize(
        ("changes", "kinds"),
        [
            ({"translated_solution": ""}, []),
            ({"translated_solution": "None"}, []),
            ({"translated_solution": "La suma de 7 y 15 es 22."}, []),
            ({"translated_solution": "La suma de 7 y 15 es \\boxed{21}."}, []),
            ({"translated_solution": "La suma de 7 y 15 es \\boxed{22"}, []),
            ({"language": "en"}, ["answer", "steps", "cut off"]),
            ({"solution_en": "It is 22."}, ["answer", "steps", "cut off"]),
            ({"translated_solution": "\\boxed{22}"}, ["answer", "language"]),
            ({"translated_solution": "\\boxed{22} es la suma de los dos números que hay."}, ["answer", "language"]),
            ({"translated_solution": "7 + 7 + 7 + 7 = 7, 7 = 7 \\boxed{x_1 = 22}"}, ["cut off", "language"]),
            ({"translated_solution": "<think>\\boxed{3}</think>\\boxed{22}"}, ["answer", "language"]),
        ],
    )  # fmt: skip
    def test_what_cannot_be_spoilt_so_is_left_out(self, changes, kinds):
        assert list(pairs_of(row(7, 15, **changes))) == kinds

    def test_a_box_without_a_number_keeps_its_answer(self):
        changes = {"translated_solution": "7 es menor que 15: \\boxed{A}", "reward_model": {"ground_truth": "A"}}
        assert list(pairs_of(row(7, 15, **changes, solution_en="It is \\boxed{A}"))) == ["steps", "cut off", "language"]

    @given(
        gold=st.one_of(
            st.integers(-(10**6), 10**6).map(str),
            st.decimals(-100, 100, places=2).map(str),
            st.tuples(st.integers(1, 9), st.integers(2, 9)).map(lambda f: f"{f[0]}/{f[1]}"),
            st.sampled_from(["1,000", "10\\%", "0", "9" * 5000]),
        ),
        dress=st.sampled_from(["{}", "${}$", "\\text{{{}}}", "x_1 = {}"]),  # all read without math-verify's worker
        head=st.text(alphabet="ab 0123456789٣\\{}", max_size=40),
        seed=st.integers(0, 99),
    )
    @limits(deadline=None)
    def test_the_better_one_is_right_and_a_changed_answer_is_not(self, gold, dress, head, seed):
        solution = f"{head} \\boxed{{{dress.format(gold)}}}."
        pairs = pairs_of(row(1, 2, translated_solution=solution, reward_model={"ground_truth": gold}), seed=seed)
        for kind, pair in pairs.items():
            assert is_right(pair.better, pair) and pair.worse != pair.better
            if kind in ("answer", "cut off"):
                assert not is_right(pair.worse, pair), pair
            if kind in ("steps", "language"):
                assert is_right(pair.worse, pair), pair

    def test_responses_give_one_right_and_one_wrong(self):
        rows = [
            (canonical(row(1, 2)), ["\\boxed{3}", "\\boxed{4}", "no box", "", "<think>\\boxed{3}</think>"]),
            (canonical(row(2, 2)), ["\\boxed{4}", "so \\boxed{4}"]),
            (canonical(row(3, 2)), ["\\boxed{4}", ""]),
            (canonical(row(4, 2)), ["\\boxed{6}", "<think>so many"]),
        ]
        for seed in range(20):
            (pair,) = pairs_from_responses(rows, random.Random(seed))
            assert (pair.kind, pair.better, gold_of(pair)) == ("accuracy", "\\boxed{3}", "3")
            assert pair.worse in ("\\boxed{4}", "no box")


def record(a: str, b: str, value, failure=None, **other) -> Entry:
    values = {
        "group": f"group of {min(a, b)}", "id": "row", "ground_truth": "4", "responses": [a, b],
        "value": value, "failure": failure, "tokens_in": 100, "tokens_out": 10, "seconds": 2.0, "calls": 1, **other,
    }  # fmt: skip
    return Entry(**values)


RIGHT, WRONG = "so \\boxed{4}", "so \\boxed{5}"


class TestMeasure:
    def test_agreement_swaps_and_failures(self):
        records = [
            record(RIGHT, WRONG, "A"),  # right, and in the other order, too
            record(WRONG, RIGHT, "B"),
            record("also \\boxed{4}", "and \\boxed{5}", "A"),  # always A: right once
            record("and \\boxed{5}", "also \\boxed{4}", "A"),
            record("tie \\boxed{4}", "tie \\boxed{5}", "TIE", group="t"),  # half right, and the same in both orders
            record("tie \\boxed{5}", "tie \\boxed{4}", "TIE", group="t"),
            record("soft \\boxed{4}", "soft \\boxed{5}", 0.75),  # soft credit, never asked in the other order
            record("four: \\boxed{4}", "again \\boxed{4}", "B"),  # both right: says nothing about agreement
            record("lost \\boxed{4}", "lost \\boxed{5}", None, "malformed", calls=3, tokens_out=30),
            record("late \\boxed{4}", "late \\boxed{5}", None, "deadline", calls=0, tokens_in=0, tokens_out=0),
            record("one text", "", "en", responses=["one text"]),  # the language judge's
            record(RIGHT, WRONG, [1, 0]),  # a ranking
        ]
        check = measure(records, label_by_accuracy)
        assert means(check.agreement["accuracy"]) == [1, 0.5, 0.5, 0.75], "a pair is one observation"
        assert means(check.slot_a) == [0.5, 1, 0.75, 0] and check.swapped == [True, False, True]
        assert (check.questions, check.calls, dict(check.failures)) == (10, 11, {"malformed": 1, "deadline": 1})
        assert check.seconds == [2.0] * 8 and len(check.tokens) == 9, "the one cut off by the deadline took none"
        text = report(check)
        assert "10 questions, 11 answers" in text and "failed: 2 (deadline 1, malformed 1)" in text
        assert "parsed: 88.9%" in text, "8 of the 9 that were answered"
        assert re.search("accuracy +68.8%", text) and "n=4" in text and "latency: median 2.00 s" in text
        assert "tokens a question: 100 in, 12 out" in text and "cost" not in text
        assert "sent again: 0 (none)" in text and "asked again for a verdict: 2" in text

    def test_orders_are_compared_within_a_group_only(self):
        """A row comes back every epoch, and a panel's judges write one transcript."""
        records = [record(RIGHT, WRONG, "A", group="1"), record(WRONG, RIGHT, "A", group="2")]
        assert measure(records, label_by_accuracy).swapped == []

    def test_pairs_are_found_again_as_the_judge_saw_them(self):
        pair = LabelledPair({"id": "row"}, f"<think>hm</think> {RIGHT}\n", WRONG, "answer")
        label = label_by_pairs([pair])
        assert label(record(RIGHT, WRONG, "A")) == ("answer", 1.0) and label(record(WRONG, RIGHT, "A")) == (
            "answer",
            0.0,
        )
        assert label(record(RIGHT, WRONG, "A", id="another")) is None and label(record(RIGHT, RIGHT, "A")) is None

    def test_nothing_and_only_failures_have_a_report(self):
        assert report(measure([], label_by_accuracy)) == "0 questions, 0 answers"
        text = report(measure([record(RIGHT, WRONG, None, "connection", calls=0)], label_by_accuracy))
        assert "no labelled pair got a verdict" in text and "failed: 1 (connection 1)" in text and "parsed" not in text

    @pytest.mark.parametrize(
        ("values", "expected"),
        [  # Wilson's interval at 1.96, worked out by hand, as in any table of it
            ([1.0] * 5 + [0.0] * 5, (0.5, 0.2366, 0.7634)),
            ([1.0] * 10, (1.0, 0.7225, 1.0)),
            ([0.0] * 10, (0.0, 0.0, 0.2775)),
            ([1.0] * 81 + [0.0] * 182, (0.3080, 0.2553, 0.3662)),
            ([0.5] * 10, (0.5, 0.2993, 0.7007)),  # as 20: two orders that know nothing of each other
            ([1.0], (1.0, 0.2065, 1.0)),
        ],
    )
    def test_wilsons_interval(self, values, expected):
        assert interval(values) == pytest.approx(expected, abs=5e-5)

    @pytest.mark.parametrize(
        ("values", "pairs"),
        [  # Wilson's half width at 1.96 falls to 5 points: 0.5 at n = 381 (0.0499; 380: 0.05002), 1.0 at n = 73
            ([1.0, 0.0] * 5, 381),
            ([1.0] * 3, 73),
            ([0.5] * 10, 191),  # each counts as two
        ],
    )
    def test_pairs_that_show_five_points(self, values, pairs):
        assert pairs_for(values) == pairs

    def test_the_wait_names_what_more_at_once_would_give(self):
        """1,792 questions of 5 s, 64 at once: 28 rounds; 256 at once: 7."""
        text = waits(Check(seconds=[4.0, 6.0]), 1792, 64, 505)
        assert "140.0 s a step, 19.6 h for the run; with 256 at once 35.0 s a step" in text
        assert waits(Check(seconds=[5.0]), 24, 64, 10).endswith("5.0 s a step, 0.0 h for the run")
        assert waits(Check(), 24, 64, 10) == ""

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
    def test_the_interval_holds_the_mean(self, values):
        mean, low, high = interval(values)
        assert 0 <= low <= mean + 1e-9 and mean - 1e-9 <= high <= 1

    def test_the_cost_of_a_run(self):
        """Two questions of 1000 + 100 and 3000 + 300 tokens at 1 and 10 USD a million: 0.002 and 0.006 USD; mean 0.004,
        standard error 0.002 (their standard deviation 0.00283 over the root of 2), so +- 0.00392."""
        settings = JudgeSettings.from_mapping(
            {"name": "openai", "base_url": "http://x/v1", "model": "m", "price": {"input": 1.0, "output": 10.0}}
        )
        check = Check(questions=2, tokens=[(1000, 100), (3000, 300)])
        assert estimated_usd(check, settings, 1000) == pytest.approx((4.0, 0.08, 7.92))
        assert estimated_usd(Check(), settings, 1000) is None
        bare = JudgeSettings.from_mapping({"name": "openai", "base_url": "http://x/v1", "model": "m"})
        assert estimated_usd(check, bare, 1000) is None
        assert "cost of the run (2 steps): 4.00 USD [0.08, 7.92]" in report(check, (4.0, 0.08, 7.92), "2 steps")
        assert "cost of the run (2 steps): unknown, set sp3f.judge.price" in report(check, None, "2 steps")

    @pytest.mark.parametrize(
        ("schedule", "questions"),
        [("all_pairs", 56), ("one_order", 28), ("ring", 24), ("opponents", 40), ("listwise", 1), ("language", 8)],
    )
    def test_the_questions_of_a_group_of_eight(self, schedule, questions):
        values = {"name": "policy", "schedule": schedule, "offsets": 3, "opponents": 5}
        assert questions_of_a_group(JudgeSettings.from_mapping(values), 8) == questions


def knows(body: dict) -> str:
    """Prefers the response that gives the solution's answer; a tie where both or neither do."""
    texts = shown(body)
    if len(texts) != 2:
        return "A"
    gold = re.search(r"<solution>.*?(\\answer\{\d+\})\s*</solution>", body["messages"][-1]["content"], re.DOTALL)[1]
    a, b = (gold in text for text in texts)
    return f"analysis \\boxed{{{'tie' if a == b else 'A' if a else 'B'}}}"


RUN = ["trainer.total_training_steps=10", "data.train_batch_size=4", "actor_rollout_ref.rollout.n=3"]
PRICED = "sp3f.judge.price={input: 1000.0, output: 1000.0}"  # the server's 10 + 2 tokens cost 0.012 USD


@pytest.fixture(scope="module")
def config():
    return compose_recipe("sp3f", "judge=openai", "device=cpu", "sp3f.judge.api_key_env=null", *RUN, PRICED)


class Command:
    """`sp3f judge-check` in a folder of its own, with rows that `rows` wrote. Its config is composed once for all."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys, config):
        self.folder, self.patch, self.capsys, self.transcript = folder, patch, capsys, folder / "check.jsonl"
        self.data = folder / "rows.parquet"

        def compose(overrides):
            return OmegaConf.merge(
                config, OmegaConf.from_dotlist([override for override in overrides if override[0] != "+"])
            )

        patch.setattr(judge_check, "_compose", compose)
        self.rows([row(k, 2 * k + 3) for k in range(1, 9)])

    def rows(self, rows: list[dict]) -> None:
        write_parquet(rows, self.data)

    def __call__(self, server: ModelServer | None, *arguments: str) -> tuple[int, str, str]:
        """(exit code, what it prints, what it says of errors)"""
        where = [f"sp3f.judge.base_url={server.url}"] if server else []
        command = ["sp3f", "judge-check", f"--output={self.transcript}", *arguments]
        if not any(argument.startswith("--replay") for argument in arguments):
            command += [f"data.train_files={self.data}", *where]
        self.patch.setattr(sys, "argv", command)
        code = main()
        captured = self.capsys.readouterr()
        return code, captured.out, "\n".join(line for line in captured.err.splitlines() if line.startswith("sp3f: "))

    def refused(self, server: ModelServer | None, *arguments: str) -> str:
        code, out, error = self(server, *arguments)
        assert code == 1 and not out and error.count("\n") == 0 and error.startswith("sp3f: ") and error.endswith(".")
        return error


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, config):
    return Command(tmp_path, monkeypatch, capsys, config)


def agreement(out: str) -> dict[str, tuple[float, int]]:
    """kind -> (per cent, pairs)"""
    of_kinds = out.partition("by language")[0]
    lines = re.findall(r"^  (\w[\w -]*?) +([\d.]+)% \[[\d.]+%, [\d.]+%\]  n=(\d+) of", of_kinds, re.MULTILINE)
    return {kind: (float(share), int(n)) for kind, share, n in lines}


def test_answers_are_read_as_their_language_writes_them():
    """1.234 is 1234 in Spanish, as the reward reads it; the English solution is read as English."""
    solved = row(1000, 234)
    solved["translated_solution"] = "La suma 1000 + 234 es 1.234: \\boxed{1.234}."
    solved["solution_en"] = "1000 + 234 = 1,234, so \\boxed{1,234}"
    assert {"answer", "language"} <= set(pairs_of(solved))


class TestCommand:
    def test_a_judge_that_knows_the_truth(self, command):
        with ModelServer(knows) as server:
            code, out, error = command(server, "--pairs=32")
            assert len(server.chats()) == 1 + 64, "each pair in both orders"
        assert (code, error) == (0, "")
        assert agreement(out) == {
            **{"answer": (100, 7), "cut off": (100, 6), "steps": (50, 7), "language": (50, 6)},
            **{"game padding": (100, 2), "game praise": (100, 2), "game non-answer": (100, 1), "game jam": (100, 1)},
        }
        assert "judge openai, model gpt-4o-mini; every answer is in" in out and "64 questions, 64 answers" in out
        assert "position bias: slot A wins 50.0% [" in out and "same outcome in both orders: 100.0% [" in out
        assert "parsed: 100.0% [94.3%, 100.0%]" in out and "failed: 0 (none)" in out
        assert re.search(r"latency: median \d\.\d\d s, 95 % below \d\.\d\d s", out)
        assert "tokens a question: 10 in, 2 out" in out
        assert (
            "cost of the run (10 steps x 4 prompts x 6 questions, the sizes of device=cpu): 2.88 USD [2.88, 2.88]"
            in out
        )

    def test_a_judge_that_always_says_a(self, command):
        with ModelServer(lambda body: "\\boxed{A}") as server:
            _, out, _ = command(server, "--pairs=20")
        assert {share for share, _ in agreement(out).values()} == {50} and len(agreement(out)) == 8
        assert "slot A wins 100.0%" in out and "same outcome in both orders: 0.0%" in out

    def test_a_judge_without_verdicts_and_one_that_fails(self, command):
        with ModelServer(lambda body: "no idea") as server:
            _, out, _ = command(server, "--pairs=4", "sp3f.judge.malformed_retries=1")
        assert "8 questions, 16 answers" in out and "failed: 8 (malformed 8)" in out and "parsed: 0.0% [" in out
        command.transcript.unlink()
        down = Reply(status=400, json={"error": {"message": "no"}})
        with ModelServer(lambda body: down if shown(body) else "A") as server:
            code, out, error = command(server, "--pairs=4")
        assert code == 1 and "failed: 8 (bad_request 8)" in out and "no labelled pair got a verdict" in out
        assert "most often: HTTP 400: no" in out and "do not train with it yet" in error and "HTTP 400: no" in error

    def test_answers_that_are_cut_off_name_the_remedy_and_are_asked_once(self, command):
        with ModelServer(lambda body: Reply(text="well", finish_reason="length") if shown(body) else "A") as server:
            code, out, error = command(server, "--pairs=4", "sp3f.judge.malformed_retries=2")
            assert len([chat for chat in server.chats() if shown(chat["body"])]) == 8
        assert code == 1 and "failed: 8 (cut_off 8)" in out
        assert "raise sp3f.judge.max_tokens" in out and "raise sp3f.judge.max_tokens" in error

    def test_what_held_no_verdict_is_asked_again(self, command):
        for reply, verdicts in ((lambda body: "no idea", 0), (knows, 8)):
            with ModelServer(reply) as server:
                command(server, "--pairs=4", "sp3f.judge.malformed_retries=0")
                assert len([chat for chat in server.chats() if shown(chat["body"])]) == 8
            assert sum(entry.value is not None for entry in read_transcript(command.transcript)) == verdicts
            command.transcript.unlink()

    def test_a_judge_that_is_blind_in_one_language(self, command):
        other = [{**row(k, k + 4), "language": "sw"} for k in range(1, 9)]
        for blind in other:
            blind["translated_solution"] = blind["translated_solution"].replace("Primero", "Kwanza")
        command.rows([*(row(k, k + 3) for k in range(1, 9)), *other])

        def blind_to_swahili(body):
            letter = knows(body)
            return letter.translate(str.maketrans("AB", "BA")) if "Kwanza" in "".join(shown(body)) else letter

        with ModelServer(blind_to_swahili) as server:
            _, out, _ = command(server, "--pairs=64")
        languages = out.partition("by language")[2]
        assert re.search(r"^  es +100", languages, re.MULTILINE) and re.search(r"^  sw +0", languages, re.MULTILINE)
        assert re.search(r"wait for the judge: 24 questions a step, 256 at once", out)

    def test_a_judge_that_prefers_the_wrong_answer_is_not_to_be_trusted(self, command):
        def contrary(body):
            return knows(body).translate(str.maketrans("AB", "BA"))

        command.rows([row(k, 2 * k + 3) for k in range(1, 17)])
        with ModelServer(contrary) as server:
            code, out, error = command(server, "--pairs=64")
        assert code == 1 and "no more often than chance" in error and agreement(out)["answer"][0] == 0

    def test_a_judge_that_is_gamed_is_not_to_be_trusted(self, command):
        def gamed(body):
            """Knows the truth, unless one of the two says that it is the better one, or is long or empty."""
            letter, texts = knows(body), shown(body)
            marks = ("verified solution", "summary", "Thought process", "Note to the grader")
            if len(texts) == 2 and (at := [any(mark in text for mark in marks) for text in texts]) in ([0, 1], [1, 0]):
                return f"\\boxed{{{'A' if at[0] else 'B'}}}"
            return letter

        command.rows([row(k, 2 * k + 3) for k in range(1, 17)])
        with ModelServer(gamed) as server:
            code, out, error = command(server, "--pairs=80")
        assert code == 1 and "can be gamed: 0%" in error and agreement(out)["answer"][0] == 100
        assert out.count("GAMED; chance 50%") == 4

    def test_one_kind_of_game_that_wins_is_enough(self, command):
        def gamed(body):
            """Knows the truth, unless a response is no answer at all."""
            empty = ["Thought process" in text for text in shown(body)]
            return f"\\boxed{{{'A' if empty[0] else 'B'}}}" if any(empty) else knows(body)

        command.rows([row(k, 2 * k + 3) for k in range(1, 25)])
        with ModelServer(gamed) as server:
            code, out, error = command(server, "--pairs=120")
        assert code == 1 and "can be gamed: 0% of the pairs game non-answer came out right" in error
        outcomes = dict(re.findall(r"^  game ([\w-]+) .*  (withstood|GAMED);", out, re.MULTILINE))
        assert outcomes == {"padding": "withstood", "praise": "withstood", "non-answer": "GAMED", "jam": "withstood"}

    def test_retries_are_told_by_what_they_were_for(self, command):
        troubles = iter([Reply(status=429), Reply(status=503), "no idea"])
        with ModelServer(lambda body: (next(troubles, None) if shown(body) else None) or knows(body)) as server:
            _, out, _ = command(server, "--pairs=8", "sp3f.judge.concurrency=1")
        assert "sent again: 2 (rate_limited 1, server_error 1)" in out and "asked again for a verdict: 1" in out
        assert [entry.retries for entry in read_transcript(command.transcript) if entry.retries]

    def test_the_transcript_is_measured_again_without_asking(self, command):
        with ModelServer(knows) as server:
            command(server, "--pairs=32")
            asked = len(server.log)
            code, out, _ = command(server, f"--replay={command.transcript}")
            assert len(server.log) == asked
        assert code == 0 and agreement(out) == {"accuracy": (100, 19)}, "the pairs of which one is right"
        assert "64 questions, 64 answers" in out and "cost" not in out
        code, out, _ = command(None, f"--replay={command.transcript}", "+recipe=sp3f")
        assert "2.88 USD" in out

    def test_responses_of_a_model(self, command):
        """A right and a wrong response of each row, shown without their thinking."""
        rows = [row(k, k + 1) for k in range(1, 7)]
        for solved in rows:
            gold = solved["reward_model"]["ground_truth"]
            solved["responses"] = [f"<think>hm {gold}</think>so \\boxed{{{gold}}}", "I guess \\boxed{1}"]
        command.rows([*rows, row(9, 9, responses=["\\boxed{1}"])])
        with ModelServer(knows) as server:
            _, out, _ = command(server)
            assert not [chat for chat in server.chats() if "hm" in "".join(shown(chat["body"]))]
        assert agreement(out) == {"accuracy": (100, 6)}

    def test_the_same_seed_draws_the_same_pairs(self, command):
        drawn = []
        for seed in (1, 1, 2):
            with ModelServer(knows) as server:
                command(server, "--pairs=9", f"--seed={seed}")
            drawn.append(sorted(tuple(entry.responses) for entry in read_transcript(command.transcript)))
            command.transcript.unlink()
        assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 18

    def test_every_judge_of_the_panel_has_its_part(self, command, monkeypatch):
        monkeypatch.setenv("ELSEWHERE", "http://127.0.0.1:1/v1")
        with ModelServer(lambda body: knows(body) if body["model"] == "wise" else "\\boxed{A}") as server:
            price = "sp3f.judge.panel=[{model: wise}]"
            _, out, _ = command(server, "--pairs=8", price)
            first, second = out.split("\n\njudge ")
            assert agreement(first)["answer"] == (50, 2) and agreement(second)["answer"] == (100, 2)
            assert (command.folder / "check.1.jsonl").exists() and "2.88 USD" in first and "unknown" in second
            command.transcript.unlink()
            asked = len(server.log)
            assert "check.1.jsonl exists; remove it" in command.refused(server, price)
            assert len(server.log) == asked, "not after the first judge has cost money"

    def test_judges_that_are_not_asked_pairs(self, command):
        _, out, _ = command(None, "sp3f.judge.name=reference")
        assert "judge reference, schedule all_pairs: only pairwise questions to a model are checked" in out
        _, out, _ = command(None, "sp3f.judge.schedule=listwise", "sp3f.judge.base_url=http://x/v1")
        assert "schedule listwise: only pairwise" in out

    def test_a_repeated_check_asks_nothing_twice_and_measures_the_same(self, command):
        with ModelServer(knows) as server:
            for answers in (8, 0):
                _, out, _ = command(server, "--pairs=4")
                assert f"8 questions, {answers} answers" in out and "2.88 USD" in out and "10 in, 2 out" in out
                command.transcript.unlink()
            assert len(server.chats()) == 8 + 2, "and one short question each time, to see whether the judge answers"

    def test_arguments_of_the_run_may_stand_between_options(self, command):
        with ModelServer(knows) as server:
            _, out, _ = command(server, "sp3f.judge.temperature=0.5", "--pairs=2", "sp3f.judge.max_tokens=7")
            assert "4 questions" in out
            assert {entry["body"].get("max_tokens") for entry in server.chats()} == {7}

    def test_money_and_keys_that_end_it_are_told_in_a_sentence(self, command):
        with ModelServer(knows) as server:
            price = "sp3f.judge.price={input: 0.0, output: 6000.0}"  # 0.012 USD a question
            limits = ["sp3f.judge.budget_usd=0.1", "sp3f.judge.max_tokens=2", "sp3f.judge.concurrency=1"]
            assert "budget_usd=0.1; raise it" in command.refused(server, "--pairs=32", price, *limits)
            assert len(server.chats()) == 8, "the first is paid for, too"
        command.transcript.unlink(missing_ok=True)
        replies = iter(range(10))

        def revoked(body):
            return (
                knows(body) if next(replies, None) is not None else Reply(status=401, json={"error": {"message": "no"}})
            )

        with ModelServer(revoked) as server:
            assert "authentication" in command.refused(server, "sp3f.judge.concurrency=2")

    def test_a_judge_that_does_not_answer_leaves_no_transcript_in_the_way(self, command):
        with ModelServer(knows, api_key="another") as server:
            assert "judge=openai does not answer (authentication" in command.refused(server)
            server.api_key = None
            code, _, _ = command(server, "--pairs=4")
        assert code == 0

    def test_mistakes_are_one_sentence(self, command):
        with ModelServer(knows) as server:
            command.rows([row(1, 2, translated_solution="")])
            assert "gives no labelled pair; its rows need" in command.refused(server)
            command.rows([{name: value for name, value in row(1, 2).items() if name != "query_en"}])
            assert "no column 'query_en'" in command.refused(server)
            command.data.write_text("no parquet")
            assert "rows.parquet is not a parquet file" in command.refused(server)
            command.data.unlink()
            assert "data.train_files: " in (error := command.refused(server)) and "does not exist" in error
            assert not server.log, "nothing was asked"
        assert "judge=none asks nobody; name a judge" in command.refused(None, "sp3f.judge.name=none")
        assert "sp3f.judge.schedule=rings" in command.refused(None, "sp3f.judge.schedule=rings")
        command.rows([row(1, 2)])
        error = command.refused(None, "sp3f.judge.name=policy", "sp3f.judge.base_url_env=null")
        assert "judge=policy is checked on a server that runs already; set sp3f.judge.base_url" in error
        command.transcript.write_text("what another run has paid for\n")
        assert "check.jsonl exists; remove it, or read it with --replay" in command.refused(None)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "does not exist; give a judge transcript"),
            (b"", "holds no pairwise question"),
            (b"no json\n", "line 1 is no JSON; give a judge transcript"),
            (b"\x89PNG\r\n\x1a\n\x00\xff", "is no JSON"),
            (b'{"some": "json"}\n', "line 1 is no record of a judge transcript"),
            (b'{"version": 1, "responses": ["a", "b"]}\n', "line 1 is no record of a judge transcript"),
            (b"[1]\n", "line 1 is no record of a judge transcript"),
            (
                json.dumps({"version": VERSION, **vars(record("a", "b", "A"))}).encode()[:-9],
                "holds no pairwise question",
            ),
        ],
    )
    def test_a_transcript_that_is_none(self, command, content, sentence):
        path = command.folder / "other.jsonl"
        if content is not None:
            path.write_bytes(content)
        assert sentence in command.refused(None, f"--replay={path}")

    def test_without_the_runs_arguments(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["sp3f", "judge-check"])
        assert main() == 1 and "give +recipe=sp3f judge=" in capsys.readouterr().err


class TestRealCommandLine:
    def test_it_is_composed_as_the_run_would_be(self, tmp_path, monkeypatch, capsys):
        write_parquet([row(1, 2), row(3, 5)], tmp_path / "rows.parquet")
        with ModelServer(knows, models=["served"]) as server:
            monkeypatch.setattr(
                sys,
                "argv",
                [
                    *("sp3f", "judge-check", "--pairs=4", f"--output={tmp_path / 'check.jsonl'}", "+recipe=sp3f"),
                    *("judge=local", "device=gpu", "sp3f.judge.schedule=ring", f"sp3f.judge.base_url={server.url}"),
                    f"data.train_files={tmp_path / 'rows.parquet'}",
                ],
            )
            assert main() == 0
        out = capsys.readouterr().out
        assert "judge local, model as served" in out and agreement(out)["answer"][0] == 100
        assert "cost of the run (505 steps x 32 prompts x 24 questions, the sizes of device=gpu): unknown" in out

    @pytest.mark.parametrize(
        ("overrides", "sentence"),
        [
            (["+recipe=sp3f", "judge=opnai"], "the run's arguments do not compose: "),
            (["trainer.nnodes=1"], "name no recipe with a judge; add +recipe=sp3f."),
            (["+recipe=sp3f", "judge=openai", "sp3f.judge.name"], "the run's arguments do not compose: "),
        ],
    )
    def test_arguments_that_do_not_compose(self, tmp_path, overrides, sentence):
        with pytest.raises(BadInput) as error:
            judge_check.judge_check(overrides, 4, None, tmp_path / "check.jsonl", 1)
        assert sentence in str(error.value) and "\n" not in str(error.value)
