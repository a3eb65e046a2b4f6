"""A LoRA adapter that changes what a model says."""

from pathlib import Path


def an_adapter(model: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    lora = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"])
    )
    for name, parameter in lora.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    lora.save_pretrained(folder)
    return folder
