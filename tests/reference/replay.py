"""Whole runs: every step of a setting on given rows and draws, recorded under the keys of `tests/golden/e2e`."""

import numpy as np
import torch

from .crest import selection, temperature
from .darp import Darp
from .losses import hard, topk
from .methods import STEPS, VIEWS
from .network import made, parameters, sampled, statistics
from .optim import Sgd, learning_rate, update_ema
from .semantics import Alignment, Queues, Semantics

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
DASO_BY_FLAG = ("ALGORITHM.MEANTEACHER.APPLY_DASO", "ALGORITHM.MIXMATCH.APPLY_DASO")


def tensors(u8):
    """uint8 [N,H,W,3] -> normalised float64 [N,3,H,W]."""
    x = (np.asarray(u8, np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


class Run:
    """State of one run.

    Args:
        cfg: settings by the reference's names.
        pool: arrays of a pool file.
        classes: C.
        steps: MAX_ITER, which schedules and ramp-ups refer to.
        draws: {kind: list of draws in call order}.
        seed, gain: of the fill rule.
        darp_target: [C] assumed unlabeled class counts, if DARP is on.
    """

    def __init__(self, cfg, pool, classes, steps, draws, seed, gain, darp_target=None):
        self.cfg, self.pool, self.classes, self.steps = cfg, pool, classes, steps
        self.draws = {kind: list(values) for kind, values in draws.items()}
        self.seed, self.gain = seed, gain
        name = cfg["ALGORITHM.NAME"]
        self.step, self.views = STEPS[name], VIEWS[name]
        self.initial_counts = torch.from_numpy(np.bincount(pool["labeled_y"], minlength=classes)).double()
        self.counts, self.p_data = self.initial_counts, self.initial_counts / self.initial_counts.sum()
        self.prior = self.p_data
        self.averaged = name not in ("Supervised", "cRT")
        self.with_abc = name == "FixMatchABC" or cfg["ALGORITHM.ABC.APPLY"]
        self.crest = name.endswith("CReST")
        self.period = cfg["ALGORITHM.CREST.GEN_PERIOD_STEPS"] if self.crest else steps
        self.images, self.labels = pool["labeled"], np.asarray(pool["labeled_y"])
        self.semantics = None
        if name in ("DASO", "ReMixMatchDASO") or any(cfg[flag] for flag in DASO_BY_FLAG):
            self.semantics = Semantics(cfg, classes)
        self.queues = Queues((5 * self.counts).long().tolist(), 64) if name == "USADTM" else None
        self.darp = None
        if cfg["ALGORITHM.DARP.APPLY"]:
            self.darp = Darp(cfg, torch.as_tensor(darp_target).double(), len(pool["unlabeled_y"]), steps)
        self.alignment = None
        if cfg["MODEL.DIST_ALIGN.APPLY"]:
            remixed = name == "ReMixMatch" and self.darp is not None
            self.alignment = Alignment(self.darp.target / self.darp.target.sum() if remixed else self.p_data)
        self.generation, self.log = 1, {}
        self.begin()

    def begin(self):
        """Fresh networks and optimizer, by the fill rule of the generation."""
        heads = self.cfg["MODEL.WITH_ROTATION_HEAD"], self.with_abc
        seed = self.seed + self.generation - 1
        self.model, self.ema = (made(self.classes, seed, self.gain, *heads) for _ in range(2))
        self.optimizer = Sgd(self.model)

    def since(self, it):
        """Iteration within the generation."""
        return it % self.period if self.crest else it

    def alignment_temperature(self, it):
        if self.crest and self.cfg["ALGORITHM.CREST.PROGRESSIVE_ALIGN"]:
            return temperature(self.generation, self.steps // self.period, self.cfg["ALGORITHM.CREST.TMIN"])
        return self.cfg["MODEL.DIST_ALIGN.TEMPERATURE"]

    def draw(self, kind):
        value = self.draws[kind].pop(0)
        return float(value) if np.ndim(value) == 0 else torch.from_numpy(np.asarray(value))

    def note(self, **values):
        for key, value in values.items():
            self.log.setdefault(key, []).append(np.asarray(value))

    def next_generation(self):
        """Select from the unlabeled set, extend the initial labeled set, begin afresh."""
        self.ema.eval()
        with torch.no_grad():
            p = self.ema(tensors(self.pool["unlabeled_views"][0])).softmax(1)
        rows, labels = selection(p, self.initial_counts, self.cfg["ALGORITHM.CREST.ALPHA"])
        self.images = np.concatenate([self.pool["labeled"], self.pool["unlabeled_views"][1][rows]])
        self.labels = np.concatenate([self.pool["labeled_y"], np.asarray(labels, np.int64)])
        self.counts = torch.from_numpy(np.bincount(self.labels, minlength=self.classes)).double()
        self.prior = self.counts / self.counts.sum()
        tag, added = f"gen{self.generation}", np.array(rows, int)
        self.log |= {
            f"{tag}_n": len(self.labels),
            f"{tag}_labels": self.labels,
            f"{tag}_added_unlabeled_idx": added,
        }
        self.generation += 1
        self.begin()


def evaluation(run):
    """Logits of the pool's evaluation images, and their metrics before and after subtracting the log prior."""
    net = run.ema if run.averaged else run.model
    net.eval()
    with torch.no_grad():
        f = net.encode(tensors(run.pool["eval"]))
        z = net.auxiliary(f) if run.with_abc else net.classifier(f)
    net.train()
    y, shifted = torch.from_numpy(run.pool["eval_y"]), z - run.p_data.log()
    pairs = {"": z, "_la": shifted}
    metrics = {f"cost{tag}": float(hard(v, y).mean()) for tag, v in pairs.items()}
    metrics |= {f"top{k}{tag}": topk(v, y, k) for k in (1, 5) for tag, v in pairs.items()}
    return z, metrics


def replay(run, labeled_idx, unlabeled_idx, first=0):
    """Take the steps that `labeled_idx` [T,B] and `unlabeled_idx` [T,Bu] have rows for, from iteration `first` on.

    A row of `labeled_idx` may hold numbers of [0,1): then they are multiplied by the size of the labeled set, which a
    later generation of CReST changes.
    """
    losses = []
    for t in range(len(labeled_idx)):
        it = first + t
        rows = labeled_idx[t]
        if rows.dtype.kind == "f":
            rows = (rows * len(run.labels)).astype(int)
        run.note(labeled_idx=rows)
        x, y = tensors(run.images[rows]), torch.from_numpy(run.labels[rows])
        views = tuple(tensors(run.pool["unlabeled_views"][v][unlabeled_idx[t]]) for v in run.views)
        parts, z = run.step(run, it, x, y, views, torch.from_numpy(unlabeled_idx[t]))
        sum(parts.values()).backward()
        run.optimizer.step(learning_rate(run.cfg, run.since(it), run.period))
        if run.averaged:
            update_ema(run.ema, run.model, run.since(it))
        row = {key: float(value.detach()) for key, value in parts.items()}
        if z is not None:
            row |= {"top1": topk(z, y, 1), "top5": topk(z, y, 5)}
        losses.append(row)
        run.note(pl_hist_after_step=torch.zeros(run.classes) if run.semantics is None else run.semantics.hist)
        if run.crest and (it + 1) % run.period == 0 and it + 1 < run.steps:
            run.next_generation()
    return record(run, losses)


def record(run, losses):
    """Everything the golden files hold of a run."""
    names = sorted({key for row in losses for key in row})
    out = {
        key: np.stack(v) if isinstance(v, list) and len({np.shape(a) for a in v}) == 1 else v
        for key, v in run.log.items()
    }
    out["loss_names"] = np.array(names)
    out["losses"] = np.array([[row.get(key, np.nan) for key in names] for row in losses])
    nets = {"model": run.model} | ({"ema": run.ema} if run.averaged else {})
    for tag, net in nets.items():
        weights, moments = parameters(net), statistics(net)
        out[f"{tag}_norm"] = np.array([float(p.detach().norm()) for p in weights])
        out[f"{tag}_samples"] = sampled(weights, 64)
        out[f"{tag}_buffer_norm"] = np.array([float(b.norm()) for b in moments])
        out[f"{tag}_buffer_samples"] = sampled(moments, 16)
    out["mom_norm"] = np.array([0.0 if v is None else float(v.norm()) for v in run.optimizer.velocity])
    queues = run.semantics.queues if run.semantics else run.queues
    if queues is not None:
        out["prototypes"] = queues.prototypes().numpy()
    if run.darp is not None:
        out["darp_store"], out["darp_refined"] = run.darp.store.numpy(), run.darp.refined.numpy()
    z, metrics = evaluation(run)
    out["eval_logits"] = z.numpy()
    out["eval_metric_names"] = np.array(sorted(metrics))
    out["eval_metrics"] = np.array([metrics[key] for key in sorted(metrics)])
    out["p_data"] = run.p_data.numpy()
    return out
