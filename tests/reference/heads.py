"""CPE and SC-SSL: whole runs, image by image and class by class, on the network and the optimizer of this folder."""

import math

import numpy as np
import torch
from torch import nn

from .losses import hard
from .network import Network, activated, fill, parameters, sampled, statistics
from .optim import Sgd, update_ema
from .replay import tensors

WIDTH = 64  # features
BELOW = {"consist": 4, "uniform": 5, "inverse": 6, "gaussian": 4, "inverse gaussian": 6}  # c of each anchor


class Experts(Network):
    """Three classifiers; with `groups`, as many normalisations of the last map, registered before them."""

    def __init__(self, classes, groups=0):
        super().__init__(classes)
        first = self._modules.pop("classifier")
        self.norms = nn.ModuleList(nn.BatchNorm2d(WIDTH) for _ in range(groups))
        self.experts = nn.ModuleList([first, nn.Linear(WIDTH, classes), nn.Linear(WIDTH, classes)])
        self.to(torch.float64)

    def apart(self, x):
        """Pooled features [N,D] of each normalisation."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        last = activated(self.norm, x)
        return [norm(last).mean(dim=(2, 3)) for norm in self.norms]


class Cpe:
    """CPE's step and answers; `cuts`: ranks at which the medium and the tail group begin."""

    names = ("", "cpe2_", "cpe3_")
    taus = (0, 2, 4)

    def __init__(self, counts, threshold, cuts):
        self.log_prior, self.threshold = torch.log(torch.tensor(counts / counts.sum())), threshold
        self.cuts, self.rank = (
            (0, *cuts),
            {c: r for r, c in enumerate(sorted(range(len(counts)), key=lambda c: -counts[c]))},
        )

    def make(self, classes):
        return Experts(classes, 3)

    def step(self, net, x, y, weak, strong):
        sizes = [len(x), len(weak), len(strong)]
        features = [f.split(sizes) for f in net.apart(torch.cat([x, weak, strong]))]
        losses = {}
        for name, expert, tau in zip(self.names, net.experts, self.taus, strict=True):
            z_l, z_w = (sum(expert(f[view]) for f in features) / 3 for view in (0, 1))
            p = z_w.detach().softmax(1)
            total, terms = torch.zeros((), dtype=torch.float64), 0
            for group, cut in zip(features, self.cuts, strict=True):
                z_s = expert(group[2])
                for i, row in enumerate(p):
                    k = int(row.argmax())
                    if row[k] >= self.threshold and self.rank[k] >= cut:
                        total, terms = total + hard(z_s[i : i + 1], [k])[0], terms + 1
            losses[f"{name}cls"] = hard(z_l + tau * self.log_prior, y).mean()
            losses[f"{name}cons"] = total / (terms + 1e-12)
        return losses

    def look(self, net, images):
        """It takes no look at the unlabeled images."""

    def answer(self, net, x):
        return sum(net.experts[1](f) for f in net.apart(x)) / 3


class ScSsl:
    """SC-SSL's step and answers; one look at the unlabeled images after `first` steps."""

    def __init__(self, counts, threshold, rate, nu, floor):
        self.counts, self.log_prior, self.highest = counts, torch.log(torch.tensor(counts / counts.sum())), threshold
        self.rate, self.nu, self.floor = rate, nu, floor
        by_labels = sorted(range(len(counts)), key=lambda c: -counts[c])
        self.rank = {c: r for r, c in enumerate(by_labels)}
        self.rare = by_labels[len(counts) // 2 :]
        self.thresholds, self.began = {h: [threshold] * len(counts) for h in ("out", "exp")}, False

    def make(self, classes):
        return Experts(classes)

    def anchors(self):
        n, gamma = len(self.counts), self.counts.max() / self.counts.min()
        tail = [gamma ** (-r / (n - 1)) for r in range(n)]
        bell = [math.exp(-((r - (n - 1) / 2) ** 2) / (2 * (n / 6) ** 2)) for r in range(n)]
        bell = [b / sum(bell) for b in bell]
        rows = {"consist": tail, "uniform": [1.0] * n, "inverse": tail[::-1], "gaussian": bell}
        rows["inverse gaussian"] = [max(bell) + min(bell) - b for b in bell]
        return {name: np.array([row[self.rank[c]] for c in range(n)]) / sum(row) for name, row in rows.items()}

    def look(self, net, images):
        net.eval()
        with torch.no_grad():
            z = self.answer(net, images)
        net.train()
        share = np.bincount(z.argmax(1), minlength=len(self.counts)) / len(z)
        kl = {
            name: sum(q * math.log(q / p) for q, p in zip(share, anchor, strict=True) if q > 0)
            for name, anchor in self.anchors().items()
        }
        nearest = min(kl, key=kl.get)
        anchor, c = self.anchors()[nearest], BELOW[nearest]
        gamma = anchor.max() / anchor.min()
        for k in self.rare:
            self.thresholds["out"][k] = self.highest - (c - 4) / 10 * min(gamma / 50, 1)
            self.thresholds["exp"][k] = self.highest - (c - 3) / 5 * min(gamma / 20, 1)
        self.began = True

    def step(self, net, x, y, weak, strong):
        base, *further = net.experts
        for k in self.rare if self.began else ():
            for own in self.thresholds.values():
                own[k] = max(own[k] - self.rate * bool(further[0].bias[k] > self.nu), self.floor)
        f_l, f_w, f_s = net.encode(torch.cat([x, weak, strong])).split([len(x), len(weak), len(strong)])
        every = [self.highest] * len(self.counts)
        losses = {"cls": hard(base(f_l), y).mean(), "cons": self.consistency(base, f_w, f_s, every)}
        for name, head, tau in zip(("out", "exp"), further, (2, 4), strict=True):
            losses[f"{name}_cls"] = hard(head(f_l) + tau * self.log_prior, y).mean()
            losses[f"{name}_cons"] = 2 * self.consistency(head, f_w, f_s, self.thresholds[name])
        return losses

    def consistency(self, head, f_w, f_s, thresholds):
        confidence, label = head(f_w).detach().softmax(1).max(1)
        mask = [float(c >= thresholds[k]) for c, k in zip(confidence, label, strict=True)]
        return (torch.tensor(mask, dtype=torch.float64) * hard(head(f_s), label)).mean()

    def answer(self, net, x):
        return net.encode(x) @ net.experts[1].weight.T


def run(method, pool, labeled, unlabeled, seed, gain, first=0):
    """Losses, by name, and the nets at the end, under the keys of the golden files."""
    classes = len(np.unique(pool["labeled_y"]))
    model, ema = (method.make(classes) for _ in range(2))
    for net in (model, ema):
        fill(net, seed, gain)
    optimizer, rows = Sgd(model), []
    for t, (at, u) in enumerate(zip(labeled, unlabeled, strict=True)):
        x, y = tensors(pool["labeled"][at]), torch.from_numpy(pool["labeled_y"][at])
        losses = method.step(model, x, y, *(tensors(pool["unlabeled_views"][view][u]) for view in (1, 2)))
        sum(losses.values()).backward()
        optimizer.step(0.01)
        update_ema(ema, model, t)
        rows.append({name: float(loss.detach()) for name, loss in losses.items()})
        if t + 1 == first:
            method.look(model, tensors(pool["unlabeled_views"][0]))
    out = {f"loss_{name}": np.array([row[name] for row in rows]) for name in rows[0]}
    for tag, net in (("model", model), ("ema", ema)):
        out[f"{tag}_norm"] = np.array([float(p.detach().norm()) for p in parameters(net)])
        out[f"{tag}_samples"] = sampled(parameters(net), 64)
        out[f"{tag}_buffer_samples"] = sampled(statistics(net), 16)
    ema.eval()
    with torch.no_grad():
        out["eval_logits"] = method.answer(ema, tensors(pool["eval"])).numpy()
    return out
