"""The judges of a run, asked over real HTTP: what a group's rewards are, what is asked, and what ends the run."""

import asyncio
import json
import re

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from helpers.judging import ROW, longer_wins, questions, shown
from helpers.model_server import ModelServer, Reply
from sp3f_verl.errors import BadInput
from sp3f_verl.judge.base import GroupNotJudged, JudgeStopped
from sp3f_verl.judge.budget import Budget, OverBudget
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.metrics import ScoredGroup
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.transcript import read_transcript


def judge(server: ModelServer, responses: list[str], row=ROW, **overrides):
    """(Judged, metrics of the step) of one group."""

    async def run():
        desk = Desk(JudgeSettings.from_mapping({"name": "openai", "base_url": server.url, "model": "m", **overrides}))
        await desk.open()
        try:
            result = await desk.judge(responses, row)
            n = len(responses)
            chars = [len(response) for response in responses]
            desk.observe(ScoredGroup(result.comparisons, [True] + [False] * (n - 1), result.rates, chars))
            return result, desk.take_step()
        finally:
            await desk.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("schedule", "asked"),
    [("all_pairs", 12), ("one_order", 6), ("ring", 8), ("opponents", 8)],
)
def test_a_perfect_judge_ranks_under_every_schedule(schedule, asked):
    with ModelServer(longer_wins) as server:
        result, metrics = judge(
            server, ["a", "bb", "ccc", "dddd"], schedule=schedule, offsets=2, opponents=2, credit="both"
        )
        assert len(questions(server)) == asked == metrics["judge/questions"]
    assert result.rates == sorted(result.rates) and result.rates[0] == 0.0 and result.rates[-1] == 1.0
    if schedule == "all_pairs":
        assert result.rates == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_judge_that_always_says_a_is_neutral_and_seen_to_be_biased():
    """SPEC 6.8."""
    with ModelServer(lambda body: "\\boxed{A}") as server:
        result, metrics = judge(server, ["x", "yy", "zzz"])
    assert result.rates == [0.5, 0.5, 0.5]
    assert metrics["judge/slot_a_rate"] == 1.0 and metrics["judge/swap_consistency"] == 0.0


def test_identical_responses_are_asked_about_once_and_empty_ones_not_at_all():
    with ModelServer(longer_wins) as server:
        result, metrics = judge(server, ["same", "same", "<think>never mind</think>", "longer text", " same "])
        assert sorted(questions(server)) == [["longer text", "same"], ["same", "longer text"]]
    assert result.rates[0] == result.rates[1] == result.rates[4] == pytest.approx((2 * 0.5 + 1) / 4)
    assert result.rates[2] == 0.0 and result.rates[3] == 1.0
    assert metrics["judge/skipped_pairs"] == 14 and metrics["judge/slot_a_rate"] == 0.5
    with ModelServer(longer_wins) as server:
        result, _ = judge(server, ["", "<think>only thoughts", " "])
        assert result.rates == [0.5, 0.5, 0.5] and not questions(server)


def test_thinking_is_not_shown_and_long_responses_are_cut_alike():
    with ModelServer(longer_wins) as server:
        long = "x" * 5000 + " the end"
        _, metrics = judge(server, [f"<think>secret</think>{long}", "short"], response_chars=1000)
        for texts in questions(server):
            assert "secret" not in "".join(texts) and max(map(len, texts)) <= 1000
            assert any("characters left out" in text and text.endswith("the end") for text in texts)
    assert metrics["judge/shortened"] == 2


@pytest.mark.parametrize("unseen", ["\u200d", "\u3164", "\u2800", "\ufe0f"])
def test_what_nobody_sees_makes_no_difference(unseen):
    with ModelServer(longer_wins) as server:
        assert judge(server, [unseen, ""])[0].rates == [0.5, 0.5]
        assert judge(server, [f"so{unseen} 5", "so 5"])[0].rates == [0.5, 0.5]
        assert not questions(server)


def test_a_question_that_does_not_fit_the_context_is_shortened_before_it_is_sent():
    with ModelServer(longer_wins) as server:
        judge(
            server,
            ["x" * 9000, "y" * 8000],
            context_tokens=1500,
            max_tokens=100,
            bytes_per_token=1.0,
            on_jam="neutral",
            min_valid=0.0,
            probe="warn",
        )
        assert not questions(server), "the fixed part alone is too long: nothing was sent"
        result, _ = judge(server, ["x" * 9000, "y" * 8000], context_tokens=5000, max_tokens=100, bytes_per_token=1.0)
        assert questions(server)
        for entry in server.chats():
            assert sum(len(message["content"]) for message in entry["body"]["messages"]) <= 4900
    assert result.valid == [2, 2]


@pytest.mark.parametrize("words", ["zu lang", "no such field"])
def test_a_400_in_unknown_words_may_mean_the_length(words):
    """Two responses of 15,000 characters at a server that takes 9,000: half of 12,000 each is still too long."""
    group = [f"{number} " + "word " * (3000 if number < 2 else number) for number in range(4)]

    def reply(body):
        size = sum(len(message["content"]) for message in body["messages"])
        return Reply(status=400, json={"error": {"message": words}}) if size > 9000 else first_number_wins(body)

    def first_number_wins(body):
        texts = shown(body)
        return f"\\boxed{{{'B' if len(texts) == 2 and texts[1] > texts[0] else 'A'}}}"

    with ModelServer(reply) as server:
        result, metrics = judge(server, group, concurrency=1)
        longest = max(len(entry["body"]["messages"][-1]["content"]) for entry in server.chats())
    assert result.rates == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0] and longest > 20_000
    assert metrics["judge/failed_rate"] == 0


def test_where_the_server_says_too_long_the_question_is_shortened_and_asked_again():
    def refuses_long(body):
        if sum(len(message["content"]) for message in body["messages"]) > 5000:
            message = "This model's maximum context length is 1000 tokens."
            return Reply(status=400, json={"error": {"message": message, "code": "context_length_exceeded"}})
        return longer_wins(body)

    with ModelServer(refuses_long) as server:
        result, metrics = judge(server, ["x" * 9000, "y" * 8000])
    assert result.valid == [2, 2] and metrics["judge/failed_rate"] == 0


def test_the_privileged_judge_sees_the_solution_and_the_plain_one_does_not():
    for privileged in (True, False):
        with ModelServer(longer_wins) as server:
            judge(server, ["a", "bb"], privileged=privileged)
            text = json.dumps([entry["body"] for entry in server.chats()])
            assert ("2 + 2 = 4" in text) == privileged and "How much is 2 + 2" in text


def test_every_question_has_a_fence_of_its_own_after_the_shared_prefix():
    with ModelServer(longer_wins) as server:
        judge(server, ["a", "bb", "ccc"])
        texts = [entry["body"]["messages"][-1]["content"] for entry in server.chats() if shown(entry["body"])]
        systems = {entry["body"]["messages"][0]["content"] for entry in server.chats() if shown(entry["body"])}
    fences = [re.search(r"token is (\w{24})", text)[1] for text in texts]
    assert len(set(fences)) == len(texts) == 6
    assert len({text.partition("token is")[0] for text in texts}) == len(systems) == 1


def test_logprobs_give_soft_credit():
    def reply(body):
        assert body["max_tokens"] == 1 or not shown(body)
        better_a = len(shown(body)) == 2 and len(shown(body)[0]) > len(shown(body)[1])
        return Reply(text="A", top_logprobs={"A": -0.2 if better_a else -1.5, "B": -1.5 if better_a else -0.2})

    with ModelServer(reply) as server:
        result, metrics = judge(server, ["a", "bb"], verdict="logprob")
    p = 1 / (1 + 2.718281828 ** (-1.3))
    assert result.rates == pytest.approx([1 - p, p])
    assert metrics["judge/swap_consistency"] == 1.0


def test_a_listwise_judge_ranks_a_group_in_one_question():
    def reply(body):
        texts = shown(body)
        ranking = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        return "analysis \\boxed{" + " > ".join(str(index + 1) for index in ranking) + "}"

    with ModelServer(reply) as server:
        result, metrics = judge(server, ["a", "bb", "ccc", "bb", ""], schedule="listwise", probe="warn")
        assert len(questions(server)) == 1 and metrics["judge/questions"] == 1
    assert result.rates == pytest.approx([0.25, 0.625, 1.0, 0.625, 0.0])


def test_the_language_judge_rewards_the_language_asked_for():
    def reply(body):
        return f"\\boxed{{{'sw' if 'habari' in body['messages'][-1]['content'] else 'en'}}}"

    with ModelServer(reply) as server:
        result, _ = judge(server, ["habari", "hello", ""], schedule="language")
        assert len(questions(server)) == 2
        assert "2 + 2" not in json.dumps([entry["body"] for entry in server.chats()])
    assert result.rates == [1.0, 0.0, 0.0]


def test_the_consistency_judge_scores_each_text_beside_the_english_thoughts():
    """Nothing is asked about what is empty; a score that cannot be read leaves its response without a valid one."""
    scores = {"moja mbili": "10", "tatu nne": "3.5/10", "tano sita": "11"}

    def reply(body):
        asked = body["messages"][-1]["content"]
        return next((f"\\boxed{{{score}}}" for text, score in scores.items() if text in asked), "\\boxed{7}")

    row = {**ROW, "thinking_en": "First add seven.", "solution_en": "never shown"}
    with ModelServer(reply) as server:
        result, _ = judge(server, [*scores, ""], row=row, schedule="consistency", malformed_retries=0, on_jam="neutral")
        bodies = json.dumps([entry["body"] for entry in server.chats()])
        assert "First add seven." in bodies and "never shown" not in bodies
    assert result.rates == pytest.approx([1.0, 0.35, 0.5, 0.0]) and result.valid == [1, 1, 0, 1]


def test_several_judges_are_averaged_by_weight():
    with ModelServer(longer_wins) as server:
        other = {"model": "always-b-at-" + "x", "weight": 3.0, "base_url": server.url}
        server.reply = lambda body: "\\boxed{A}" if body["model"] == "m" else longer_wins(body)
        result, metrics = judge(server, ["a", "bb"], panel=[other])
    assert result.rates == pytest.approx([(1 * 0.5 + 3 * 0.0) / 4, (1 * 0.5 + 3 * 1.0) / 4])
    assert metrics["judge/questions"] == 4


def test_a_malformed_answer_is_asked_again_and_counted_apart_from_retries():
    answers = iter(["ready", "no verdict", "\\boxed{24}", "\\boxed{A}", "\\boxed{B}"])
    with ModelServer(lambda body: next(answers)) as server:
        result, metrics = judge(server, ["a", "bb"], concurrency=1, probe="warn")
    assert sorted(result.rates) == [0.0, 1.0], "one order after three tries, the other at once"
    assert metrics["judge/calls"] == 4 and metrics["judge/malformed_rate"] == 0.5
    assert metrics["judge/retries"] == 0 and metrics["judge/failed_rate"] == 0


def test_an_answer_that_was_cut_off_has_no_verdict():
    with ModelServer(lambda body: Reply(text="first I thought \\boxed{A}, but", finish_reason="length")) as server:
        result, metrics = judge(
            server, ["a", "bb", "ccc"], min_valid=0.0, malformed_retries=1, on_jam="neutral", probe="warn"
        )
    assert result.rates == [0.5, 0.5, 0.5]
    assert metrics["judge/failed/cut_off"] == 6 and metrics["judge/calls"] == 6


def test_texts_that_look_alike_to_the_judge_tie_without_a_question():
    hidden = ["quality\u200b one", "quality one", "quality \u2060one", "two"]
    cut = ["x" * 5000 + f" {k} " + "y" * 5000 for k in (24, 25)]
    for group, rates in ((hidden, [2 / 3, 2 / 3, 2 / 3, 0.0]), (cut, [0.5, 0.5])):
        with ModelServer(longer_wins) as server:
            result, _ = judge(server, group)
            assert all(a != b for a, b in questions(server))
        assert result.rates == pytest.approx(rates)
    with ModelServer(longer_wins) as server:  # shortened to fit, they look alike
        result, _ = judge(server, cut, response_chars=20000, context_tokens=6000, bytes_per_token=1.0, max_tokens=100)
        assert not questions(server)
    assert result.rates == [0.5, 0.5]


def test_failed_pairs_leave_the_count_and_a_group_below_the_floor_fails():
    def fails_for_b(body):
        return longer_wins(body) if "bb" not in shown(body) else Reply(status=500, json={"error": {"message": "no"}})

    with ModelServer(fails_for_b) as server:
        result, metrics = judge(server, ["a", "bb", "ccc"], min_valid=0.3, retries=0)
        assert result.rates == [0.0, 0.5, 1.0] and result.valid == [2, 0, 2]
        assert metrics["judge/failed/server_error"] == 4
        with pytest.raises(GroupNotJudged, match=r"33% .*min_valid=0\.5.*server_error"):
            judge(server, ["a", "bb", "ccc"], retries=0)


@given(rate=st.sampled_from([0.0, 0.1, 0.4]), seed=st.integers(0, 10**6))
@limits(max_examples=8)
def test_errors_do_not_move_the_expected_win_rates(rate, seed):
    """SPEC 6.8: a judge that errs (fails) at random, over many groups, against one that never does."""
    import random

    rng = random.Random(seed)

    def sometimes(body):
        return longer_wins(body) if rng.random() >= rate else Reply(status=400, json={"error": {"message": "no"}})

    async def run(server):
        desk = Desk(
            JudgeSettings.from_mapping(
                {
                    "name": "openai",
                    "base_url": server.url,
                    "model": "m",
                    "min_valid": 0.0,
                    "failure_ceiling": 1.0,
                    "on_jam": "neutral",
                }
            )
        )
        server.reply = longer_wins
        await desk.open()
        server.reply = sometimes
        groups = [["a", "bb", "ccc", "dddd"]] * 40
        results = await asyncio.gather(*(desk.judge(group, {**ROW, "id": str(k)}) for k, group in enumerate(groups)))
        await desk.close()
        return [sum(result.rates[k] for result in results) / len(results) for k in range(4)]

    with ModelServer(longer_wins) as server:
        means = asyncio.run(run(server))
    assert means == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=0.1 if rate else 1e-9)


def test_a_wrong_key_ends_the_run_and_a_mistyped_model_is_told_at_the_start(monkeypatch):
    monkeypatch.setenv("MY_KEY", "canary-1234")
    with ModelServer(longer_wins, api_key="the-right-one") as server, pytest.raises(ValueError) as caught:
        judge(server, ["a", "bb"], api_key_env="MY_KEY")
    assert "does not answer" in str(caught.value) and "canary" not in str(caught.value)
    missing = Reply(status=404, json={"error": {"message": "The model `m` does not exist"}})
    with ModelServer(lambda body: missing) as server, pytest.raises(ValueError, match="does not exist"):
        judge(server, ["a", "bb"])

    async def key_revoked(server):
        settings = {"name": "openai", "base_url": server.url, "model": "m", "concurrency": 1}  # no question under way
        desk = Desk(JudgeSettings.from_mapping(settings))
        await desk.open()
        server.api_key = "another"
        with pytest.raises(JudgeStopped):
            await desk.judge(["a", "bb"], ROW)
        asked = len(server.log)
        with pytest.raises(JudgeStopped, match="authentication"):
            await desk.judge(["ccc", "dddd"], ROW)
        await desk.close()
        return len(server.log) - asked

    with ModelServer(longer_wins) as server:
        assert asyncio.run(key_revoked(server)) == 0, "nothing is asked once the key is refused"


def test_too_many_failures_stop_the_judges_with_a_sentence():
    async def run(server):
        desk = Desk(
            JudgeSettings.from_mapping(
                {"name": "openai", "base_url": server.url, "model": "m", "min_valid": 0.0, "on_jam": "neutral"}
            )
        )
        await desk.open()
        server.reply = lambda body: Reply(status=400, json={"error": {"message": "no"}})
        for k in range(20):
            if desk.stop_reason:
                break
            await desk.judge(["a", "bb", "ccc", "dddd"], {**ROW, "id": str(k)})
        with pytest.raises(JudgeStopped, match=r"100% .*bad_request.*failure_ceiling=0\.5"):
            await desk.judge(["a", "bb"], ROW)
        await desk.close()
        return k

    with ModelServer(longer_wins) as server:
        assert 5 <= asyncio.run(run(server)) <= 7, "after 64 questions, not after the first few"


def test_a_judge_that_fails_does_not_pull_the_others_to_the_middle():
    def refuses(body):
        if body["model"] == "m" or not shown(body):
            return longer_wins(body)
        return longer_wins(body) if "ccc" not in shown(body) else Reply(status=500, json={"error": {"message": "no"}})

    with ModelServer(refuses) as server:
        result, metrics = judge(server, ["a", "bb", "ccc"], panel=[{"model": "other"}], min_valid=0.3, retries=0)
    assert result.rates == [0.0, 0.5 * (0.5 + 1.0), 1.0], "only the first judge has anything to say about ccc"
    assert metrics["judge/swap_consistency"] == 1.0


def test_a_biased_judge_shows_in_the_panel_beside_a_good_one():
    with ModelServer(lambda body: "\\boxed{A}" if body["model"] == "m" else longer_wins(body)) as server:
        _, metrics = judge(server, ["a", "bb", "ccc"], panel=[{"model": "other"}])
    assert metrics["judge/swap_consistency"] == 0.5 and metrics["judge/slot_a_rate"] == 0.75


def test_one_fence_a_group_lets_questions_share_what_comes_before_b():
    with ModelServer(longer_wins) as server:
        judge(server, ["a", "bb", "ccc"], fence="group")
        texts = [entry["body"]["messages"][-1]["content"] for entry in server.chats() if shown(entry["body"])]
    assert len({text.partition("response B")[0] for text in texts}) == 3, "one prefix for each A"


def test_a_server_that_counts_no_tokens_is_taken_to_have_used_the_most():
    with ModelServer(lambda body: Reply(text=longer_wins(body), usage=None)) as server:
        _, metrics = judge(server, ["a", "bb"], price={"input": 0.0, "output": 10.0}, max_tokens=100)
    assert metrics["judge/usd"] == pytest.approx(3 * 100 * 10 / 1e6), "the first question, too"


def test_a_spending_file_that_cannot_be_written_ends_a_run_with_a_budget_and_no_other(tmp_path):
    limited, unlimited = (Budget(budget, tmp_path / "run" / "spending.json") for budget in (1.0, None))
    (tmp_path / "run").write_text("a file where the folder should be")
    for ledger in (limited, unlimited):
        ledger.hold(0.1)
        ledger.pay(0.1, 0.05)  # what was paid for is not lost
        ledger.write()
    unlimited.hold(0.1)
    with pytest.raises(OverBudget, match="cannot be written"):
        limited.hold(0.1)
    (tmp_path / "run").unlink()
    limited.write()
    limited.hold(0.1)


PRICES = {"m": {"input": 0.0, "output": 6000.0}}  # 0.012 USD an answer of the server's 2 tokens


def test_the_budget_holds_over_resumes_and_is_never_passed(tmp_path):
    spending = tmp_path / "spending.json"
    settings = {"prices": PRICES, "spending_file": str(spending), "max_tokens": 2}

    async def run(server, budget):
        desk = Desk(
            JudgeSettings.from_mapping(
                {"name": "openai", "base_url": server.url, "model": "m", "budget_usd": budget, **settings}
            )
        )
        await desk.open()
        judged = 0
        try:
            for k in range(10):
                await desk.judge(["a", "bb", "ccc"], {**ROW, "id": str(k)})
                judged += 1
                desk.take_step()
                if desk.last_affordable():
                    break
            return judged, desk.budget.spent, desk.last_affordable()
        finally:
            await desk.close()

    with ModelServer(longer_wins) as server:
        judged, spent, sentence = asyncio.run(run(server, 0.25))
        assert judged == 3 and spent == pytest.approx(0.012 + 3 * 6 * 0.012), "the first question, too"
        assert "budget_usd=0.25" in sentence
        with pytest.raises(JudgeStopped, match=r"has cost 0\.2\d+ USD"):
            asyncio.run(run(server, 0.25))
        assert json.loads(spending.read_text())["spent_usd"] <= 0.25
        judged, spent, _ = asyncio.run(run(server, 0.5))
        assert judged >= 2 and spent <= 0.5
    spending.write_text("half a fi")
    with ModelServer(longer_wins) as server, pytest.raises(ValueError, match=r"spending\.json"):
        asyncio.run(run(server, 1.0))


def test_a_store_answers_exact_repetitions_only(tmp_path):
    with ModelServer(longer_wins) as server:
        options = {"store": str(tmp_path / "answers.sqlite"), "temperature": 0.0}
        first, _ = judge(server, ["a", "bb"], **options)
        asked = len(questions(server))
        again, metrics = judge(server, ["a", "bb"], **options)
        assert len(questions(server)) == asked == 2 and metrics["judge/stored"] == 2
        assert metrics["judge/tokens_in"] == 10, "of the first question, which is no repetition"
        assert again.rates == first.rates
        judge(server, ["a", "ccc"], **options)
        judge(server, ["a", "bb"], **{**options, "temperature": 0.5})
        judge(server, ["a", "bb"], **options, row={**ROW, "solution_en": "another"})
        assert len(questions(server)) == asked + 6


def test_the_transcript_holds_sampled_groups_as_a_whole(tmp_path):
    path = tmp_path / "runs" / "transcript.jsonl"
    with ModelServer(longer_wins) as server:
        judge(server, ["a 100 % {x} \ud800", "bb"], transcript={"path": str(path), "share": 1.0})
        judge(server, ["a", "bb"], transcript={"path": str(path), "share": 0.0})
    records = list(read_transcript(path))
    assert [entry.value for entry in records] == ["A", "B"]
    assert records[0].ground_truth == "4" and records[0].answer.startswith("analysis")


def no_system_role(body):
    if any(message["role"] == "system" for message in body["messages"]):
        return Reply(status=400, json={"error": {"message": "System role not supported"}})
    return longer_wins(body)


def test_a_template_without_a_system_role_is_found_before_anything_depends_on_it():
    with ModelServer(no_system_role) as server:
        with pytest.raises(BadInput, match=r"knows no system role \(.*System role not supported.*system_part=user"):
            judge(server, ["a", "bb"])
        assert len(server.chats()) == 1
        result, _ = judge(server, ["a", "bb"], system_part="user")
        assert all("expert judge" in entry["body"]["messages"][0]["content"] for entry in server.chats()[1:])
    assert result.rates == [0.0, 1.0]


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(text="A"), "no log-probabilities"),
        (Reply(text="The", top_logprobs={"The": -0.01, "A": -6.0}), "first token is 'The' and no A or B"),
    ],
)
def test_a_server_that_cannot_give_soft_verdicts_is_found_by_the_first_question(reply, sentence):
    with ModelServer(lambda body: reply) as server:
        with pytest.raises(BadInput, match=sentence):
            judge(server, ["a", "bb"], verdict="logprob")
        assert len(server.chats()) == 1


@pytest.mark.parametrize(
    ("reply", "settings", "asked", "mend"),
    [
        ("I cannot say", {}, 3, r"holds no verdict \('I cannot say'\).*sp3f\.judge\.probe=warn"),
        ("I cannot say", {"malformed_retries": 0}, 1, "holds no verdict"),
        (Reply(text="so \\boxed{A}", finish_reason="length"), {}, 1, r"cut off .*raise sp3f\.judge\.max_tokens"),
        ("\\boxed{A}", {"schedule": "listwise"}, 3, "holds no verdict"),
    ],
)
def test_a_judge_whose_first_answers_hold_no_verdict_judges_nothing(reply, settings, asked, mend):
    with ModelServer(lambda body: reply) as server:
        with pytest.raises(BadInput, match=mend):
            judge(server, ["a", "bb"], **settings)
        assert len(server.chats()) == asked, "a judge that now and then forgets its box is asked again"


def test_a_judge_that_forgets_its_box_once_judges():
    answers = iter(["hm", "\\boxed{A}", "\\boxed{A}", "\\boxed{B}"])
    with ModelServer(lambda body: next(answers)) as server:
        result, _ = judge(server, ["a", "bb"], concurrency=1)
    assert sorted(result.rates) == [0.0, 1.0]


def test_the_first_question_is_one_of_the_run():
    with ModelServer(lambda body: "I cannot say") as server:
        with pytest.raises(GroupNotJudged):
            judge(server, ["a", "bb"], temperature=0.3, max_tokens=77, probe="warn")
        first, *rest = (entry["body"] for entry in server.chats())
    same = ("temperature", "max_tokens", "model")
    assert {name: first[name] for name in same} == {name: rest[0][name] for name in same}
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][0] == rest[0]["messages"][0]
