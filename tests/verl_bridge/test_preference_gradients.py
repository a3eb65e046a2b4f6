"""The gradient of a batch is that of plain autograd, whatever the micro-batches, padding, head and workers."""

from pathlib import Path

import pytest
import torch

from helpers import preference_gradients
from helpers.processes import run_helper


@pytest.fixture
def model(request, tmp_path) -> Path:
    from transformers import AutoModelForCausalLM

    from sp3f_verl.quickstart.model import build_model

    folder = tmp_path / "model"
    size = {"vocabulary": 300, "hidden": 64, "intermediate": 64, "layers": 2, "heads": 2, "kv_heads": 1}
    build_model(["What is 7+5?", "7+5=12"] * 3, {**size, "positions": 64}, 1, folder)
    if request.param == "untied":
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        loaded.config.tie_word_embeddings = False
        loaded.lm_head.weight = torch.nn.Parameter(torch.randn_like(loaded.lm_head.weight) * 0.05)
        loaded.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("model", "workers"), [("untied", 1), ("tied", 2)], indirect=["model"])
def test_gradients_do_not_depend_on_how_the_batch_is_cut(model, workers, tmp_path):
    output = tmp_path / "gradients.pt"
    run_helper("preference_gradients.py", model, output, workers=workers)
    gradients = torch.load(output)
    for loss in preference_gradients.OBJECTIVES:
        expected, gradient = gradients[loss, "plain"]
        assert gradient.norm() > 1e-3
        for case in preference_gradients.CASES:
            value, other = gradients[loss, case]
            assert value == pytest.approx(expected, rel=1e-5), (loss, case)
            error = ((other - gradient).norm() / gradient.norm()).item()
            assert error < 1e-5, (loss, case, error)
            print(f"{loss:6} {case:24} relative error {error:.1e}")
    for loss in ("sft", "grpo"):
        _, gradient = gradients[loss, "logits, 1 row"]
        assert gradient.norm() > 1e-3
        for head in ("logits", "fused"):
            for case in preference_gradients.ALONE:
                _, other = gradients[loss, f"{head}, {case}"]
                error = ((other - gradient).norm() / gradient.norm()).item()
                assert error < 1e-5, (loss, head, case, error)
