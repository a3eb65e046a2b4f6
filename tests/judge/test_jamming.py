"""No response gains by making its judge fail: what is counted out, what fails the group, and what chance may do."""

import asyncio
import itertools
import random

import pytest

from helpers.judging import ROW, longer_wins, shown
from helpers.model_server import ModelServer, Reply
from sp3f_verl.judge import Verdict, win_rates
from sp3f_verl.judge.base import GroupNotJudged
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.questions.schedule import all_pairs, one_order, ring
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdicts.jamming import find_jam, from_other_order, is_of_the_way, lost_by
from sp3f_verl.llm.requests import client as client_module

A, B, TIE, FAILED = Verdict.A, Verdict.B, Verdict.TIE, Verdict.FAILED
GROUP = ["x" * k for k in range(2, 8)]  # the longer one wins: 0, .2, .4, .6, .8, 1
HONEST = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
OF_THE_QUESTION = {
    "a filter by its code": Reply(status=400, json={"error": {"message": "no", "code": "content_filter"}}),
    "a refusal": Reply(text=None, refusal="I will not"),
    "no content": Reply(text=None),
    "no verdict": Reply(text="Both have merits."),
    "two verdicts": Reply(text="\\boxed{A} or \\boxed{B}"),
    "cut off": Reply(text="first, then second, then", finish_reason="length"),
    "too long": Reply(status=400, json={"error": {"message": "no", "code": "context_length_exceeded"}}),
    "another 400": Reply(status=400, json={"error": {"message": "cannot be tokenized"}}),
}
OF_THE_WAY = {
    "502": Reply(status=502, raw=b"bad gateway"),
    "429": Reply(status=429, json={"error": {"message": "slow down"}}),
    "a broken connection": Reply(text="\\boxed{A}", reset=True),
}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(client_module, "backoff_seconds", lambda *_: 0.001)


def judged(reply, groups, **settings):
    """(rates of each group, None where it is not judged; the metrics)."""

    async def one(desk, number, group):
        try:
            return (await desk.judge(group, {**ROW, "id": str(number)})).rates
        except GroupNotJudged:
            return None

    async def main(server):
        quick = {"retries": 0, "malformed_retries": 0, "failure_ceiling": 1.0, "probe": "warn", **settings}
        desk = Desk(JudgeSettings.from_mapping({"name": "openai", "base_url": server.url, "model": "m", **quick}))
        server.reply = reply if settings.get("verdict") == "logprob" else longer_wins
        await desk.open()
        server.reply = reply
        rates = await asyncio.gather(*(one(desk, number, group) for number, group in enumerate(groups)))
        metrics = desk.take_step()
        await desk.close()
        return rates, metrics

    with ModelServer(longer_wins) as server:
        return asyncio.run(main(server))


def about(jammers, answer, losing=False):
    """`answer` to each question about a jammer; losing: only where the jammer would lose."""

    def reply(body):
        worse = min(shown(body), key=len)
        jams = worse in jammers if losing else jammers & set(shown(body))
        return answer if jams else longer_wins(body)

    return reply


@pytest.mark.parametrize("name", OF_THE_QUESTION)
def test_a_response_about_which_the_judge_fails_gets_nothing_and_costs_nobody(name):
    for jammer in (GROUP[0], GROUP[3]):
        (rates,), metrics = judged(about({jammer}, OF_THE_QUESTION[name]), [GROUP])
        assert rates is None and metrics["judge/groups_jammed"] == 1
        assert metrics["judge/failed_of_the_question"] == 10 and metrics["judge/failure_concentration"] == 1.0


@pytest.mark.parametrize("name", OF_THE_WAY)
def test_what_fails_on_the_way_stays_neutral(name):
    (rates,), metrics = judged(about({GROUP[1]}, OF_THE_WAY[name]), [GROUP])
    assert rates == pytest.approx([0.0, 0.5, 0.25, 0.5, 0.75, 1.0])
    assert metrics["judge/failed_of_the_way"] == 10 and metrics["judge/groups_jammed"] == 0


@pytest.mark.parametrize("jammer", range(len(GROUP) - 1))
def test_jamming_only_what_would_be_lost_gains_nothing(jammer):
    (rates,), _ = judged(about({GROUP[jammer]}, OF_THE_QUESTION["a refusal"], losing=True), [GROUP])
    assert rates is None


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_the_second_best_of_a_small_group_gains_nothing_by_jamming_the_best_alone(n):
    """Two of 6, 12 or 20 questions fail, and nothing else does."""
    second, best = GROUP[n - 2 : n]
    reply = about({second}, OF_THE_QUESTION["a refusal"], losing=True)
    (rates,), _ = judged(lambda body: reply(body) if best in shown(body) else longer_wins(body), [GROUP[:n]])
    assert rates is None


@pytest.mark.parametrize(
    ("settings", "jammed"),
    [
        ({"schedule": "ring", "offsets": 2}, 0),
        ({"schedule": "one_order"}, 0),
        ({"schedule": "opponents", "opponents": 3}, 2),
        ({"credit": "a_only"}, 1),
        ({"min_valid": 0.0}, 0),
        ({"panel": [{"model": "other"}]}, 0),
        ({"schedule": "language"}, 2),
    ],
)
def test_every_schedule_and_credit(settings, jammed):
    def reply(body):
        if GROUP[jammed] in shown(body):
            return OF_THE_QUESTION["no verdict"]
        return "\\boxed{sw}" if len(shown(body)) == 1 else longer_wins(body)

    (rates,), metrics = judged(reply, [GROUP], **settings)
    assert rates is None and metrics["judge/groups_jammed"] >= 1


def test_a_listwise_judge_that_fails_ties_no_response_with_its_betters():
    """The empty response is settled without a question: counted alone, both others would have won all."""
    (rates,), _ = judged(lambda body: OF_THE_QUESTION["a refusal"], [["", "a", "bb"]], schedule="listwise")
    assert rates is None


def test_soft_verdicts_too():
    def reply(body):
        if GROUP[0] in shown(body):
            return OF_THE_QUESTION["a refusal"]
        better = longer_wins(body)[-2] if len(shown(body)) == 2 else "A"
        return Reply(text=better, top_logprobs={better: -0.01})

    (rates,), _ = judged(reply, [GROUP], verdict="logprob")
    assert rates is None


def test_the_other_rules():
    reply = about({GROUP[2]}, OF_THE_QUESTION["a refusal"])
    for rule, rates in {
        "neutral": [0.0, 0.25, 0.5, 0.5, 0.75, 1.0],
        "lowest": [0.0, 0.25, 0.0, 0.5, 0.75, 1.0],
        "loss": [0.2, 0.4, 0.0, 0.6, 0.8, 1.0],
    }.items():
        assert judged(reply, [GROUP], on_jam=rule)[0] == [pytest.approx(rates)], rule


def test_a_tenth_of_failures_by_chance_moves_no_rate_and_fails_few_groups():
    rng = random.Random(5)
    answers = itertools.cycle(OF_THE_QUESTION[name] for name in ("a refusal", "no verdict", "another 400"))

    def reply(body):
        return next(answers) if rng.random() < 0.1 else longer_wins(body)

    rates, _ = judged(reply, [GROUP] * 60)
    kept = [group for group in rates if group]
    assert len(kept) >= 54
    assert [sum(column) / len(kept) for column in zip(*kept, strict=True)] == pytest.approx(HONEST, abs=0.02)


def chance_of_a_false_alarm(n, pairs, share, draws=400):
    rng = random.Random(7)
    return (
        sum(bool(find_jam({pair: rng.random() < share for pair in pairs(rng)}).responses) for _ in range(draws)) / draws
    )


@pytest.mark.parametrize("n", [3, 4, 5, 8, 16])
def test_failures_by_chance_are_seldom_taken_for_a_jam(n):
    for pairs in (lambda rng: all_pairs(n), lambda rng: one_order(n, rng), lambda rng: ring(n, 3, rng)):
        assert max(chance_of_a_false_alarm(n, pairs, share) for share in (0.02, 0.05, 0.1)) <= 0.05


def test_who_jams_is_named_and_who_met_them_is_not():
    for jammers in ({0}, {3}, {7}, {0, 1}, {2, 5, 7}):
        jam = find_jam({(i, j): i in jammers or j in jammers for i, j in all_pairs(8)})
        assert jam.responses == jammers and jam.concentration == 1.0
    assert not find_jam({(i, j): False for i, j in all_pairs(8)}).responses
    assert not find_jam({}).responses
    one_failure = {(i, j): (i, j) == (0, 1) for i, j in all_pairs(8)}
    assert not find_jam(one_failure).responses and find_jam(one_failure).concentration == pytest.approx(1 / 14)


def test_a_pair_that_failed_in_one_order_weighs_as_much():
    comparisons = [(0, 1, FAILED), (1, 0, A), (0, 2, A), (2, 0, B), (1, 2, 0.25), (2, 1, FAILED), (3, 0, FAILED)]
    filled = from_other_order(comparisons)
    assert filled == [(0, 1, B), (1, 0, A), (0, 2, A), (2, 0, B), (1, 2, 0.25), (2, 1, 0.75), (3, 0, FAILED)]
    assert win_rates(4, filled) == pytest.approx([0.5, 2.5 / 4, 1.5 / 4, 0.5])
    assert from_other_order([(0, 1, TIE), (1, 0, FAILED)]) == [(0, 1, TIE), (1, 0, TIE)]


def test_lost_by_touches_only_what_failed_between_a_jammer_and_another():
    comparisons = [(0, 1, FAILED), (1, 0, FAILED), (0, 2, A), (1, 2, FAILED), (0, 3, FAILED)]
    assert lost_by(comparisons, frozenset({0, 3})) == [
        (0, 1, B), (1, 0, A), (0, 2, A), (1, 2, FAILED), (0, 3, FAILED),
    ]  # fmt: skip


def test_the_way_is_a_list_of_what_no_response_can_do():
    ways = ["timeout", "connection", "rate_limited", "server_error", "deadline", "authentication", "no_money"]
    assert all(map(is_of_the_way, ways))
    questions = ["refused", "malformed", "cut_off", "too_long", "bad_request", "invalid_response", "forbidden", "?"]
    assert not any(map(is_of_the_way, questions))
