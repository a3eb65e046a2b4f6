"""transformers as a backend: it samples what it says, by seed, whatever is in a batch."""

import json
import math
import shutil
from collections import Counter

import pytest

from helpers.adapters import an_adapter
from sp3f_verl.llm import Ask, FailureKind, Status, Store, Totals
from sp3f_verl.llm.backends.transformers import TransformersBackend, _Drawing


def chat(text):
    return [{"role": "user", "content": text}]


def asked(model, asks, **options):
    with TransformersBackend(model, totals=Totals(max_failure_share=1), dtype="float32", **options) as backend:
        return {(answer.id, answer.number): answer for answer in backend.answers(asks)}


def candidates(rows=3, n=4, **sampling):
    sampling = {"temperature": 1.0, "seed": 3, **sampling}
    return [
        Ask(f"row-{row}", chat(f"{row}+1?" * (row + 1)), 8, number=number, **sampling)
        for row in range(rows)
        for number in range(n)
    ]


def shares(draws, logits, **sampling):
    import torch

    asks = [Ask("x", [], 1, seed=1, number=number, **sampling) for number in range(draws)]
    scores = torch.tensor(logits).log().repeat(draws, 1)
    counts = Counter(_Drawing(asks)(None, scores).argmax(-1).tolist())
    return [counts[token] / draws for token in range(len(logits))]


class TestSampling:
    def test_tokens_come_by_their_probability(self):
        """Within 4 standard errors of 4,000 draws."""
        for token, share in enumerate(shares(4000, [0.5, 0.3, 0.15, 0.05])):
            p = [0.5, 0.3, 0.15, 0.05][token]
            assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 4000)

    def test_temperature_sharpens(self):
        """At 0.5 the probabilities are the squares: 0.5 and 0.3 become 25/34 and 9/34."""
        drawn = shares(4000, [0.5, 0.3, 1e-9, 1e-9], temperature=0.5)
        assert abs(drawn[0] - 25 / 34) < 4 * math.sqrt(25 * 9 / 34**2 / 4000)

    def test_top_p_keeps_the_fewest_tokens_that_have_the_share(self):
        drawn = shares(2000, [0.5, 0.3, 0.15, 0.05], top_p=0.7)
        assert drawn[2:] == [0, 0] and abs(drawn[0] - 0.5 / 0.8) < 4 * math.sqrt(0.625 * 0.375 / 2000)
        assert shares(50, [0.5, 0.3, 0.15, 0.05], top_p=1e-6) == [1, 0, 0, 0]


class TestBackend:
    def test_candidates_differ_and_each_has_its_finish_reason_and_tokens(self, tiny_model):
        answers = asked(tiny_model, candidates())
        for row in range(3):
            group = [answers[f"row-{row}", number] for number in range(4)]
            assert len({answer.text for answer in group}) == 4
            for answer in group:
                assert answer.status is (Status.OK if answer.finish_reason == "stop" else Status.TRUNCATED)
                assert 1 <= answer.usage.completion_tokens <= 8 and answer.usage.prompt_tokens > 10

    def test_the_seed_decides_and_not_the_batch(self, tiny_model):
        whole = asked(tiny_model, candidates())
        parts = {}
        for ask in reversed(candidates()):
            parts |= asked(tiny_model, [ask], batch=1)
        assert {key: answer.text for key, answer in parts.items()} == {
            key: answer.text for key, answer in whole.items()
        }
        other = asked(tiny_model, candidates(seed=4))
        assert all(other[key].text != whole[key].text for key in whole)

    def test_greedy_is_what_the_model_itself_generates(self, tiny_model):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
        for text in ("1+1?", "7+5=12"):
            ids = tokenizer.apply_chat_template(
                chat(text), add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            generated = model.generate(**ids, max_new_tokens=8, do_sample=False)
            expected = tokenizer.decode(generated[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
            asks = [Ask("a", chat(text), 8, temperature=0.0), *candidates(1)]  # beside sampled ones
            assert asked(tiny_model, asks)["a", 0].text == expected

    @pytest.mark.parametrize("generation", [0, [0], None])
    def test_an_answer_ends_at_the_tokenizers_end_too(self, tiny_model, tmp_path, generation):
        """As under vLLM. The tokenizer's end here is what the model says first; its generation config has another."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        ask = Ask("a", chat("1+1?"), 8, temperature=0.0)
        first = tokenizer(asked(tiny_model, [ask])["a", 0].text)["input_ids"][0]
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(first)
        model = shutil.copytree(tiny_model, tmp_path / "model")
        tokenizer.save_pretrained(model)
        for name in ("config.json", "generation_config.json"):
            config = json.loads((model / name).read_text()) | {"eos_token_id": generation}
            (model / name).write_text(json.dumps(config))
        answer = asked(model, [ask])["a", 0]
        assert (answer.finish_reason, answer.usage.completion_tokens) == ("stop", 1)

    def test_an_adapter_says_what_it_says_merged(self, tiny_model, tmp_path):
        """And it has a name of its own in the store."""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        adapter = an_adapter(tiny_model, tmp_path / "adapter")
        merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), adapter).merge_and_unload()
        merged.save_pretrained(tmp_path / "merged")
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "merged")
        asks = [Ask(text, chat(text), 8, temperature=0.0) for text in ("1+1?", "7+5=12", "x")]
        plain, lora, whole = (
            asked(tiny_model, asks, store=Store(tmp_path / "s")),
            asked(tiny_model, asks, store=Store(tmp_path / "s"), adapter=adapter),
            asked(tmp_path / "merged", asks),
        )
        assert {key: answer.text for key, answer in lora.items()} == {key: answer.text for key, answer in whole.items()}
        assert {key: answer.text for key, answer in lora.items()} != {key: answer.text for key, answer in plain.items()}

    def test_what_cannot_be_answered_is_an_error_and_the_others_go_on(self, tiny_model):
        asks = [
            Ask("long", chat("x" * 300), 8),
            Ask("stop", chat("x"), 8, stop=("a",)),
            Ask("field", chat("x"), 8, extra={"min_tokens": 3}),
            Ask("no content", [{"role": "user"}], 8),
            *candidates(1),
        ]
        answers = asked(tiny_model, asks)
        assert answers["long", 0].failure is FailureKind.TOO_LONG and "context of 64" in answers["long", 0].message
        assert answers["stop", 0].failure is answers["field", 0].failure is FailureKind.BAD_REQUEST
        assert answers["no content", 0].failure is FailureKind.BAD_REQUEST
        assert answers["row-0", 0].text is not None

    def test_the_store_answers_again(self, tiny_model, tmp_path, monkeypatch):
        first = asked(tiny_model, candidates(), store=Store(tmp_path / "s"))
        monkeypatch.setattr(TransformersBackend, "_load", None)
        again = asked(tiny_model, candidates(), store=Store(tmp_path / "s"))
        assert {key: answer.text for key, answer in again.items()} == {
            key: answer.text for key, answer in first.items()
        }
        assert all(answer.reused for answer in again.values())
