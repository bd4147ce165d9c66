"""This project's whole training loop on given images, rows, random draws and weights, recorded under the keys of
`tests/golden/e2e`: `from tests.trajectory import record`.
"""

from contextlib import suppress

import numpy as np
import torch

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.errors import Interrupted
from daso.protocol.crest import Crest
from daso.protocol.crt import Crt
from daso.run.build import build
from daso.schema.learners import Offer
from daso.train import evaluate
from daso.train.engine import Engine
from daso.train.loop import SURVEY, State, evaluated, opinions_of, predictor, tallies, train
from daso.types import Batch, Sizes
from tests.golden_fill import fill, parameters_in_order, sample
from tests.training import CPU, Rows

F64 = torch.float64
VIEWS = {  # rows of a pool's `unlabeled_views`: identity, weak, strong A, strong B; as many as the learner wants
    "supervised": (),
    "retrain": (),
    "pseudolabel": (1,),
    "meanteacher": (1, 0),
    "mixmatch": (1, 0),
    "remixmatch": (1, 2, 3),
    "usadtm": (0, 1, 2),
    "fixmatch": (1, 2, 3),
    "cpe": (1, 2),
}
LOSSES = {"cls": "loss_cls", "cons": "loss_cons", "align": "loss_assign", "kl": "loss_kl", "rot": "loss_rotation"}
LOSSES |= {
    "fair": "loss_fair",
    "abc": "loss_abc",
    "mi": "uc_loss",
    "bal_cls": "loss_bal_cls",
    "bal_cons": "loss_bal_cons",
}
LOSSES |= {
    f"{head}_{term}": f"loss_{head}_{term}" for head in ("cpe2", "cpe3", "out", "exp") for term in ("cls", "cons")
}
LOSSES |= {"smooth": "loss_smooth", "reliable": "loss_reliable"}
NOISE = {"lam": ("beta", 1, 0), "perm": ("perm", 1, 0), "rot": ("rot", 1, 0)}  # kind, draws a step, which of them
NOISE |= {"abc/labeled": ("bern_u", 2, 0), "abc/unlabeled": ("bern_u", 2, 1)}


def chw(u8):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(u8, -1, -3)))


def sources(pool):
    """The pool as a data set and its split; an unlabeled set of unknown labels is the data set's own."""
    labeled, unlabeled = chw(pool["labeled"]).numpy(), chw(pool["unlabeled_views"][0]).numpy()
    n, m = len(labeled), len(unlabeled)
    unknown = bool((pool["unlabeled_y"] < 0).all())
    train_x = labeled if unknown else np.concatenate([labeled, unlabeled])
    train_y = pool["labeled_y"] if unknown else np.concatenate([pool["labeled_y"], pool["unlabeled_y"]])
    arrays = Arrays(train_x, train_y, chw(pool["eval"]).numpy(), pool["eval_y"], unlabeled if unknown else None)
    rows = np.arange(m) if unknown else np.arange(n, n + m)
    return arrays, Split(np.arange(n), rows, np.arange(0))


class GivenFeed:
    """Gives every step its rows and prepared views; labels and the extended labeled set are the real feed's."""

    def __init__(self, parts, pool, labeled, unlabeled, first):
        self.feed, self.views, self.first = parts.feed, parts.views, first
        self.labeled, self.unlabeled = labeled, unlabeled
        self.images, self.prepared = chw(pool["labeled"]), chw(pool["unlabeled_views"])
        self.view_rows = VIEWS[parts.config.algorithm.name][: len(parts.learner.views)]
        self.extra, self.further = len(parts.learner.labeled_views) - 1, len(parts.method.further_views)

    def draw(self, step):
        at, feed = self.labeled[step - self.first], self.feed
        if at.dtype.kind == "f":
            at = (at * len(feed.labeled_y)).astype(int)
        given = {"rows/labeled": feed.labeled_rows[at], "labels": feed.labeled_y[at]}
        return given | {"rows/unlabeled": torch.from_numpy(self.unlabeled[step - self.first])}

    def batch(self, given, flags=()):
        rows, idx, n = given["rows/labeled"], given["rows/unlabeled"], len(self.images)
        x = torch.stack([self.images[r] if r < n else self.prepared[1][r - n] for r in rows])
        truth = self.feed.pool.unlabeled_y
        x, *turned = (self.views.normalise(image, F64) for image in (x, x.flip(3), x.flip(2)))
        views = tuple(self.views.normalise(self.prepared[v][idx], F64) for v in self.view_rows)
        return (
            Batch(x, given["labels"], views, idx, tuple(turned[: self.extra]), tuple(turned[: self.further])),
            None if truth is None else truth[idx],
        )


class Watched:
    """A training step that keeps what it gave back, and the histogram in force while it did."""

    def __init__(self, step, watch):
        self.step, self.optimizer, self.watch, self.seen = step, step.optimizer, watch, []
        self.outcomes, self.hists = [], []

    def __call__(self, batch, noise, clock, flags):
        outcome = self.step(batch, noise, clock, flags)
        self.outcomes.append(outcome)
        semantic = self.step.slots.semantic
        if semantic is not None:
            self.hists.append(semantic.hist.clone())
        self.seen.append({name: np.array(value) for name, value in self.watch(self.step.slots, outcome).items()})
        return outcome


def filled_init(net, seed, gain, filler=fill):
    """Replace `net.init` by itself followed by the fill rule; its argument is the number of the phase."""
    init = net.init

    def begin(phase):
        init(torch.Generator())
        filler(net, seed + phase, gain)

    net.init = begin


def in_order(net):
    """The parameters of a net in the order of the recordings."""
    return [p for _, _, p in parameters_in_order(net)]


def record(
    config,
    pool,
    labeled,
    unlabeled,
    draws,
    seed,
    gain,
    folder,
    first=0,
    encoder=(),
    watch=lambda slots, outcome: {},
    prepare=lambda slots: None,
    filler=fill,
    order=in_order,
):
    """Train from iteration `first` on for as many steps as `labeled` has rows for; checkpoints go to `folder`.

    `encoder`: parameters and statistics, in registration order, that a second stage starts from. `watch`: what else to
    keep after every step, by name. `prepare`: what the slots are told before the first. `filler` and `order`: how
    parameters are set, and in which order they are recorded.
    """
    parts = build(config, CPU, *sources(pool), dtype=F64)
    prepare(parts.slots)
    for net in parts.nets:
        filled_init(net, seed, gain, filler)
        net.init(0)
    feed, step = GivenFeed(parts, pool, labeled, unlabeled, first), Watched(parts.engine.step, watch)

    def given(name):
        kind, per_step, which = NOISE[name]
        return lambda t: torch.as_tensor(np.asarray(draws[kind][per_step * (t - first) + which]))

    sizes = Sizes(labeled.shape[1], unlabeled.shape[1])
    noise = {name: given(name) for name in parts.learner.draws(sizes) | parts.slots.draws(sizes)}
    engine = Engine(feed, step, parts.meters, noise, lambda stream, t: t, CPU)

    def numbered(stream, number):
        """What a survey draws, and else the number of a phase, which is all that `filled_init` reads."""
        return torch.Generator() if stream == SURVEY else number

    parts = parts._replace(engine=engine, generator=numbered)
    if encoder:
        names = parts.nets.student.encoder.state_dict()
        parts = parts._replace(protocol=Crt(config.train.steps, lambda: dict(zip(names, encoder, strict=True))))
    state, report, left = State(), Rows(), iter(range(len(labeled))[::-1])
    state.step = first
    with suppress(Interrupted):
        train(parts, state, report, folder / "checkpoint.pt", {}, lambda: None if next(left) else 15)
    return collected(parts, step, [row for event, _, row in report.kept if event == "train"], order)


def collected(parts, step, rows, order=in_order):
    """What the golden files hold of a run, as far as this project has it."""
    names = sorted(LOSSES, key=LOSSES.get)
    out = {name: np.stack([seen[name] for seen in step.seen]) for name in step.seen[0]}
    out |= {LOSSES[name]: np.array([row.get(f"train/loss_{name}", np.nan) for row in rows]) for name in names}
    out["top1"] = np.array([row[f"train/{parts.learner.train_accuracy}"] for row in rows])
    targets = [outcome.target for outcome in step.outcomes if outcome.target is not None]
    if targets:
        out["pl_per_step"] = out["log_pseudo_labels"] = np.stack([t.label for t in targets])
        out["log_pl_confidence"] = np.stack([t.conf for t in targets])
        if Offer.CONFIDENCE in parts.config.algorithm.offers:
            out["mask_per_step"] = np.stack([outcome.chosen.weight for outcome in step.outcomes])
        out["log_linear_pl"] = np.stack([t.linear.label for t in targets])
        none = np.full(len(targets[0].label), -1)
        out["log_sem_pl"] = np.stack([none if t.semantic is None else t.semantic.label for t in targets])
    for tag, net in (("model", parts.nets.student), ("ema", parts.nets.teacher)):
        weights = order(net)
        moments = [b for b in net.buffers() if b.is_floating_point()]
        out[f"{tag}_norm"] = np.array([p.detach().norm() for p in weights])
        out[f"{tag}_samples"] = sample(weights, 64)
        out[f"{tag}_buffer_norm"] = np.array([b.norm() for b in moments])
        out[f"{tag}_buffer_samples"] = sample(moments, 16)
    states = [parts.optimizer.state[p] for p in order(parts.nets.student)]
    if all("momentum_buffer" in state for state in states):
        out["mom_norm"] = np.array([state["momentum_buffer"].norm() for state in states])
    out["p_data"] = np.array(parts.counts) / sum(parts.counts)
    out["hist_in_force"] = np.array([h.tolist() for h in step.hists])
    remembering = getattr(parts.learner, "prototypes", getattr(parts.slots.semantic, "prototypes", None))
    if remembering is not None:
        out["prototypes"] = remembering.means().numpy()
    if parts.slots.refine is not None:
        out["darp_store"], out["darp_refined"] = parts.slots.refine.raw.numpy(), parts.slots.refine.refined.numpy()
    if isinstance(parts.protocol, Crest):
        last, added = f"gen{parts.protocol.generations - 1}", parts.protocol.rows
        out[f"{last}_added_unlabeled_idx"] = added[added >= 0].numpy()
        out[f"{last}_labels"] = parts.feed.labeled_y.numpy()
    predict = predictor(parts, evaluated(parts))
    with torch.no_grad():
        out["eval_logits"] = predict(parts.splits["test"][0]).numpy()
    opinions = opinions_of(parts, evaluated(parts), predict)
    metrics = evaluate.measure(tallies(parts, opinions), parts.counts).get().metrics
    names = ("cost", "cost_la", "top1", "top1_la", "top5", "top5_la")
    out["eval_metrics"] = np.array([metrics[f"test/{name}"] for name in names])
    return out
