"""Run as a process (tests/verl_bridge/test_engine_check.py): what the engine check says of tiny models.

Arguments: an empty folder, an output file. Writes {case: sentence, or null} as JSON. Models are drawn here, in fp32.
"""

import json
import os
import sys
from pathlib import Path

from helpers.processes import free_port

os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "RANK": "0", "WORLD_SIZE": "1"}
os.environ |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1"}

import torch
import transformers
from verl.workers.config import HFModelConfig

from helpers.training_engine import training_engine
from sp3f_verl.quickstart.model import build_tokenizer
from sp3f_verl.training.preference import attention
from sp3f_verl.verl_bridge.engine import check as engine_check
from sp3f_verl.verl_bridge.preference import head

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": None,
}
CONVOLUTION = {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}
STATE_SPACE = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16}
CHUNKS = {  # longer than all rows together; the engine packs thousands of tokens
    **{"attention_chunk_size": 1000, "intermediate_size_mlp": 64, "num_local_experts": 2, "head_dim": 8},
    **{"no_rope_layers": [1, 0], "moe_layers": [0], "pad_token_id": 0},
}
# case -> (kind of model, its settings, packed, fused, preference training's attention and head)
CASES = {
    "attention only": ("Llama", {}, True, False, False),
    "attention only, fused": ("Llama", {}, True, True, False),
    "attention only, shared prompts": ("Llama", {}, True, True, True),
    "attention only, bf16": ("Llama", {}, True, True, True),
    "window": ("Mistral", {"sliding_window": 4}, True, True, True),
    "convolution": ("Lfm2", CONVOLUTION, True, False, False),
    "convolution, bf16": ("Lfm2", CONVOLUTION, True, False, False),
    "convolution, fused, preference": ("Lfm2", CONVOLUTION, True, True, True),
    "convolution, padded": ("Lfm2", CONVOLUTION, False, False, False),
    "state space": ("Mamba2", STATE_SPACE, True, False, False),
    "chunks": ("Llama4", CHUNKS, True, False, False),
    "chunks, padded": ("Llama4", CHUNKS, False, False, False),
    "cap in attention": ("Gemma2", {"head_dim": 8, "query_pre_attn_scalar": 8}, True, False, False),
    "bias": ("Phi", {}, True, True, False),
    "bias, plain": ("Phi", {}, True, False, False),
    "scale": ("Granite", {"logits_scaling": 3.0}, True, True, True),
    "scale of one": ("Granite", {"logits_scaling": 1.0}, True, True, True),
    "soft cap, bf16": ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 3.0}, True, True, True),
    "no body named model": ("GPTNeoX", {}, True, True, False),
}


def build(case: str, folder: Path):
    kind, settings, packed, fused, preference = CASES[case]
    tokenizer = build_tokenizer(["What is 7+5?", "7+5=12"] * 3, 300)
    own = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(7)
    owner = getattr(transformers, f"{kind}ForCausalLM")
    config = owner.config_class(**{**SIZES, **own, **settings})
    owner.forward = vars(owner).get("_forward_before_verl", owner.forward)  # verl's stays for the whole process
    model = owner(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    engine = training_engine(
        HFModelConfig(
            path=str(folder),
            use_remove_padding=packed,
            use_fused_kernels=fused,
            fused_kernel_options={"impl_backend": "torch"},
            override_config={"attn_implementation": "eager" if kind == "Mamba2" else "sdpa"},
        ),
        "bf16" if "bf16" in case else "fp32",
    )
    if preference:
        head.install(engine, share=attention.install(engine))
    return engine


def main(folder: str, output: str) -> None:
    faults = {}
    for number, case in enumerate(CASES):
        engine = build(case, Path(folder) / str(number))
        faults[case] = engine_check.fault_of(engine) or engine_check.doubt_of(engine)
    Path(output).write_text(json.dumps(faults))


if __name__ == "__main__":
    main(*sys.argv[1:])
