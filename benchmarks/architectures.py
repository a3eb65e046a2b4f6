"""Which model families train on their own log-probs: a table of docs/architecture.md, printed by benchmarks/tables.py.

A tiny random model of each family goes through what `+recipe=dpo` makes of it, without Ray: the preflight's questions
about the model, then verl's worker with our head and the check of the engine. Where a sentence names a setting that
mends, the worker is made anew with it. What is accepted at last is compared with transformers' own forward of each row
alone, on other rows than the check's: a difference is a fault of the check and ends this with exit 1.

    python benchmarks/architectures.py [NAME ...]      a line for each, with what was told on the way
"""

import multiprocessing
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
os.environ |= {"MASTER_ADDR": "127.0.0.1", "VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "VERL_LOGGING_LEVEL": "ERROR", "TOKENIZERS_PARALLELISM": "false"}

import torch
import transformers
import verl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.quickstart.model import build_tokenizer
from sp3f_verl.verl_bridge.engine import check as engine_check
from sp3f_verl.verl_bridge.preference.worker import PreferenceWorker
from sp3f_verl.verl_bridge.preflight import callback as preflight
from sp3f_verl.verl_bridge.preflight import run as preflight_run

CONFIGS = str(Path(verl.__file__).parent / "trainer" / "config")
TOLERANCE = 1e-3  # nats a token, at most; fp32 differs by less than 1e-4
LENGTHS = [(9, 31), (9, 12), (24, 40), (24, 5), (3, 17), (3, 44)]  # of prompts and responses; two rows a prompt
MENDS = ("use_fused_kernels=false", "use_remove_padding=false", "override_config.attn_implementation=eager")
AS_IT_COMES = "as the recipe has it: rows packed, fused head"
SIZES = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.3},
    **{"bos_token_id": None, "sliding_window": 8},
}
PLAIN = {"head_dim": None, "sliding_window": None}  # these configs have no such fields
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
ROUTED |= {"n_shared_experts": 1, "first_k_dense_replace": 1}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
LATENT |= {"num_key_value_heads": 4}
LINEAR = {"layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4}
LINEAR |= {"linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
CONVOLUTION = {"layer_types": ["conv", "full_attention"]}
HEADS = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
PER_LAYER = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 300, "num_kv_shared_layers": 0}
FIRST = {"original_max_position_embeddings": 30}
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, **FIRST}
# family -> (transformers' name of it, settings beside SIZES)
ARCHITECTURES: dict[str, tuple[str, dict]] = {
    "AFMoE": ("Afmoe", {**EXPERTS, "num_dense_layers": 1}),
    "Apertus": ("Apertus", PLAIN),
    "Arcee": ("Arcee", {}),
    "Bamba": ("Bamba", {**HEADS, **PLAIN, "attn_layer_indices": [1]}),
    "BioGPT": ("BioGpt", PLAIN),
    "BitNet": ("BitNet", PLAIN),
    "BLOOM": ("Bloom", {**PLAIN, "n_layer": 2, "n_head": 4}),
    "CodeGen": ("CodeGen", {**PLAIN, "rotary_dim": 4}),
    "Cohere": ("Cohere", {"logit_scale": 0.0625}),
    "Cohere 2": ("Cohere2", {"logit_scale": 0.25}),
    "DeepSeek-V2": ("DeepseekV2", {**ROUTED, **LATENT}),
    "DeepSeek-V3": ("DeepseekV3", {**ROUTED, **LATENT}),
    "dots1": ("Dots1", ROUTED),
    "ERNIE 4.5": ("Ernie4_5", {}),
    "EXAONE 4": ("Exaone4", {"sliding_window_pattern": 2}),
    "Falcon": ("Falcon", {**PLAIN, "alibi": False}),
    "Falcon (ALiBi)": ("Falcon", {**PLAIN, "alibi": True}),
    "Falcon-H1": ("FalconH1", {**HEADS, "mamba_d_ssm": 64}),
    "Falcon-Mamba": ("FalconMamba", {**PLAIN, "state_size": 8}),
    "Gemma": ("Gemma", {}),
    "Gemma 2": ("Gemma2", {"query_pre_attn_scalar": 8}),
    "Gemma 3": ("Gemma3", {"query_pre_attn_scalar": 8}),
    "Gemma 4": ("Gemma4", {**PER_LAYER, "num_global_key_value_heads": 2, "global_head_dim": 8}),
    "GLM": ("Glm", {}),
    "GLM-4": ("Glm4", {}),
    "GLM-4.5": ("Glm4Moe", ROUTED),
    "GPT-2": ("GPT2", PLAIN),
    "GPT-BigCode": ("GPTBigCode", PLAIN),
    "GPT-J": ("GPTJ", {**PLAIN, "rotary_dim": 4}),
    "GPT-Neo": ("GPTNeo", {**PLAIN, "num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 8}),
    "GPT-NeoX": ("GPTNeoX", PLAIN),
    "gpt-oss": ("GptOss", LOCAL),
    "Granite": ("Granite", {"logits_scaling": 8.0}),
    "Granite 4 hybrid": (
        "GraniteMoeHybrid",
        {**HEADS, "layer_types": ["mamba", "attention"], "num_local_experts": 0, "shared_intermediate_size": 32},
    ),
    "Granite MoE": ("GraniteMoe", LOCAL),
    "Helium": ("Helium", {}),
    "Hunyuan": ("HunYuanDenseV1", {}),
    "Jamba": (
        "Jamba",
        {**PLAIN, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    ),
    "LFM2": ("Lfm2", {**CONVOLUTION, "block_auto_adjust_ff_dim": False}),
    "LFM2 MoE": ("Lfm2Moe", {**CONVOLUTION, **EXPERTS, "num_dense_layers": 1}),
    "Llama": ("Llama", {}),
    "Llama (dynamic NTK)": (
        "Llama",
        {"max_position_embeddings": 30, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "Llama 4": (
        "Llama4",
        {
            **LOCAL,
            "intermediate_size_mlp": 64,
            "attention_chunk_size": 100,
            "no_rope_layers": [1, 0],
            "moe_layers": [0],
        },
    ),
    "Mamba": ("Mamba", {**PLAIN, "state_size": 8}),
    "Mamba 2": ("Mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16}),
    "MiniMax": ("MiniMax", {**LOCAL, "layer_types": ["linear_attention", "full_attention"], "block_size": 16}),
    "Mistral": ("Mistral", {}),
    "Mixtral": ("Mixtral", LOCAL),
    "MPT": ("Mpt", {**PLAIN, "d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 512}),
    "Nemotron": ("Nemotron", {}),
    "Nemotron-H": (
        "NemotronH",
        {
            **{"layers_block_type": ["mamba", "attention"], "mamba_num_heads": 8, "mamba_head_dim": 8},
            **{"n_groups": 1, "ssm_state_size": 8, "chunk_size": 16},
        },
    ),
    "OLMo": ("Olmo", PLAIN),
    "OLMo 2": ("Olmo2", PLAIN),
    "OLMo 3": ("Olmo3", {"head_dim": None}),
    "OLMoE": ("Olmoe", {**PLAIN, "num_experts": 4, "num_experts_per_tok": 2}),
    "OPT": ("OPT", {**PLAIN, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "Persimmon": ("Persimmon", PLAIN),
    "Phi": ("Phi", PLAIN),
    "Phi-3": ("Phi3", PLAIN),
    "Phi-3 (LongRoPE)": (
        "Phi3",
        {**PLAIN, **FIRST, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, **FACTORS}},
    ),
    "Phi-MoE": ("Phimoe", {**PLAIN, **LOCAL}),
    "Qwen2": ("Qwen2", PLAIN),
    "Qwen2 MoE": ("Qwen2Moe", {**PLAIN, **EXPERTS, "shared_expert_intermediate_size": 16}),
    "Qwen3": ("Qwen3", {}),
    "Qwen3 MoE": ("Qwen3Moe", EXPERTS),
    "Qwen3-Next": ("Qwen3Next", {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 16}),
    "Qwen3.5": ("Qwen3_5", LINEAR),
    "RecurrentGemma": (
        "RecurrentGemma",
        {"block_types": ["recurrent", "attention"], "attention_window_size": 8, "lru_width": 32},
    ),
    "RWKV": ("Rwkv", {**PLAIN, "attention_hidden_size": 32, "context_length": 512}),
    "Seed-OSS": ("SeedOss", {}),
    "SmolLM3": ("SmolLM3", PLAIN),
    "StableLM": ("StableLm", PLAIN),
    "StarCoder2": ("Starcoder2", {"head_dim": None}),
    "XGLM": ("XGLM", {**PLAIN, "d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4}),
    "xLSTM": ("xLSTM", {**PLAIN, "num_heads": 4, "num_blocks": 2, "chunk_size": 16}),
}


def recipe() -> OmegaConf:
    with initialize_config_dir(version_base=None, config_dir=CONFIGS):
        return compose("ppo_trainer", ["+recipe=dpo", "device=cpu"])


def build(kind: str, settings: dict, folder: str) -> None:
    tokenizer = build_tokenizer(["What is 7+5?", "7+5=12"] * 3, 300)
    own = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    given = {name: value for name, value in {**SIZES, **own, **settings}.items() if name not in PLAIN or value}
    names = (f"{kind}ForCausalLM", f"{kind}LMHeadModel")
    owner = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    torch.manual_seed(7)
    model = owner(owner.config_class(**given)).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rows_of(vocabulary: int) -> dict[str, torch.Tensor]:
    draw, ids = torch.Generator().manual_seed(3), []
    for number, (before, after) in enumerate(LENGTHS):
        prompt = ids[-1][:before] if number % 2 else torch.randint(3, vocabulary, (before,), generator=draw)
        ids.append(torch.cat([prompt, torch.randint(3, vocabulary, (after,), generator=draw)]))
    return engine_check.rows(ids, [before for before, _ in LENGTHS], [number // 2 for number in range(len(ids))])


def alone(folder: str, rows: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """By transformers, with the plainest attention."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    found = []
    with torch.no_grad():
        for ids, (before, _) in zip(rows["input_ids"].unbind(), LENGTHS, strict=True):
            logps = model(ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
            found.append(logps.gather(-1, ids[1:, None])[before - 1 :, 0])
    return found


def attempt(config, folder: str, mends: tuple[str, ...]) -> str | float:
    """The sentence with which it is refused or doubted, or how far the worker's log-probs are from the model's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    torch.set_num_threads(1)
    OmegaConf.update(config, "actor_rollout_ref.model.path", folder)
    for mend in mends:
        key, _, value = mend.partition("=")
        OmegaConf.update(config, f"actor_rollout_ref.model.{key}", False if value == "false" else value)
    rows = rows_of(transformers.AutoConfig.from_pretrained(folder).get_text_config().vocab_size)
    expected = alone(folder, rows)  # before verl changes the class
    try:
        for check in (preflight.device, preflight.engine_check, preflight_run.attention, preflight_run.longest_row):
            check(config)
        OmegaConf.resolve(config)
        worker = PreferenceWorker(config=config.actor_rollout_ref, role="actor")
        worker.init_model()
    except BadInput as refused:
        return str(refused)
    engine = worker.actor.engine
    if doubt := engine_check.doubt_of(engine):
        return doubt
    found = engine_check.log_probs(engine, rows, len(LENGTHS), engine.model_config.use_fused_kernels)
    return max((one - other).abs().max().item() for one, other in zip(found, expected, strict=True))


def in_a_process(task, *arguments):
    """verl changes classes for as long as a process lives, and talks."""

    def run(pipe):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            pipe.send(task(*arguments))
        except Exception as error:  # a stack where a sentence is due
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(there,))
    process.start()
    there.close()
    answer = here.recv()
    process.join()
    return answer


def outcome(config, name: str, folder: str) -> tuple[str, str]:
    """(with what it trains exactly, or how it does not; what was told last)."""
    kind, settings = ARCHITECTURES[name]
    if fault := in_a_process(build, kind, settings, folder):
        raise SystemExit(f"{name} cannot be built: {fault}")
    mends: tuple[str, ...] = ()
    while True:
        told = in_a_process(attempt, config, folder, mends)
        if isinstance(told, str):
            further = [mend for mend in MENDS if mend not in mends and _names(told, mend)]
            if not further:
                return "refused", told.replace(folder, "the model")
            mends += (further[0],)
            print(f"    {name}: {told.replace(folder, 'the model')}", file=sys.stderr, flush=True)
        elif isinstance(told, float) and told < TOLERANCE:
            return ", ".join(f"`{mend}`" for mend in MENDS if mend in mends) or AS_IT_COMES, f"{told:.0e}"
        else:
            return "WRONG", f"{mends}: {told}"


def _names(told: str, mend: str) -> bool:
    key, _, value = mend.partition("=")
    return bool(re.search(rf"set {re.escape(mend)}|{re.escape(key)}=\w+; set it to {value}", told))


def outcomes(names: list[str]) -> Iterator[tuple[str, str, str]]:
    config = recipe()
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            yield name, *outcome(config, name, str(Path(place) / name.replace(" ", "-")))


def outcomes_by_family() -> tuple[list[str], list[list]]:
    """Head and rows; SystemExit where the check let a wrong one through."""
    found: dict[str, list[str]] = {}
    for name, how, told in outcomes(list(ARCHITECTURES)):
        if how == "WRONG":
            raise SystemExit(f"{name}: {told}")
        found.setdefault(how, []).append(name)
    order = sorted(found, key=lambda how: (how == "refused", how != AS_IT_COMES, how.count("`"), how))
    return ["exact", "families", ""], [[how, ", ".join(found[how]), len(found[how])] for how in order]


if __name__ == "__main__":
    wrong = 0
    for name, how, told in outcomes(sys.argv[1:] or list(ARCHITECTURES)):
        print(f"{name}: {how} ({told})", flush=True)
        wrong += how == "WRONG"
    sys.exit(min(wrong, 1))
