"""What a run warns of while it trains, and the numbers that the warnings are about."""

import numpy as np
import pytest
import torch

from daso.schema import (
    AcrDebias,
    CclDebias,
    CdmadDebias,
    CountedBy,
    DebiasPlDebias,
    Precision,
    SawBalance,
    SimProDebias,
)
from daso.slots.acr import SHARES, Acr
from daso.slots.ccl import Ccl
from daso.slots.cdmad import Cdmad
from daso.slots.debiaspl import DebiasPl
from daso.slots.saw import Saw
from daso.slots.simpro import SimPro
from daso.train.alarms import collapse, not_finite, noted
from daso.train.meters import TRUTH, Meters
from daso.types import Clock, Sizes, Target
from tests import toy

C = 4
COUNTS = torch.tensor([40, 20, 10, 5])


def target(plain, adjusted):
    p = adjusted.softmax(1)
    conf, label = p.max(1)
    return Target(p, label, conf, None, None, adjusted, plain)


def test_a_kind_is_told_once_and_kept_with_its_last_step():
    warned, new = noted([], 10, "A class has left.")
    assert (warned, new) == (["Step 10: A class has left."], True)
    warned, new = noted(warned, 20, "A class has left.")
    assert (warned, new) == (["Step 20: A class has left."], False)
    warned, new = noted(warned, 30, "The network never predicts class 3 on the test set.")
    assert new
    warned, new = noted(warned, 40, "The network never predicts classes 2, 3 on the test set.")
    assert not new
    assert [said.partition(":")[0] for said in warned] == ["Step 20", "Step 40"]


def test_at_chance_a_network_may_have_collapsed_or_not_begun_to_learn():
    (said,) = collapse(25.0, torch.ones(C, C), progress=1.0)
    assert said == "The balanced test accuracy is at chance (25 %): the network has not learned yet, or has collapsed."


def test_what_is_not_finite_is_told_with_the_checkpoint_that_there_is_and_a_remedy_that_is_one():
    assert not_finite("loss", 50, 0, Precision.fp32) == (
        "The loss is not finite at step 50, and no checkpoint was written before: a smaller optim.lr usually helps."
    )
    said = not_finite("network", 300, 250, Precision.tf32)
    assert "and its checkpoint of step 250 stays: a smaller optim.lr, or train.precision=fp32, usually" in said


def test_acr_warns_of_a_strength_that_a_lost_class_has_frozen():
    part = Acr(COUNTS, torch.zeros(8, dtype=torch.bool), 0.95, 0, AcrDebias())
    measured = {name: float(value) for name, value in part.metrics().items() if value.ndim == 0}
    assert part.alarms(measured) == []
    part.distance.fill_(torch.inf)
    (said,) = part.alarms(measured | {"tau/frozen": float(part.metrics()["tau/frozen"])})
    assert "tau/frozen" in said


def test_acr_s_shares_count_what_the_unions_let_in():
    part = Acr(COUNTS, torch.zeros(4, dtype=torch.bool), 0.6, 0, AcrDebias())
    sure, unsure = torch.tensor([5.0, 0, 0, 0]), torch.tensor([0.1, 0, 0, 0])
    other = torch.tensor([0, 5.0, 0, 0])
    plain, adjusted = torch.stack([sure, sure, unsure, unsure]), torch.stack([sure, unsure, unsure, unsure])
    own, fixed = torch.stack([sure, sure, other, unsure]), torch.stack([sure, sure, sure, sure])

    def labels(z):
        conf, label = z.softmax(1).max(1)
        return type("Labels", (), {"conf": conf, "label": label})

    part._note(target(plain, adjusted), labels(own), labels(fixed))
    found = {name: value.item() for name, value in part.metrics().items() if name in SHARES}
    expected = {"only/before": 0.25, "only/standard": 0.25, "agree/fixed": 1.0, "agree/balanced": 0.75}
    assert found == expected


def test_cdmad_says_what_its_bias_is_like_and_warns_of_one_that_is_too_large():
    part = Cdmad(COUNTS, torch.ones(3), toy.SIDE, 0, CdmadDebias())
    part.bias.copy_(COUNTS.log())
    part.used.copy_(part.bias)
    part.adjust(torch.tensor([[0.0, 1, 0, 0], [9, 0, 0, 0]]), None, None)
    found = part.metrics()
    np.testing.assert_allclose(found["bias/labeled"], 1, rtol=1e-5)
    assert found["bias/flipped"] == 0.5
    assert part.alarms({"bias/spread": 19.0}) == []
    assert len(part.alarms({"bias/spread": 21.0})) == 1


def test_simpro_warns_where_hardly_any_image_is_confident():
    part = SimPro(COUNTS, 100, Sizes(4, 8), SimProDebias())
    found = part.metrics()
    np.testing.assert_allclose(found["prior/entropy"], np.log(C), rtol=1e-6)
    assert found["prior/fresh"].sum() == 0
    part.mass.copy_(torch.tensor([3.0, 1, 0, 0]))
    np.testing.assert_allclose(part.metrics()["prior/fresh"], [0.75, 0.25, 0, 0])
    assert part.alarms({"prior/mass": 0.5}) == []
    assert len(part.alarms({"prior/mass": 0.05})) == 1


def test_estimates_are_compared_with_the_truth_where_it_is_known():
    truth = np.array([0.4, 0.3, 0.2, 0.1])
    values = {f"{name}/class/{k}": share for name in TRUTH for k, share in enumerate(truth)}
    meters = Meters(C, 0.95, torch.device("cpu"), prior=truth, everything=truth)
    found = meters.with_distances(values)
    for name in ("prior/l1", "prior/kl", "prior/fresh_kl", "prior/all/l1", "prior/all/kl", "balance/l1", "balance/kl"):
        assert found[name] == pytest.approx(0, abs=1e-12)
    assert found["bias/unlabeled"] == pytest.approx(np.corrcoef(truth, np.log(truth))[0, 1])
    assert Meters(C, 0.95, torch.device("cpu")).with_distances(values) == values
    flat = {f"bias/class/{k}": 0.5 for k in range(C)}
    assert meters.with_distances(flat)["bias/unlabeled"] == 0


def test_the_prior_of_all_images_is_compared_with_that_of_all_images():
    everything, estimate = np.array([0.7, 0.1, 0.1, 0.1]), [0.4, 0.3, 0.2, 0.1]
    meters = Meters(C, 0.95, torch.device("cpu"), prior=np.full(C, 1 / C), everything=everything)
    found = meters.with_distances({f"prior/all/class/{k}": share for k, share in enumerate(estimate)})
    assert found["prior/all/l1"] == pytest.approx(0.3 + 0.2 + 0.1)
    assert found["prior/all/kl"] == pytest.approx((everything * np.log(everything / estimate)).sum())


def test_debiaspl_says_how_many_labels_it_changes_and_how_even_its_prior_is():
    part = DebiasPl(C, DebiasPlDebias(strength=1.0))
    part.mean.copy_(torch.tensor([0.7, 0.1, 0.1, 0.1]))
    part.adjust(torch.tensor([[1.0, 0, 0, 0], [9.0, 0, 0, 0]]), None, None)
    found = part.metrics()
    q = found["prior/estimate"].numpy()
    assert found["bias/flipped"] == 0.5
    np.testing.assert_allclose(found["prior/entropy"], -(q * np.log(q)).sum())


def test_saw_says_what_it_counts_images_for_unless_a_survey_does_or_nothing_is_weighed():
    part = Saw(COUNTS, 6, SawBalance())
    part.store.copy_(torch.tensor([3, -1, 0, 3, -1, 1]))
    np.testing.assert_array_equal(part.metrics()["balance/counts"], [1, 1, 0, 2])
    assert "balance/counts" not in Saw(COUNTS, 6, SawBalance(counted_by=CountedBy.survey)).metrics()
    assert Saw(COUNTS, 6, SawBalance(scale=0)).metrics() == {}


def ccl(**knobs):
    return Ccl(COUNTS, torch.zeros(8, dtype=torch.bool), Sizes(2, 4), toy.SIDE, 3, CclDebias(every=2, epoch=4, **knobs))


def clock(step, steps=10):
    return Clock(torch.tensor(step), torch.tensor(step / steps))


def alarms_of(part):
    scalars = {name: value.item() for name, value in part.metrics().items() if value.ndim == 0}
    return part.alarms(scalars | {f"prior/estimate/class/{k}": 0.25 for k in range(C)})


def test_ccl_warns_of_a_window_in_which_no_image_has_a_low_energy():
    part = ccl()
    far, near = (torch.full((4, C), value) for value in (0.0, 100.0))
    told = []
    for step, logits in enumerate((near, far, near, far, far, far, near, far)):  # of the windows' four, one is empty
        part.note(target(logits, logits), torch.arange(4))
        part.follow(clock(step))
        told.append(alarms_of(part))
    assert [len(said) for said in told] == [0, 0, 0, 0, 0, 1, 0, 0]
    assert "energy of at most -8.75" in told[5][0]


def test_ccl_warns_of_smoothed_labels_that_say_nothing_late_in_a_run():
    part = ccl()
    assert alarms_of(part) == []
    part.late.fill_(True)
    (said,) = alarms_of(part)
    assert "contrast/sharpness" in said
    part.seen.fill_(0.02)
    assert alarms_of(part) == []
    assert alarms_of(ccl(balanced=False, weight=1, smooth_weight=0)) == []
