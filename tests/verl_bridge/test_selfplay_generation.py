"""Faults of rollout servers: asked again, counted, given up in one sentence; what was finished is never asked twice."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from sp3f_verl.llm.store import Store
from sp3f_verl.training.selfplay.responses import Request, Responses
from sp3f_verl.training.selfplay.settings import Generation
from sp3f_verl.verl_bridge.selfplay import generation
from sp3f_verl.verl_bridge.selfplay.generation import GenerationFailed, RolloutServers

END = 9


class Client:
    """verl's LLMServerClient, of which each answer is told by `script`: a list of token ids, "abort", or an error."""

    def __init__(self, script):
        self.script, self.asked, self.now, self.most = script, [], 0, 0

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        self.asked.append(tuple(prompt_ids))
        answer = self.script(prompt_ids, sum(entry == tuple(prompt_ids) for entry in self.asked))
        if isinstance(answer, Exception):
            raise answer
        if answer == "abort":
            return SimpleNamespace(token_ids=[], log_probs=None, stop_reason="aborted")
        return SimpleNamespace(token_ids=answer, log_probs=[-0.5] * len(answer), stop_reason="completed")


def servers(script) -> RolloutServers:
    rollouts = RolloutServers.__new__(RolloutServers)  # without verl's servers, which cannot be made to fail on purpose
    rollouts._client, rollouts._room = Client(script), 8
    return rollouts


def requests(count: int) -> list[Request]:
    return [Request(np.array([index], dtype=np.int32), {"max_tokens": 3, "seed": index}) for index in range(count)]


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Responses:
    monkeypatch.setattr(generation, "WAIT_SECONDS", 0.01)
    return Responses(Store(tmp_path / "responses.sqlite"), frozenset({END}))


def test_complete_or_cut(kept):
    """Cut is what reached the limit without an end; an end exactly at the limit is whole."""
    answers = {0: [4, END], 1: [4, 5, 6], 2: [4, 5, END]}
    asked = requests(3)
    assert kept.fill("p", asked, servers(lambda prompt, _: answers[prompt[0]]), Generation(at_once=8), "policy 0") == 0
    stored = [kept.kept("p", entry) for entry in asked]
    assert [entry.complete for entry in stored] == [True, False, True]
    assert [entry.ids.tolist() for entry in stored] == list(answers.values())
    assert [entry.logp for entry in stored] == [-1.0, -1.5, -1.5]


def test_errors_and_aborts_are_asked_again_and_counted(kept):
    def script(prompt, times):
        return {(1, 1): RuntimeError("lost"), (2, 1): "abort", (2, 2): "abort"}.get((prompt[0], times), [4, END])

    asked = requests(4)
    assert kept.fill("p", asked, servers(script), Generation(at_once=2), "policy 0") == 3
    assert not kept.missing("p", asked)


def test_three_failures_end_the_run_in_a_sentence_and_nothing_finished_is_lost(kept):
    asked = requests(20)
    bad = servers(lambda prompt, _: RuntimeError("out\nof memory") if prompt[0] == 19 else [4, END])
    with pytest.raises(GenerationFailed, match="failed 3 times, last with RuntimeError: out of memory"):
        kept.fill("p", asked, bad, Generation(at_once=4), "policy 0")
    missing = kept.missing("p", asked)
    assert 19 in [int(entry.prompt[0]) for entry in missing] and len(missing) < 20
    good = servers(lambda *_: [4, END])
    kept.fill("p", missing, good, Generation(at_once=4), "policy 0")
    assert sorted(good._client.asked) == sorted(tuple(entry.prompt.tolist()) for entry in missing), "nothing twice"
    assert not kept.missing("p", asked)


def test_no_more_in_flight_than_allowed(kept):
    rollouts = servers(lambda *_: [4, END])
    kept.fill("p", requests(40), rollouts, Generation(at_once=5), "policy 0")
    assert rollouts._client.most == 5


def test_another_policy_or_request_has_responses_of_its_own(kept):
    asked = requests(2)
    kept.fill("p", asked[:1], servers(lambda *_: [4, END]), Generation(at_once=8), "policy 0")
    assert len(kept.missing("p", asked)) == 1 and len(kept.missing("q", asked)) == 2
    greedy = Request(asked[0].prompt, {**asked[0].sampling, "temperature": 0.0})
    assert kept.missing("p", [greedy]) == [greedy]


def test_a_request_that_never_ends_is_given_up_and_asked_again(kept):
    rollouts = servers(lambda *_: [4, END])
    answer, slow = rollouts._client.generate, []

    async def generate(request_id, *, prompt_ids, sampling_params):
        if not slow:
            slow.append(prompt_ids)
            await asyncio.sleep(60)
        return await answer(request_id, prompt_ids=prompt_ids, sampling_params=sampling_params)

    rollouts._client.generate = generate
    assert kept.fill("p", requests(3), rollouts, Generation(timeout_seconds=2), "policy 0") == 1
    assert not kept.missing("p", requests(3))
