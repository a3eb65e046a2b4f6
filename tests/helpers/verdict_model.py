r"""A tiny model that answers anything with `\boxed{A}` or `\boxed{B}`, as likely as not: a judge for real servers."""

from pathlib import Path

SIZE = {"vocabulary": 1000, "hidden": 64, "intermediate": 128, "layers": 2, "heads": 2, "kv_heads": 2}
CONTEXT = 4096


def build_verdict_model(folder: Path) -> Path:
    """Writes it to `folder` (Hugging Face layout, chat template). Takes a few seconds."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sp3f_verl.judge.questions.prompt import load_prompt
    from sp3f_verl.quickstart.model import build_model

    prompt = load_prompt("privileged")
    build_model(
        [prompt.system + prompt.user] * 4 + ["\\boxed{A} \\boxed{B}"] * 50, {**SIZE, "positions": CONTEXT}, 1, folder
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for layer in model.model.layers:  # without attention the next token depends on the last one only: on no prompt
        layer.self_attn.o_proj.weight.data.zero_()
    ids = [_conversation(tokenizer, verdict) for verdict in "AB"]
    start = len(_conversation(tokenizer, None))  # where the answer begins
    batch = torch.tensor(ids)[:, :-1]  # the template's last line break comes after the end of the answer
    trained = [parameter for name, parameter in model.named_parameters() if "o_proj" not in name]
    optimizer = torch.optim.Adam(trained, lr=3e-3)
    for _ in range(200):
        logits = model(batch).logits[:, start - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, start:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


def _conversation(tokenizer, verdict: str | None) -> list[int]:
    messages = [{"role": "user", "content": "x"}]
    if verdict is not None:
        messages.append({"role": "assistant", "content": f"\\boxed{{{verdict}}}"})
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=verdict is None, return_dict=True)
    return encoded["input_ids"]
