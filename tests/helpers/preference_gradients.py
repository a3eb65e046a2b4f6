"""Run by torchrun (tests/verl_bridge/test_preference_gradients.py): gradients of the same groups, cut in many ways.

Arguments: model folder, output file. Every case has the same 8 groups, in fp32; rank 0 saves {case: (loss, gradient)}
and `plain`: autograd through the plain model, one row at a time.
"""

import functools
import sys

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig, HFModelConfig
from verl.workers.utils.losses import ppo_loss, sft_loss

from helpers.training_engine import gradient_of, training_engine
from sp3f_verl.losses.objective import Objective, measure
from sp3f_verl.training.preference import attention, response_head
from sp3f_verl.training.preference.tokens import Group, batch_of, filled_up, total_weight
from sp3f_verl.verl_bridge.preference import head
from sp3f_verl.verl_bridge.preference.balance import balanced
from sp3f_verl.verl_bridge.preference.worker import group_loss

GROUPS = 8
OBJECTIVES = {
    "dpo": Objective(),
    "anchored means": Objective(length_normalised=True, nll_anchor=0.5),
    "tspin": Objective(loss="tspin", loss_type="logistic", alpha=0.1, beta=0.3),
}
# case -> (packed, head, fixed micro-batch in groups or None, tokens of a dynamic one, groups that fill up)
CASES = {
    "packed, 1 group": (True, "logits", 1, None, 0),
    "packed, 4 groups": (True, "logits", 4, None, 0),
    "padded, 1 group": (False, "logits", 1, None, 0),
    "padded, 2 groups": (False, "logits", 2, None, 0),
    "dynamic, small": (True, "logits", None, 160, 0),
    "dynamic, large": (True, "logits", None, 4096, 0),
    "fused head, 2 groups": (True, "fused", 2, None, 0),
    "fused head, dynamic": (True, "fused", None, 200, 0),
    "response head, 2 groups": (True, "response", 2, None, 0),
    "response head, dynamic": (True, "response", None, 200, 0),
    "filled up with weight 0": (True, "logits", 2, None, 8),
    "shared prompts, 1 group": (True, "shared", 1, None, 0),
    "shared prompts, 4 groups, filled up": (True, "shared", 4, None, 8),
    "shared prompts, dynamic": (True, "shared", None, 200, 0),
    "shared prompts, checkpointing": (True, "checkpointing", 2, None, 0),
}


# verl's own losses, of single responses: case -> (fixed micro-batch in rows or None, tokens of a dynamic one)
ALONE = {"1 row": (1, None), "4 rows": (4, None), "few tokens": (None, 64), "many tokens": (None, 4096)}


def make_groups(roles: int, vocabulary: int) -> tuple[list[Group], list[tuple]]:
    generator = torch.Generator().manual_seed(roles)

    def ids(low: int, high: int):
        length = int(torch.randint(low, high, (1,), generator=generator))
        return torch.randint(0, vocabulary, (length,), generator=generator).int().numpy()

    groups = [Group(ids(3, 12), tuple(ids(2, 30) for _ in range(roles))) for _ in range(GROUPS)]
    # references off the policy's values, so that margins are away from 0
    references = [
        tuple((-6 + torch.randn(len(part), generator=generator)).numpy() for part in group.responses)
        for group in groups
    ]
    return groups, references


def plain(folder: str, objective: Objective, batch: dict) -> tuple[float, torch.Tensor]:
    """The mean loss and its gradient by ordinary autograd: one row at a time, no packing, no verl."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = []
    for ids in batch["input_ids"].unbind():
        logps = model(ids[None]).logits[0, :-1].log_softmax(-1)
        rows.append(torch.cat([logps.gather(-1, ids[1:, None])[:, 0], logps.new_zeros(1)]))
    mask = batch["loss_mask"]
    reference = batch["reference"].values() if objective.needs_reference else None
    loss = measure(objective, torch.cat(rows), mask.values(), mask.offsets(), reference).losses.mean()
    loss.backward()
    return loss.item(), torch.cat([part.grad.flatten() for _, part in sorted(model.named_parameters())])


def policy_rows(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What verl's policy loss reads besides, nested over the response's tokens: advantages, and old log-probs that some
    ratios leave the clip with."""
    generator = torch.Generator().manual_seed(0)
    fields = {name: [] for name in ("prompts", "responses", "response_mask", "old_log_probs", "advantages")}
    for ids, mask in zip(batch["input_ids"].unbind(), batch["loss_mask"].unbind(), strict=True):
        length = int(mask.sum())
        fields["prompts"].append(ids[:-length])
        fields["responses"].append(ids[-length:])
        fields["response_mask"].append(torch.ones(length, dtype=torch.long))
        fields["old_log_probs"].append(-5.7 + 0.2 * torch.randn(length, generator=generator))
        fields["advantages"].append(torch.randn(1, generator=generator).expand(length).clone())
    nested = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in fields.items()}
    return {name: rows for name, rows in batch.items() if name != "reference"} | nested


def of_verls_losses(engine, vocabulary: int, fused: bool) -> dict:
    """{(loss, case): (loss, gradient)} of SFT and of the policy loss as recipe/grpo.yaml sets it."""
    grpo = ActorConfig(
        strategy="fsdp2", clip_ratio_low=0.2, clip_ratio_high=0.28, loss_agg_mode="seq-mean-token-sum-norm",
        loss_scale_factor=64, rollout_n=1, ppo_micro_batch_size_per_gpu=1, use_torch_compile=False,
    )  # fmt: skip
    losses = {"sft": functools.partial(sft_loss, None), "grpo": functools.partial(ppo_loss, grpo)}
    ranks, rank, results = engine.get_data_parallel_size(), engine.get_data_parallel_rank(), {}
    groups, _ = make_groups(1, vocabulary)
    batch = policy_rows(batch_of(groups, range(GROUPS), [1.0] * GROUPS))
    for name, loss in losses.items():
        for case, (fixed, dynamic) in ALONE.items():
            settings = {
                "temperature": 1.0,
                "calculate_entropy": False,
                "use_remove_padding": True,
                "use_fused_kernels": fused,
                "use_dynamic_bsz": dynamic is not None,
                "max_token_len_per_gpu": dynamic,
                "micro_batch_size_per_gpu": fixed,
                "global_batch_size": GROUPS,
            }
            rows = tu.chunk_tensordict(tu.get_tensordict(batch, settings), ranks)[rank]
            with engine.train_mode():
                engine.optimizer_zero_grad()
                out = engine.forward_backward_batch(rows, loss)
                results[name, case] = (sum(out["loss"]), gradient_of(engine))
    return results


def main(folder: str, output: str) -> None:
    results = {}
    for kind in ("logits", "fused", "response", "shared", "checkpointing"):
        fused = kind != "logits"
        config = HFModelConfig(
            path=folder,
            use_remove_padding=True,
            use_fused_kernels=fused,
            fused_kernel_options={"impl_backend": "torch"},
            override_config={"attn_implementation": "sdpa"},
            enable_gradient_checkpointing=kind == "checkpointing",
        )
        engine = training_engine(config)
        if kind == "response":
            head.install(engine)
        elif kind in ("shared", "checkpointing"):
            assert attention.install(engine)
            head.install(engine, share=True)
            response_head.ONCE_TOKENS = 1  # these responses are short
        ranks, rank = engine.get_data_parallel_size(), engine.get_data_parallel_rank()
        for name, objective in OBJECTIVES.items():
            size = len(objective.roles)
            groups, references = make_groups(size, config.hf_config.vocab_size)
            if kind == "logits":
                everything = batch_of(groups, range(GROUPS), [1.0] * GROUPS, references)
                results[name, "plain"] = plain(folder, objective, everything)
            for case, (packed, of_kind, fixed, dynamic, extra) in CASES.items():
                if of_kind != kind:
                    continue
                indices, weights = filled_up(range(GROUPS), GROUPS + extra)
                order = balanced([groups[index].tokens for index in indices], ranks)
                batch = batch_of(groups, [indices[i] for i in order], [weights[i] for i in order], references)
                settings = {
                    "temperature": 1.0,
                    "force_group_size": size,
                    "calculate_entropy": False,
                    "tied": objective.tied,
                    "total_weight": total_weight(batch["weight"], size),
                    "use_remove_padding": packed,
                    "use_fused_kernels": fused,
                    "use_dynamic_bsz": dynamic is not None,
                    "max_token_len_per_gpu": dynamic,
                    "micro_batch_size_per_gpu": fixed,
                }
                rows = tu.chunk_tensordict(tu.get_tensordict(batch, settings), ranks)[rank]
                with engine.train_mode():
                    engine.optimizer_zero_grad()
                    out = engine.forward_backward_batch(rows, functools.partial(group_loss, objective=objective))
                    gradient = gradient_of(engine)
                loss = torch.tensor(sum(out["loss"]))
                dist.all_reduce(loss)
                results[name, case] = (loss.item() / ranks, gradient)
        if kind in ("logits", "fused"):
            alone = of_verls_losses(engine, config.hf_config.vocab_size, fused)
            results |= {(loss, f"{kind}, {case}"): value for (loss, case), value in alone.items()}
    if dist.get_rank() == 0:
        torch.save(results, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
