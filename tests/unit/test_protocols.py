"""Phases: what begins anew with a generation, what a second stage takes over, and which rows a class-aware round draws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from daso.errors import UserError
from daso.protocol.base import Protocol
from daso.protocol.crest import Crest, select, temperature
from daso.run.build import build, data_of
from daso.settings.checks import check
from daso.slots.supervised import LogitAdjusted
from daso.train.loop import make_stage
from daso.train.rng import generator
from tests.training import CPU, composed, trained

COUNTS = torch.tensor([27, 8, 1])


# --- generations -------------------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 300))
def test_generations_tile_the_run(steps, generations):
    generations = min(steps, generations)
    protocol = Crest(steps, generations, COUNTS, 0, 3.0)
    phases = sorted({protocol.phase(step) for step in range(steps)})
    assert [p.number for p in phases] == list(range(generations))
    assert all(a.start + a.steps == b.start for a, b in pairwise(phases))
    assert (phases[0].start, phases[-1].start + phases[-1].steps) == (0, steps)
    assert max(p.steps for p in phases) - min(p.steps for p in phases) <= 1
    assert all(p.start <= step < p.start + p.steps for step in range(steps) for p in [protocol.phase(step)])


def test_five_generations_of_the_paper_s_run_last_50000_steps_each():
    protocol = Crest(250000, 5, COUNTS, 0, 3.0)
    assert protocol.phase(49999) == (0, 0, 50000)
    assert protocol.phase(50000) == (1, 50000, 50000)
    assert protocol.phase(249999) == (4, 200000, 50000)


def test_up_to_its_first_border_evaluation_included_a_run_with_generations_is_the_base(tmp_path):
    _, rows = trained(composed("algorithm=fixmatch"), tmp_path)
    _, generations = trained(composed("algorithm=fixmatch", "protocol=crest", "protocol.generations=2"), tmp_path)
    until = [row for row in rows if row[1] <= 6]
    assert [row[:2] for row in until] == [("train", 3), ("eval", 3), ("train", 6), ("eval", 6)]
    assert [row for row in generations if row[1] <= 6] == until
    assert generations[-1] != rows[-1]


@pytest.fixture
def border(tmp_path):
    """A run with two generations, LA and alignment, when step 6 is about to be taken and the second one has begun."""
    config = composed(
        "algorithm=fixmatch", "supervised=la", "align=da", "daso=paper", "daso.warmup_steps=3", "daso.update_every=2",
        "protocol=crest_plus", "protocol.generations=2",
    )  # fmt: skip
    parts, _ = trained(config, tmp_path, stop_after=6)
    stage = make_stage(parts)
    before = {"p": stage.predict_unlabeled(), "ring": parts.slots.align.ring.clone(), "where": addresses(parts)}
    phase = parts.protocol.enter(6, stage)
    return parts, stage, phase, before


def addresses(parts):
    tensors = [*parts.nets.student.parameters(), *parts.nets.student.buffers(), *parts.nets.teacher.parameters()]
    return [t.data_ptr() for t in tensors + [s["momentum_buffer"] for s in parts.optimizer.state.values()]]


def test_a_generation_starts_from_fresh_networks_and_no_momentum_in_place(border):
    parts, stage, phase, before = border
    assert phase == (1, 6, 6)
    fresh = build(parts.config, CPU, *data_of(parts.config)).nets.student
    fresh.init(stage.generator("init", 1))
    for net in parts.nets:
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), fresh.state_dict().values()))
    assert all(not state["momentum_buffer"].any() for state in parts.optimizer.state.values())
    assert addresses(parts) == before["where"]


def test_a_generation_s_labeled_set_is_the_initial_one_and_the_selected_rows(border):
    parts, _, _, before = border
    pool, feed = parts.feed.pool, parts.feed
    rows, labels = select(before["p"], pool.counts, 3.0)
    assert len(rows) > 0
    images = pool.train_x[feed.labeled_rows]
    assert torch.equal(images, torch.cat([pool.labeled_x, pool.unlabeled_x[rows]]))
    assert torch.equal(feed.labeled_y, torch.cat([pool.labeled_y, labels]))
    assert len(pool.unlabeled_x) == 1000  # the selected ones stay in the unlabeled set


def test_a_generation_s_labeled_rows_are_rounds_of_its_own_from_their_start(border):
    parts = border[0]
    n, seed = len(parts.feed.labeled_y), parts.config.seed
    expected = torch.randperm(n, generator=generator(seed, "rows/labeled/1"))[:4]
    assert torch.equal(parts.feed(6)[0].y, parts.feed.labeled_y[expected])


def test_a_generation_adjusts_by_its_own_prior_and_keeps_the_alignment_s_window_and_goal(border):
    parts, _, _, before = border
    assert isinstance(parts.slots.labeled, LogitAdjusted)
    assert torch.equal(parts.slots.labeled.counts, torch.bincount(parts.feed.labeled_y, minlength=10))
    assert torch.equal(parts.slots.align.ring, before["ring"])
    torch.testing.assert_close(parts.slots.align.goal, parts.feed.pool.counts / parts.feed.pool.counts.sum())
    assert parts.slots.align.temperature == 0.5
    assert torch.tensor(parts.counts).equal(parts.feed.pool.counts)  # the prior of the evaluation


def test_a_generation_forgets_prototypes_and_warms_up_again(border, tmp_path):
    parts, _, phase, _ = border
    assert not parts.slots.semantic.prototypes.bank.any()
    assert parts.method.flags(6 - phase.start) == ()
    assert parts.method.flags(9 - phase.start) == ("semantic",)


def test_crest_leaves_the_alignment_s_temperature_alone(tmp_path):
    config = composed(
        "algorithm=fixmatch", "align=da", "align.temperature=0.7", "protocol=crest", "protocol.generations=2"
    )
    parts, _ = trained(config, tmp_path)
    assert parts.slots.align.temperature == 0.7


def test_the_average_starts_over_with_a_generation(tmp_path):
    config = composed("algorithm=fixmatch", "protocol=crest", "protocol.generations=2")
    parts, _ = trained(config, tmp_path, stop_after=7)  # one step into the second generation: decay 0
    for a, b in zip(parts.nets.student.parameters(), parts.nets.teacher.parameters()):
        assert torch.equal(a, b)


# --- selection ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 100), min_size=2, max_size=6), st.integers(0, 40), st.integers(0, 9))
def test_of_each_class_the_most_confident_share_is_taken(counts, n, seed):
    counts = np.array(sorted(counts, reverse=True))
    p = np.random.RandomState(seed).dirichlet(np.ones(len(counts)), n).astype(np.float32)
    rows, labels = select(torch.from_numpy(p), torch.from_numpy(counts), 3.0)
    at = 0
    for k in range(len(counts)):
        mine = [i for i in range(n) if p[i].argmax() == k]
        share = (counts[-1 - k] / counts[0]) ** (1 / 3) * len(mine)
        assume(share in (0, len(mine)) or abs(share - round(share)) > 1e-4)  # else it is for float32 to decide
        taken = int(share)
        best = sorted(mine, key=lambda i: -p[i, k])[:taken]
        assert rows[at : at + taken].tolist() == best
        assert (labels[at : at + taken] == k).all()
        at += taken
    assert at == len(rows) == len(labels)


def test_selection_goes_by_frequency_whatever_the_order_of_the_classes():
    p = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    rows, labels = select(p, COUNTS, 3.0)
    turn = torch.tensor([2, 0, 1])
    turned_rows, turned_labels = select(p[:, turn], COUNTS[turn], 3.0)
    assert sorted(zip(rows.tolist(), labels.tolist())) == sorted(
        zip(turned_rows.tolist(), turn[turned_labels].tolist())
    )


def test_the_rarest_class_is_taken_whole_and_the_most_frequent_least():
    p = torch.eye(3).repeat_interleave(9, 0)
    _, labels = select(p, COUNTS, 3.0)  # rates 1, 2/3, 1/3 from the rarest on
    assert torch.bincount(labels).tolist() == [3, 6, 9]


def test_nothing_to_select_is_an_empty_selection_of_row_numbers():
    rows, labels = select(torch.zeros(0, 3), COUNTS, 3.0)
    assert rows.dtype == labels.dtype == torch.int64
    assert len(rows) == len(labels) == 0


def test_the_temperature_of_a_single_generation_is_one():
    assert temperature(0, 1, 0.5) == 1


def test_the_base_protocol_begins_its_phase_once(monkeypatch):
    begun = []
    monkeypatch.setattr(Protocol, "begin", lambda self, phase, stage: begun.append(phase.number))
    protocol = Protocol(4)
    for step in range(4):
        protocol.enter(step, None)
    assert begun == [0]


# --- legality and identity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["algorithm=supervised", "protocol=crest"], "protocol.name=crest .* makes no pseudo-labels"),
        (["algorithm=usadtm", "protocol=crest"], "protocol.name=crest .* makes no pseudo-labels"),
        (["algorithm=supervised", "protocol=crt", "protocol.first=crest"], "protocol.first=crest .* no pseudo-labels"),
        (["algorithm=fixmatch", "protocol=crest_plus"], "protocol.name=crest_plus .* align=da"),
        (["algorithm=fixmatch", "protocol=crest", "protocol.generations=13"], "generations=13 .* train.steps=12"),
        (["algorithm=fixmatch", "protocol=crest", "protocol.generations=0"], "generations=0 .* 1 .* or more"),
        (["algorithm=fixmatch", "protocol=crest", "protocol.alpha=0"], "alpha=0.* positive"),
        (["algorithm=supervised", "protocol=crt", "protocol.retrain=0.04"], "retrain=0.04 .* no step"),
        (["algorithm=fixmatch", "sampler=class_aware", "sampler.beta=2"], "sampler.beta=2.* 1"),
    ],
)
def test_a_protocol_without_room_is_refused_at_composition(overrides, says):
    with pytest.raises(UserError, match=says):
        composed(*overrides)


def test_a_warm_up_longer_than_a_generation_is_remarked_upon():
    config = composed("algorithm=fixmatch_daso", "protocol=crest", "daso.warmup_steps=5", "daso.update_every=2")
    assert any("never blends" in sentence and "2 steps of a generation" in sentence for sentence in check(config))


@pytest.mark.parametrize(
    ("algorithm", "foreign", "own"),
    [
        ("fixmatch", "protocol.generations=2", "protocol=crest"),
        ("fixmatch_crest", "protocol.t_min=0.1", "protocol.generations=2"),
        ("fixmatch_crest_plus", "protocol.retrain=0.1", "protocol.t_min=0.1"),
    ],
)
def test_a_protocol_has_its_own_knobs_alone(algorithm, foreign, own):
    with pytest.raises(UserError, match=f"the chosen protocol has no {foreign.partition('=')[0].partition('.')[2]}"):
        composed(f"algorithm={algorithm}", foreign)
    assert composed(f"algorithm={algorithm}", own).run_key != composed(f"algorithm={algorithm}").run_key


def test_a_second_stage_has_a_sampler_of_its_own():
    key = composed("algorithm=supervised_crt").run_key
    assert composed("algorithm=supervised_crt", "sampler.beta=0.5").run_key == key
    assert composed("algorithm=supervised_crt", "protocol.beta=0.5").run_key != key


def test_a_class_aware_run_differs_from_a_random_one_in_its_labeled_rows_alone(tmp_path):
    random, aware = (
        build(config, CPU, *data_of(config)).feed(5)
        for config in (composed("algorithm=fixmatch"), composed("algorithm=fixmatch", "sampler=class_aware"))
    )
    assert not torch.equal(random[0].x, aware[0].x)
    assert torch.equal(random[0].idx, aware[0].idx)
    assert all(torch.equal(a, b) for a, b in zip(random[0].u, aware[0].u))
