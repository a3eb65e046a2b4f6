"""generate, score and croco, chained: a real HTTP server, a real reward model (small), real files."""

import itertools
import math
import random
import re
import sys
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import croco, generate, score
from helpers.croco_steps import (
    ASKED,
    SAID,
    N,
    answer,
    build_reward_model,
    manifest,
    pairs_of,
    prompt_rows,
    run_croco,
    run_generate,
    run_score,
    shuffled,
    write_prompts,
)
from helpers.model_server import ModelServer, Reply
from helpers.processes import started
from helpers.tables import write_rows
from sp3f_verl.data.candidate_files import SCORED
from sp3f_verl.data.check import check_sft
from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.data.prompts import Prompts
from sp3f_verl.llm.score import TransformersScorer
from sp3f_verl.rewards import language_share
from sp3f_verl.rewards.fidelity.detect import language_found
from sp3f_verl.selection import select_pair

POOLS = {(f"p{at}", code) for at in range(6) for code in ASKED}


class Chain:
    """The three steps over the same prompts, and what the server heard."""

    def __init__(self, folder, tiny_model):
        self.folder, self.model = folder, build_reward_model(tiny_model, folder / "reward")
        with ModelServer(answer) as server:
            prompts = write_prompts(folder / "prompts.jsonl", prompt_rows())
            self.candidates = run_generate(server, prompts, folder / "generated")
            self.asked = [entry["body"] for entry in server.chats()]
        self.prompts = folder / "generated" / "prompts.parquet"
        self.scored = run_score(self.candidates, self.prompts, folder / "scored", self.model)
        self.pairs = run_croco(self.scored, self.prompts, folder / "pairs")
        self.rows = pq.read_table(self.scored).to_pylist()

    def pools(self):
        """(id, language) -> its good candidates, in the order of their numbers."""
        pools = defaultdict(list)
        for row in self.rows:
            if row["status"] == "ok":
                pools[row["id"], row["lang_declared"]].append(row)
        return pools

    def prompt(self, prompt_id, code):
        return next(
            row["prompt"]
            for row in pq.read_table(self.prompts).to_pylist()
            if (row["id"], row["prompt_lang"]) == (prompt_id, code)
        )


@pytest.fixture(scope="module")
def chain(tmp_path_factory, tiny_model):
    return Chain(tmp_path_factory.mktemp("croco"), tiny_model)


class TestGenerate:
    def test_every_prompt_has_n_candidates_with_seeds_of_their_own(self, chain):
        counts = Counter((row["id"], row["lang_declared"]) for row in chain.rows)
        assert counts == dict.fromkeys(POOLS, N)
        seeds = defaultdict(list)
        for body in chain.asked:
            seeds[body["messages"][-1]["content"]].append(body["seed"])
        assert all(len(set(drawn)) == len(drawn) == N for drawn in seeds.values())
        assert len(seeds) == 13  # 6 x 3 less p5 (as p4) and p3 twice: equal questions are asked once

    def test_the_conversation_is_asked_up_to_its_last_user_turn(self, chain):
        for body in chain.asked:
            assert [turn["role"] for turn in body["messages"]] == ["system", "user"]

    def test_a_status_for_every_way_to_fail(self, chain):
        """By the stub's own rule, with the languages as it wrote them."""
        for row in chain.rows:
            if row["status"] == "refused":
                assert row["text"] is None and row["finish_reason"] == "content_filter"
            elif row["status"] == "truncated":
                assert row["finish_reason"] == "length" and row["text"]
            else:
                english = row["text"].startswith("I think")
                assert row["lang_detected"] == ("en" if english else row["lang_declared"])
                off = english and row["lang_declared"] != "en"
                assert (row["status"] == "off_language") is off and (row["lang_share"] < 0.7) is off
        assert {row["status"] for row in chain.rows} == {"ok", "truncated", "refused", "off_language", "duplicate"}

    def test_of_one_text_the_lowest_number_alone_is_good(self, chain):
        texts = defaultdict(list)
        for row in chain.rows:  # in the order of the numbers
            if row["status"] in ("ok", "duplicate"):
                texts[row["id"], row["lang_declared"], row["text"]].append(row["status"])
        assert max(map(len, texts.values())) > 1
        assert all(statuses == ["ok"] + ["duplicate"] * (len(statuses) - 1) for statuses in texts.values())

    def test_the_suffix_is_asked_and_not_kept(self, tmp_path):
        with ModelServer(answer) as server:
            prompts = write_prompts(tmp_path / "p.jsonl", prompt_rows()[:1])
            run_generate(server, prompts, tmp_path / "out", "--suffix", "In {language}!")
            assert {entry["body"]["messages"][-1]["content"].split("\n\n")[1] for entry in server.chats()} == {
                "In Danish!"
            }
        kept = pq.read_table(tmp_path / "out" / "prompts.parquet").to_pylist()
        assert "Danish" not in kept[0]["prompt"][-1]["content"]

    def test_a_killed_run_asks_nothing_again_that_was_answered(self, tmp_path):
        concurrency, output, asked = 4, tmp_path / "out", itertools.count(1)

        def soon_silent(body):
            return answer(body) if next(asked) <= 16 else Reply(hang=True)

        prompts = write_prompts(tmp_path / "p.jsonl", prompt_rows()[:3])
        with ModelServer(soon_silent) as server:
            options = ["--base-url", server.url, "--concurrency", str(concurrency), "--max-tokens", "99", "--seed", "3"]
            command = [sys.executable, "-m", "data_prep.generate", "--prompts", str(prompts), "--output", str(output)]
            command += ["--n", str(N), *options]
            with started(command, tmp_path / "log") as run:
                assert server.wait_for(lambda server: len(server.chats()) > 16, 120)
                run.kill()
            server.reply = answer
            assert not (output / "manifest.json").exists() and not (output / "candidates.parquet").exists()
            before = len(server.chats())
            assert before < 3 * N
            run_generate(server, prompts, output, "--concurrency", str(concurrency))
            asked = Counter((e["body"]["messages"][-1]["content"], e["body"]["seed"]) for e in server.chats())
            assert len(asked) == 3 * N and sum(asked.values()) <= 3 * N + 2 * concurrency
            again = len(server.chats())
            run_generate(server, prompts, tmp_path / "other", "--store", f"{output}.answers.sqlite")
            assert len(server.chats()) == again
        one, other = (folder / "candidates.parquet" for folder in (output, tmp_path / "other"))
        assert one.read_bytes() == other.read_bytes()

    def test_what_failed_is_asked_again_under_another_output(self, tmp_path, capsys):
        """Of 12 answers one fails: a row without a text, told; then that one alone is asked."""
        prompts = write_prompts(tmp_path / "p.jsonl", prompt_rows()[:1])
        with ModelServer(lambda body: "x") as server:
            bad = Reply(status=400, json={"error": {"message": "no"}})
            server.reply = lambda body: bad if body["seed"] == 3 else answer(body)
            path = run_generate(server, prompts, tmp_path / "out", "--max-failure-share", "0.5")
            row = pq.read_table(path).to_pylist()[0]
            assert (row["cand_id"], row["status"], row["text"], row["n_tokens"]) == ("da-00", "error", None, None)
            printed = capsys.readouterr().out
            assert "1 failed" in printed
            server.reply, before = answer, len(server.chats())
            path = run_generate(
                server, prompts, tmp_path / "two", "--store", printed.split("--store ")[1].split(" asks")[0]
            )
            assert [entry["body"]["seed"] for entry in list(server.chats())[before:]] == [3]
        assert pq.read_table(path).to_pylist()[0]["text"]


class TestScore:
    def test_the_score_is_the_raw_logit_of_prompt_and_answer(self, chain):
        rows = [row for row in chain.rows if row["status"] == "ok"][::17]
        items = []
        for at, row in enumerate(rows):
            turns = chain.prompt(row["id"], row["lang_declared"])
            items.append(("", at, [*turns, {"role": "assistant", "content": row["text"]}]))
        with TransformersScorer(chain.model, dtype="float32") as scorer:
            scores = {score.number: score for score in scorer.scores(items)}
        for at, row in enumerate(rows):
            assert row["reward_raw"] == pytest.approx(scores[at].raw, abs=1e-4)
            assert row["reward_tokens"] == scores[at].tokens

    def test_what_has_no_text_is_counted(self, chain):
        refused = [row for row in chain.rows if row["status"] == "refused"]
        assert all(row["reward_raw"] is None and row["reward_status"] is None for row in refused)
        assert manifest(chain.folder / "scored")["drops"] == {"not scored: refused": len(refused)}
        assert all(row["reward_status"] == "ok" for row in chain.rows if row["status"] != "refused")

    def test_the_report_is_by_language(self, chain):
        rewards = manifest(chain.folder / "scored")["notes"]["rewards"]
        for code in ASKED:
            rows = [row for row in chain.rows if row["lang_declared"] == code and row["reward_raw"] is not None]
            raw = np.array([row["reward_raw"] for row in rows])
            length = np.log([len(row["text"].strip()) for row in rows])
            assert rewards[code]["scored"] == len(rows)
            assert rewards[code]["mean"] == pytest.approx(raw.mean())
            assert rewards[code]["spread"] == pytest.approx(raw.std())
            assert rewards[code]["length_correlation"] == pytest.approx(np.corrcoef(raw, length)[0, 1])
            z = [row["reward_z"] for row in rows]
            assert z == pytest.approx((raw - raw.mean()) / raw.std())

    def test_scores_that_are_no_numbers_and_conversations_that_are_too_long(self, chain, tiny_model, tmp_path, capsys):
        broken = build_reward_model(tiny_model, tmp_path / "broken", fill=math.inf)
        command = ["--candidates", str(chain.candidates), "--prompts", str(chain.prompts), "--backend", "transformers"]
        command += ["--model", str(broken), "--max-model-len", "250", "--output", str(tmp_path / "out")]
        assert score.main(command) == 1
        counts = dict(re.findall(r"(\d+) not scored: (\w+)", told := capsys.readouterr().err))
        assert "not one of 216 candidates has a score" in told and {"not_finite", "too_long"} <= {*counts.values()}
        assert not (tmp_path / "out").exists()


class TestCroco:
    def test_pairs_are_those_of_the_rule_pool_by_pool(self, chain):
        expected = {}
        for (prompt_id, code), rows in chain.pools().items():
            pair = select_pair([row["reward_raw"] for row in rows])
            if pair is not None:
                expected[prompt_id, code] = tuple(rows[at]["text"] for at in pair)
        pairs = {(row["id"], row["prompt_lang"]): (row["chosen"], row["rejected"]) for row in pairs_of(chain.pairs)}
        assert pairs == expected and len(pairs) >= 15

    def test_the_prompt_is_the_pairs_own(self, chain):
        for row in pairs_of(chain.pairs):
            assert row["prompt"] == chain.prompt(row["id"], row["prompt_lang"])
            assert row["chosen_lang"] == row["rejected_lang"] == row["prompt_lang"]
            assert row["margin"] == pytest.approx(row["chosen_score"] - row["rejected_score"]) and row["margin"] > 0
            assert row["chosen_reward"] > row["rejected_reward"]
            assert (row["len_chosen"], row["len_rejected"]) == (len(row["chosen"]), len(row["rejected"]))

    def test_the_best_of_n_for_sft(self, chain):
        best = {key: max(rows, key=lambda row: row["reward_raw"])["text"] for key, rows in chain.pools().items()}
        rows = [row for name in ("train", "validation") for row in _rows(chain.pairs / f"sft_{name}.parquet")]
        assert {(row["id"], row["language"]): row["messages"][-1]["content"] for row in rows} == best
        for row in rows:
            assert row["messages"][:-1] == chain.prompt(row["id"], row["language"])
            assert row["messages"][-1]["role"] == "assistant"

    def test_the_recipes_read_the_files(self, chain):
        rows, dropped = read_answers(str(chain.pairs / "train.parquet"), ("chosen", "rejected"))
        assert len(rows) == len(_rows(chain.pairs / "train.parquet")) and not dropped
        for name in ("sft_train", "sft_validation"):
            check_sft(str(chain.pairs / f"{name}.parquet"))

    def test_no_prompt_is_on_both_sides_of_the_split(self, chain):
        sides = [{row["id"] for row in _rows(chain.pairs / f"{name}.parquet")} for name in ("train", "validation")]
        assert sides[0] and sides[1] and not sides[0] & sides[1]
        sft = [{r["id"] for r in _rows(chain.pairs / f"sft_{name}.parquet")} for name in ("train", "validation")]
        assert not sft[0] & sides[1] and not sft[1] & sides[0]

    def test_equal_prompts_and_equal_texts_in_two_languages_do_not_collide(self, chain):
        """SPEC 2g-6. p3 has one text in three languages, p4 and p5 have the same one."""
        pools = {(row["id"], row["prompt_lang"]) for row in pairs_of(chain.pairs)}
        assert {("p4", code) for code in ASKED} | {("p5", code) for code in ASKED} <= pools
        assert ("p3", "en") in pools and ("p3", "da") not in pools  # the stub answers "7 + 5 = ?" in English
        assert manifest(chain.pairs)["drops"]["pool: pool_too_small"] == 2

    def test_who_takes_no_part_is_counted(self, chain):
        drops = manifest(chain.pairs)["drops"]
        counts = Counter(row["status"] for row in chain.rows)
        assert drops["candidate: no_score"] == counts["refused"]
        for name in ("truncated", "off_language", "duplicate"):
            assert drops[f"candidate: {name}"] == counts[name] > 0
        left = {row["text"] for row in chain.rows if row["status"] in ("truncated", "off_language")}
        good = {row["text"] for row in chain.rows if row["status"] == "ok"}
        assert not (left - good) & {row[side] for row in pairs_of(chain.pairs) for side in ("chosen", "rejected")}

    def test_the_manifest_has_diagnostics_and_report(self, chain):
        notes = manifest(chain.pairs)["notes"]
        assert notes["pools"]["same_language"] == 1.0 and notes["pools"]["margin"]["mean"] > 0
        overall = notes["report"]["overall"]
        assert overall["pairs"] == len(pairs_of(chain.pairs)) == notes["pools"]["pairs"]
        assert overall["chosen_off_language"] == 0.0 and overall["wrong_order"] == 0.0
        assert set(notes["report"]["by_source"]) == {"prompts"}

    @pytest.mark.parametrize("side", ["chosen", "rejected", "random"])
    def test_across_languages_the_prompt_is_in_the_language_asked_for(self, chain, tmp_path, side):
        folder = run_croco(
            chain.scored, chain.prompts, tmp_path / "x", "--pool", "cross_language", "--prompt-language", side
        )
        rows = pairs_of(folder)
        assert {row["id"] for row in rows} == {f"p{at}" for at in range(6)}
        assert any(row["chosen_lang"] != row["rejected_lang"] for row in rows)
        for row in rows:
            if side != "random":
                assert row["prompt_lang"] == row[f"{side}_lang"]
            assert row["prompt"] == chain.prompt(row["id"], row["prompt_lang"])
        if side == "random":
            assert len({row["prompt_lang"] for row in rows}) > 1

    def test_z_scores_rank_across_languages(self, chain, tmp_path):
        """The best of a prompt by hand, z over all good candidates of a language."""
        good = [row for rows in chain.pools().values() for row in rows]
        by_language = {code: [r["reward_raw"] for r in good if r["lang_declared"] == code] for code in ASKED}
        rows = pairs_of(run_croco(chain.scored, chain.prompts, tmp_path / "x", "--pool", "cross_language"))
        for pair in rows:
            candidates = [row for row in good if row["id"] == pair["id"]]
            z = [
                (row["reward_raw"] - np.mean(by_language[row["lang_declared"]]))
                / np.std(by_language[row["lang_declared"]])
                for row in candidates
            ]
            top, low = select_pair(z)
            assert (pair["chosen"], pair["rejected"]) == (candidates[top]["text"], candidates[low]["text"])
            assert pair["chosen_score"] == pytest.approx(z[top]) and pair["margin"] == pytest.approx(z[top] - z[low])

    @pytest.mark.parametrize("kind", ["pair", "prompt"])
    def test_consistency(self, chain, tmp_path, kind):
        folder = run_croco(
            chain.scored, chain.prompts, tmp_path / "x", "--pool", "cross_language", "--consistency", kind
        )
        for row in pairs_of(folder):
            assert row["chosen_lang"] == row["rejected_lang"] == row["prompt_lang"]

    def test_limits(self, chain, tmp_path):
        folder = run_croco(chain.scored, chain.prompts, tmp_path / "x", "--max-length-ratio", "1.2", "--rule", "min")
        for row in pairs_of(folder):
            sides = sorted((row["len_chosen"], row["len_rejected"]))
            assert sides[1] <= 1.2 * sides[0]
        margins = sorted(row["margin"] for row in pairs_of(chain.pairs))
        folder = run_croco(chain.scored, chain.prompts, tmp_path / "y", "--min-margin", str(margins[len(margins) // 2]))
        assert 0 < len(pairs_of(folder)) <= len(margins)
        assert min(row["margin"] for row in pairs_of(folder)) >= margins[len(margins) // 2]

    def test_the_original_takes_everyone_that_has_a_score(self, chain, tmp_path):
        folder = run_croco(chain.scored, chain.prompts, tmp_path / "x", "--original")
        refused = sum(row["status"] == "refused" for row in chain.rows)
        drops = {name: n for name, n in manifest(folder)["drops"].items() if name.startswith("candidate")}
        assert drops == {"candidate: no_score": refused}
        assert ("p3", "da") in {(row["id"], row["prompt_lang"]) for row in pairs_of(folder)}

    def test_scores_that_are_missing_or_not_finite_are_counted(self, chain, tmp_path):
        """SPEC 2g-7: they neither win nor move the mean."""
        rows = [dict(row) for row in chain.rows]
        good = [row for row in rows if row["status"] == "ok" and row["id"] == "p0"]
        for row, value in zip(good, (None, math.nan, math.inf, -math.inf), strict=False):
            row["reward_raw"] = value
        good[4] |= {"reward_raw": None, "reward_status": "not_finite"}
        write_rows(rows, SCORED, tmp_path / "c.parquet")
        folder = run_croco(tmp_path / "c.parquet", chain.prompts, tmp_path / "x")
        drops, before = manifest(folder)["drops"], manifest(chain.pairs)["drops"]
        assert drops["candidate: no_score"] == before["candidate: no_score"] + 2
        assert drops["candidate: score_not_finite"] == 3
        sides = {row[side] for row in pairs_of(folder) if row["id"] == "p0" for side in ("chosen", "rejected")}
        left_out = {(row["text"]) for row in good[:5]} - {row["text"] for row in good[5:]}
        assert not sides & left_out and all(math.isfinite(row["margin"]) for row in pairs_of(folder))


class TestOrder:
    """SPEC 6.9: no intermediate file's order means anything."""

    def test_shuffled_prompts_candidates_and_scores_give_the_same_bytes(self, chain, tmp_path):
        rows = prompt_rows()
        random.Random(4).shuffle(rows)
        with ModelServer(answer) as server:
            parts = [write_prompts(tmp_path / f"{name}.jsonl", some) for name, some in _halves(rows)]
            candidates = run_generate(server, parts[0], tmp_path / "generated", "--prompts", *map(str, parts))
        assert candidates.read_bytes() == chain.candidates.read_bytes()
        # the other half of the name of a source is its file
        prompts = shuffled(chain.prompts, tmp_path / "prompts.parquet")
        scored = run_score(shuffled(candidates, tmp_path / "c.parquet"), prompts, tmp_path / "scored", chain.model)
        assert _without_rewards(scored) == _without_rewards(chain.scored)
        for name in ("reward_raw", "reward_z"):  # batches differ, and with them the last bits of fp32
            one, other = (pq.read_table(path).column(name).to_numpy() for path in (scored, chain.scored))
            assert np.allclose(one, other, atol=1e-4, equal_nan=True)

    @pytest.mark.parametrize("more", [(), ("--pool", "cross_language", "--prompt-language", "random")])
    def test_shuffled_scores_give_the_same_pairs(self, chain, tmp_path, more):
        expected = run_croco(chain.scored, chain.prompts, tmp_path / "a", *more)
        table = pq.read_table(shuffled(chain.scored, tmp_path / "c.parquet"))
        for half, rows in (("one", table[:100]), ("two", table[100:])):
            pq.write_table(rows, tmp_path / f"{half}.parquet")
        prompts = shuffled(chain.prompts, tmp_path / "p.parquet")
        folder = run_croco(
            tmp_path / "one.parquet", prompts, tmp_path / "b", *more,
            "--candidates", str(tmp_path / "one.parquet"), str(tmp_path / "two.parquet"),
        )  # fmt: skip
        names = sorted(path.name for path in expected.glob("*.parquet"))
        assert len(names) == 4
        for name in names:
            assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
        assert manifest(folder)["notes"] == manifest(expected)["notes"]

    def test_the_same_command_again_is_done(self, chain, capsys):
        run_croco(chain.scored, chain.prompts, chain.pairs)
        assert "already done" in capsys.readouterr().out


class TestParts:
    @pytest.mark.parametrize(
        "text, language, others, expected",
        [
            (SAID["da"], "da", ("sw",), "da"),
            (SAID["en"], "da", (), "en"),
            (SAID["sw"], "da", ("sw",), "sw"),
            (SAID["en"], "th", ("da",), "en"),  # another script than the one asked for
            ("คำตอบคือสิบสองเพราะเราได้รวมตัวเลขทั้งหมดแล้ว", "da", ("th",), "th"),
            ("Ответ правильный, потому что мы сложили все числа", "da", ("th",), None),  # nobody's
            ("12", "da", (), None),
        ],
    )
    def test_the_language_that_is_found(self, text, language, others, expected):
        share, code = language_found(text, language, others)
        assert code == expected
        assert share == language_share(text, language, others)

    def test_rows_that_are_parallel_by_problem(self, tmp_path):
        """RL rows: an id in each language, and the same problem. Prompt and answer stand side by side in them."""
        turn = {"role": "user", "content": "Hvad?"}
        row = {"id": "x1", "problem": "x", "language": "da", "prompt": [turn], "messages": [turn, turn]}
        paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
        for path, changes in zip(paths, ({}, {"id": "x2", "language": "en"}), strict=True):
            pq.write_table(pa.Table.from_pylist([row | changes]), path)
        prompts = Prompts(paths)
        assert list(prompts) == [("x", "da"), ("x", "en")]
        assert prompts.messages("x", "en") == [turn] and prompts.source("x", "en") == "b"

    @pytest.mark.parametrize("n, share, expected", [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (200, 0.1, 20), (9, 0, 0)])
    def test_the_split(self, n, share, expected):
        ids = {f"p{at}" for at in range(n)}
        held = croco.held_out(ids, share, 1)
        assert len(held) == expected and held <= ids
        assert held == croco.held_out(set(sorted(ids, reverse=True)), share, 1)
        if n == 200:
            assert held != croco.held_out(ids, share, 2)
            assert len(held & croco.held_out(ids - {"p0"}, share, 1)) >= 19  # one prompt less moves at most one


def _rows(path):
    return pq.read_table(path).to_pylist()


def _halves(rows):
    return ("one", rows[:7]), ("two", rows[7:])


def _without_rewards(path):
    return pq.read_table(path).drop_columns(["reward_raw", "reward_z"]).to_pylist()


PROMPT = {"id": "a", "language": "da", "prompt": "Hvad er to plus fem?"}


class TestBadInput:
    @pytest.mark.parametrize(
        "rows, words",
        [
            ([PROMPT, PROMPT], "p.jsonl, line 2 has the id 'a' in 'da', as"),
            ([{"language": "da", "prompt": "x"}], "has no column 'id'"),
            ([{"id": "a", "prompt": "x"}], "has no column 'prompt_lang'"),
            ([{"id": "a", "language": "da", "text": "x"}], "has no column 'prompt'"),
            ([PROMPT | {"language": "Danish"}], "line 1: unknown language 'Danish'"),
            ([PROMPT | {"id": 5.5}], "line 1 has the id 5.5; give it a text or a whole number"),
            ([PROMPT | {"prompt": [{"role": "user"}]}], "no prompt has a user turn to answer (1 a_turn_without_text)"),
            ([PROMPT | {"prompt": "  "}], "p.jsonl: no prompt has a user turn"),
        ],
    )
    def test_prompts(self, tmp_path, capsys, rows, words):
        path = write_prompts(tmp_path / "p.jsonl", rows)
        command = ["--prompts", str(path), "--output", str(tmp_path / "out"), "--base-url", "http://127.0.0.1:9/v1"]
        assert generate.main([*command, "--model", "m"]) == 1
        _one_sentence(capsys, words)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "more, words",
        [
            (("--n", "0"), "--n=0: give a number of at least 1"),
            (("--temperature", "0"), "--temperature=0 gives the same answer"),
            (("--adapter", "x"), "--adapter is for --backend vllm"),
            (("--min-language-share", "7"), "--min-language-share=7: give a number from 0 to 1"),
        ],
    )
    def test_options_of_generate(self, tmp_path, capsys, more, words):
        path = write_prompts(tmp_path / "p.jsonl", [PROMPT])
        command = ["--prompts", str(path), "--output", str(tmp_path / "out"), "--base-url", "http://127.0.0.1:9/v1"]
        assert generate.main([*command, "--model", "m", *more]) == 1
        _one_sentence(capsys, words)

    def test_candidates_of_other_prompts(self, chain, tmp_path, capsys):
        others = write_prompts(tmp_path / "p.jsonl", [PROMPT])
        command = ["--candidates", str(chain.scored), "--prompts", str(others), "--output", str(tmp_path / "out")]
        assert croco.main(command) == 1
        _one_sentence(capsys, "--prompts have no id 'p")
        assert score.main([*command, "--backend", "transformers", "--model", str(chain.model)]) == 1
        _one_sentence(capsys, "--prompts have no id 'p0' in 'da'")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "more, words",
        [
            (("--consistency", "pair"), "consistency='pair' is for cross-language pools"),
            (("--min-margin", "1000"), "give not one pair"),
            (("--validation", "1"), "--validation=1 is no share"),
        ],
    )
    def test_options_of_croco(self, chain, tmp_path, capsys, more, words):
        command = ["--candidates", str(chain.scored), "--prompts", str(chain.prompts), "--output"]
        assert croco.main([*command, str(tmp_path / "out"), *more]) == 1
        _one_sentence(capsys, words)
        assert not (tmp_path / "out").exists()

    def test_candidates_without_scores(self, chain, tmp_path, capsys):
        command = ["--candidates", str(chain.candidates), "--prompts", str(chain.prompts)]
        assert croco.main([*command, "--output", str(tmp_path / "out")]) == 1
        _one_sentence(capsys, "have no score")

    def test_a_candidate_twice(self, chain, tmp_path, capsys):
        command = ["--candidates", str(chain.scored), str(chain.scored), "--prompts", str(chain.prompts)]
        assert croco.main([*command, "--output", str(tmp_path / "out")]) == 1
        _one_sentence(capsys, "in two rows")


def _one_sentence(capsys, words):
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("data_prep.")]
    assert len(lines) == 1 and words in lines[0], error
