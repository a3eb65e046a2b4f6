"""Run by torchrun (tests/verl_bridge/test_distill.py): the loss of a distillation through verl's engine.

Arguments: model folder, output file. The teacher is the same model under a longer prompt; its rows take the way of a
server's answer: verl's reading of vLLM's log-probs, the cut to the response, verl's engine. Saves {case: (loss,
gradient, metrics)} and `plain`: full KL in float64 from plain Hugging Face logits.
"""

import functools
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu
from verl.workers.config import HFModelConfig
from verl.workers.rollout.vllm_rollout.utils import extract_prompt_logprobs
from verl.workers.utils.padding import no_padding_2_padding

from helpers.training_engine import gradient_of, training_engine
from sp3f_verl.training.distill.rows import empty_rows, response_rows
from sp3f_verl.training.distill.settings import Distill
from sp3f_verl.verl_bridge.rl import distill
from sp3f_verl.verl_bridge.rl.distill import distill_loss

SAMPLES = 4
FULL, SAMPLED = Distill(support="full"), Distill(support="sampled", divergence="reverse_kl")
TOP = Distill(k=5)
# case -> (settings, temperature of sampling, packed, micro-batch, c: "privileged" or "same", rows: ok, shifted, failed)
CASES = {
    "full": (FULL, 1.0, True, 4, "privileged", "ok"),
    "full, micro-batches of 1": (FULL, 1.0, True, 1, "privileged", "ok"),
    "full, padded": (FULL, 1.0, False, 2, "privileged", "ok"),
    "full, temperature 1.3": (FULL, 1.3, True, 2, "privileged", "ok"),
    "full, the last failed": (FULL, 1.0, True, 1, "privileged", "failed"),
    "full, with rewards": (FULL.model_copy(update={"reward_coef": 0.5}), 1.0, True, 2, "privileged", "ok"),
    "same": (FULL, 1.0, True, 2, "same", "ok"),
    "same, top 5": (TOP, 1.0, True, 2, "same", "ok"),
    "same, shifted": (FULL, 1.0, True, 2, "same", "shifted"),
    "sampled": (SAMPLED, 1.0, True, 2, "privileged", "ok"),
}


def sequences(vocabulary: int) -> list[tuple[torch.Tensor, ...]]:
    """(x, c, y) of each sample."""
    generator = torch.Generator().manual_seed(3)

    def ids(length: int) -> torch.Tensor:
        return torch.randint(0, vocabulary, (length,), generator=generator)

    return [(x := ids(3 + k), torch.cat([x, ids(4)]), ids(2 + 2 * k)) for k in range(SAMPLES)]


def served(logits: torch.Tensor, ids: torch.Tensor, k: int) -> tuple[list, list]:
    """What a rollout server answers of the log-probs of `ids`: vLLM's dictionaries, read by verl."""
    rows, logps = [None], logits.float().log_softmax(-1)
    for position in range(len(ids) - 1):
        own = ids[position + 1].item()
        row = {own: SimpleNamespace(logprob=logps[position, own].item(), rank=len(logps[position]) if k else 1)}
        values, tokens = logps[position].topk(k)
        row |= {
            token: SimpleNamespace(logprob=value, rank=rank + 1)
            for rank, (token, value) in enumerate(zip(tokens.tolist(), values.tolist(), strict=True))
        }
        if k and len(row) > k:
            row[own].rank = k + 1
        rows.append(row)
    found: dict[str, list] = {}
    extract_prompt_logprobs(SimpleNamespace(prompt_logprobs=rows), k, found)
    return found["prompt_ids"], found["prompt_logprobs"]


def batch_of(model, samples, settings: Distill, prompt: str, rows: str) -> dict:
    fields: dict[str, list] = {}
    k = settings.asked(model.config.vocab_size)
    for index, (x, c, y) in enumerate(samples):
        read = torch.cat([x if prompt == "same" else c, y])
        with torch.no_grad():
            ids, logps = served(model(read[None]).logits[0], read, k)
        if rows == "shifted":
            ids, logps = [ids[0], *ids[:-1]], [logps[0], *logps[:-1]]
        taught = response_rows(ids, logps, len(read) - len(y), len(x), y.tolist(), k)
        if rows == "failed" and index == len(samples) - 1:
            taught = empty_rows(len(x), len(y), k)
        whole, mask = torch.cat([x, y]), torch.ones_like(y)
        for name, value in {
            **{"input_ids": whole, "position_ids": torch.arange(len(whole)), "prompts": x, "responses": y},
            **{"response_mask": mask, "loss_mask": mask, "teacher_ids": taught[0], "teacher_logprobs": taught[1]},
            **{"old_log_probs": torch.zeros(len(y)), "advantages": torch.ones(len(y))},
        }.items():
            fields.setdefault(name, []).append(value)
    nested = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in fields.items()}
    return {**nested, "language": ["sw", "es", "sw", "es"]}


def plain(folder: str, samples) -> tuple[float, torch.Tensor]:
    """Mean over samples of the mean over tokens of KL(teacher || student), in float64, and its gradient."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    losses = []
    for x, c, y in samples:
        with torch.no_grad():
            teacher = model(torch.cat([c, y])[None]).logits[0, len(c) - 1 : -1].softmax(-1)
        student = model(torch.cat([x, y])[None]).logits[0, len(x) - 1 : -1].log_softmax(-1)
        losses.append((teacher * (teacher.log() - student)).sum(-1).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item(), torch.cat([part.grad.flatten() for _, part in sorted(model.named_parameters())])


def main(folder: str, output: str) -> None:
    config = HFModelConfig(
        path=folder, use_remove_padding=True, override_config={"attn_implementation": "sdpa"}, use_fused_kernels=False
    )
    engine = training_engine(config)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    samples = sequences(model.config.vocab_size)
    results = {"plain": plain(folder, samples)}
    for case, (settings, temperature, packed, micro_batch, prompt, taught) in CASES.items():
        actor = SimpleNamespace(
            loss_agg_mode="seq-mean-token-mean", global_batch_info={}, loss_scale_factor=None, use_kl_loss=False
        )
        actor.get, actor.policy_loss = lambda name, default=None: default, {}
        loss = functools.partial(distill_loss, config=actor, settings=settings, temperature=temperature)
        of_logits = settings.support != "sampled"
        rows = tu.get_tensordict(
            batch_of(model, samples, settings, prompt, taught),
            {
                **{"temperature": temperature, "calculate_entropy": False, "use_remove_padding": packed},
                **{"use_fused_kernels": False, "use_dynamic_bsz": False, "micro_batch_size_per_gpu": micro_batch},
                **{"distillation_use_topk": of_logits, "global_batch_size": SAMPLES},
                "distillation_only": of_logits and not settings.reward_coef,
            },
        )
        with engine.train_mode():
            engine.optimizer_zero_grad()
            out = engine.forward_backward_batch(rows, loss if case != "full, with rewards" else without_policy(loss))
            gradient = gradient_of(engine)
        metrics = {name: metric.aggregate() for name, metric in out["metrics"].items()}
        results[case] = sum(out["loss"]), gradient, metrics
    if dist.get_rank() == 0:
        torch.save(results, output)
    dist.destroy_process_group()


def without_policy(loss):
    """In place of verl's policy loss the mean over samples of the mean -log-prob: all that it adds here."""

    def policy(config, model_output, data, dp_group):
        mask = data["response_mask"].to_padded_tensor(0)
        log_probs = no_padding_2_padding(model_output["log_probs"], data)
        return -((log_probs * mask).sum(-1) / mask.sum(-1)).sum() / data["global_batch_size"], {}

    distill.ppo_loss = policy
    return loss


if __name__ == "__main__":
    main(*sys.argv[1:])
