"""From packed log-probs to a loss and its diagnostics; groups that were torn apart are refused."""

import math

import pytest
import torch

from sp3f_verl import losses
from sp3f_verl.errors import BadInput
from sp3f_verl.losses.objective import Objective, measure
from sp3f_verl.losses.table import LOSSES
from sp3f_verl.training.preference.batch_loss import batch_loss, together
from sp3f_verl.training.preference.tokens import filled_up


def packed(rows: list[tuple[int, list[float]]]):
    """(log_probs, mask, offsets) of rows given as (prompt tokens, log-probs of the response)."""
    log_probs, mask = [], []
    for prompt, logps in rows:
        log_probs += [-99.0] * (prompt - 1) + logps + [-77.0]  # about the next token; the last is about nothing
        mask += [0] * prompt + [1] * len(logps)
    lengths = torch.tensor([0, *(prompt + len(logps) for prompt, logps in rows)])
    return torch.tensor(log_probs), torch.tensor(mask), lengths.cumsum(0)


def test_dpo_by_hand():
    """chosen -1 -2, rejected -4; reference -1.5 -2.5, -3: ratios 1 and -1, beta .1, z = .2."""
    log_probs, mask, offsets = packed([(3, [-1.0, -2.0]), (3, [-4.0])])
    reference, _, _ = packed([(3, [-1.5, -2.5]), (3, [-3.0])])
    measured = measure(Objective(), log_probs, mask, offsets, reference)
    assert measured.losses.tolist() == pytest.approx([0.598139])
    by_name = {name: value.item() for name, value in measured.metrics.items()}
    expected = {
        **{"reward/chosen": 0.1, "reward/rejected": -0.1, "margin": 0.2, "accuracy": 1, "saturated": 0},
        **{"logp/chosen": -3, "logp/rejected": -4, "logp_per_token/chosen": -1.5, "logp_per_token/rejected": -4},
        **{"tokens/chosen": 2, "tokens/rejected": 1, "length_gap": 1, "log_ratio/chosen": 1, "log_ratio/rejected": -1},
        **{"order_raw/both": 1, "order_per_token/both": 1, "loss": 0.598139},
    }
    assert {name: by_name[name] for name in expected} == pytest.approx(expected)


def test_a_triplet_and_its_contingency():
    """T-SPIN on sums: y -2 in 1 token, y' -3 in 3, y0 -8: raw order agrees with the reward, per token it is turned."""
    log_probs, mask, offsets = packed([(2, [-2.0]), (2, [-1.0, -1.0, -1.0]), (2, [-8.0])])
    objective = Objective(loss="tspin", loss_type="logistic", alpha=1.0, beta=0.1)
    measured = measure(objective, log_probs, mask, offsets, None)
    expected = losses.tspin_loss(*torch.tensor([[-2.0], [-3.0], [-8.0]])).losses
    assert measured.losses.item() == pytest.approx(expected.item())
    by_name = {name: value.item() for name, value in measured.metrics.items()}
    assert by_name["history_margin"] == 5 and by_name["history_accuracy"] == 1
    assert by_name["order_raw/both"] == 1 and by_name["order_per_token/reward_only"] == 1


def test_simpo_with_a_reference_is_over_mean_log_ratios():
    """Chosen: mean log-ratio (-1 + -3)/2 - (-2 + -2)/2 = 0; rejected: -5 + 4 = -1; z = 2 (0 + 1) - 0.5 = 1.5."""
    log_probs, mask, offsets = packed([(2, [-1.0, -3.0]), (2, [-5.0])])
    reference, _, _ = packed([(2, [-2.0, -2.0]), (2, [-4.0])])
    measured = measure(Objective(loss="simpo_ref", beta=2.0, margin=0.5), log_probs, mask, offsets, reference)
    assert measured.losses.item() == pytest.approx(math.log1p(math.exp(-1.5)))
    assert (measured.metrics["reward/chosen"].item(), measured.metrics["reward/rejected"].item()) == (0.0, -2.0)


def test_means_and_the_anchor():
    log_probs, mask, offsets = packed([(2, [-1.0, -3.0]), (2, [-5.0])])
    simpo = measure(Objective(loss="simpo", beta=2.0, margin=0.5), log_probs, mask, offsets, None).losses
    assert simpo.item() == pytest.approx(losses.simpo_loss(torch.tensor(-2.0), torch.tensor(-5.0), 2.0, 0.5).losses)
    ipo = measure(Objective(loss_type="ipo", beta=0.1), log_probs, mask, offsets, torch.zeros(7)).losses
    assert ipo.item() == pytest.approx((3 - 5) ** 2), "IPO on means, as in TRL"
    sums = Objective(loss_type="ipo", beta=0.1, length_normalised=False)
    assert measure(sums, log_probs, mask, offsets, torch.zeros(7)).losses.item() == pytest.approx((1 - 5) ** 2)
    plain, anchored = (
        measure(Objective(nll_anchor=weight), log_probs, mask, offsets, torch.zeros(7)).losses.item()
        for weight in (0.0, 0.5)
    )
    assert anchored - plain == pytest.approx(0.5 * 2.0)


def test_a_mix_is_the_weighted_sum_of_its_losses_each_on_its_own_values():
    """DPO on sums of log-ratios, SimPO on means of log-probs with a beta of its own, NLL on the chosen's mean."""
    log_probs, mask, offsets = packed([(3, [-1.0, -2.0]), (3, [-4.0])])
    reference, _, _ = packed([(3, [-1.5, -2.5]), (3, [-3.0])])
    mixed = Objective(mix={"dpo": 2, "simpo": {"weight": 0.5, "beta": 2.0}, "nll": 0.25}, margin=0.5, loss_type="hinge")
    each = [
        measure(objective, log_probs, mask, offsets, reference).losses.item()
        for objective in (Objective("dpo", loss_type="hinge"), Objective("simpo", beta=2.0, margin=0.5))
    ]
    measured = measure(mixed, log_probs, mask, offsets, reference)
    assert measured.losses.item() == pytest.approx(2 * each[0] + 0.5 * each[1] + 0.25 * 1.5)
    assert measured.metrics["reward/chosen"].item() == pytest.approx(0.1), "the first one's"
    logged = [measured.metrics[f"loss/{name}"].item() for name in ("dpo", "simpo", "nll")]
    assert logged == pytest.approx([*each, 1.5])
    assert mixed.needs_reference and mixed.tied is None and not Objective(mix={"simpo": 1}).needs_reference
    assert Objective(**mixed.mapping).mapping == mixed.mapping, "what is recorded builds it again"
    assert mixed.changed(margin=1.0).parts[1][1].settings.margin == 1.0
    anchored = Objective(nll_anchor=0.3), Objective(mix={"dpo": 1, "nll": 0.3})
    values = [measure(one, log_probs, mask, offsets, reference).losses.item() for one in anchored]
    assert values[0] == pytest.approx(values[1])


def test_a_mix_is_of_the_same_rows():
    assert Objective(mix={"tspin": 1, "nll": 0.1}, beta=0.1).parts[1][1].roles == ("real", "generated", "proto")
    for mix, sentence in (
        ({"dpo": 1, "spin": 1}, "mix.spin is of real, generated, and dpo of chosen, rejected; mix losses of"),
        ({"dpo": 0}, "mix.dpo has the weight 0; give a number above 0."),
        ({"dpo": 1, "nll": {}}, "mix.nll has the weight None"),
        ({"dop": 1}, "did you mean 'dpo'"),
        ({"dpo": {"weight": 1, "betta": 1}}, "did you mean 'beta'"),
        ([], "names no losses"),
    ):
        with pytest.raises(BadInput) as error:
            Objective(mix=mix)
        assert sentence in str(error.value) and str(error.value).startswith("sp3f.preference.objective")
    with pytest.raises(BadInput, match=r"write it as nll in sp3f\.preference\.objective\.mix"):
        Objective(mix={"dpo": 1}, nll_anchor=0.1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"loss": "dop"}, "did you mean 'dpo'"),
        ({"bta": 0.1}, "bta is unknown (did you mean 'beta'"),
        ({"loss_type": "hing"}, "did you mean 'hinge'"),
        ({"loss": "simpo", "loss_type": "ipo"}, "it is one of sigmoid."),
        ({"beta": "strong"}, "beta='strong'"),
        ({"beta": -1}, "beta=-1"),
        ({"nll_anchor": float("nan")}, "nll_anchor=nan"),
        ({"loss_type": "ipo", "label_smoothing": 0.1}, "not defined for ipo"),
        ({"loss": "tspin", "loss_type": "logistic", "alpha": 0}, "alpha=0"),
    ],
)
def test_settings_at_fault_are_one_sentence(settings, sentence):
    with pytest.raises(BadInput) as error:
        Objective(**settings)
    assert sentence in str(error.value) and str(error.value).startswith("sp3f.preference.objective")


def test_every_loss_builds_from_its_defaults():
    for loss, row in LOSSES.items():
        objective = Objective(loss)
        assert (objective.roles, objective.needs_reference) == (row.roles, row.needs_reference)
        assert Objective(**objective.mapping).mapping == objective.mapping, "what is recorded builds it again"


def test_torn_groups_are_refused():
    together(torch.tensor([4, 4, 9, 9]), torch.tensor([0, 1, 0, 1]), 2)
    together(torch.tensor([4, 4, 4]), torch.tensor([0, 1, 2]), 3)
    for group, role in (([4, 9], [0, 1]), ([4, 4, 9], [0, 1, 0]), ([4, 4], [1, 0]), ([4, 4], [0, 0])):
        with pytest.raises(RuntimeError, match="torn apart"):
            together(torch.tensor(group), torch.tensor(role), 2)


def test_micro_batches_add_up_to_the_mean_of_the_batch():
    """Three groups of weights 1, 1, 0 in micro-batches of 2 and 1, on 2 ranks: verl sums, and averages over ranks."""
    log_probs, mask, offsets = packed([(2, [-1.0]), (2, [-2.0]), (2, [-3.0]), (2, [-1.0]), (2, [-9.0]), (2, [-1.0])])
    objective = Objective(loss="simpo", beta=1.0, margin=0.0)
    whole = measure(objective, log_probs, mask, offsets, None).losses

    def micro(first: int, last: int) -> tuple[torch.Tensor, dict]:
        def rows(values):
            nested = torch.nested.nested_tensor_from_jagged(values, offsets).unbind()[2 * first : 2 * last]
            return torch.nested.as_nested_tensor(list(nested), layout=torch.jagged)

        group = torch.arange(first, last).repeat_interleave(2)
        data = {
            "group": group,
            "role": torch.tensor([0, 1] * (last - first)),
            "weight": (group < 2).float(),
            "loss_mask": rows(mask),
            "dp_size": 2,
            "total_weight": 2.0,
        }
        return batch_loss(objective, rows(log_probs).values(), data)

    (first, metrics), (second, _) = micro(0, 2), micro(2, 3)
    assert (first.item() + second.item()) / 2 == pytest.approx(whole[:2].mean().item())
    assert second.item() == 0, "a group that only fills up has no part"
    assert metrics["loss"] / 2 == pytest.approx(whole[:2].mean().item())


def test_batches_are_filled_up():
    assert filled_up([5, 6, 7], 4) == ([5, 6, 7, 5], [1.0, 1.0, 1.0, 0.0])
    assert filled_up([5, 6], 2) == ([5, 6], [1.0, 1.0])
