"""Feature queues, prototypes, the pseudo-label histogram, the blend; distribution alignment."""

import torch
import torch.nn.functional as F


class Queues:
    """First-in-first-out queue of feature vectors per class; a prototype is its mean, zero while it is empty."""

    def __init__(self, caps, width):
        self.caps = caps
        self.rows = [[] for _ in caps]
        self.width = width

    def push(self, features, labels):
        for f, k in zip(features, labels.tolist(), strict=True):
            self.rows[k] = ([*self.rows[k], f.detach().clone()])[-self.caps[k] :]

    def prototypes(self):
        zero = torch.zeros(self.width, dtype=torch.float64)
        return torch.stack([torch.stack(q).mean(0) if q else zero for q in self.rows])


def cosines(a, b):
    """Cosine similarity of every row of a [N,D] with every row of b [K,D] -> [N,K]."""
    return torch.stack([F.cosine_similarity(a, row[None], dim=1, eps=1e-8) for row in b], 1)


class Semantics:
    """DASO's state: queues, histogram in force, pending pseudo-labels, warm-up flag."""

    def __init__(self, cfg, classes, width=64):
        self.cfg = cfg
        self.queues = Queues([cfg["MODEL.QUEUE.MAX_SIZE"]] * classes, width)
        self.hist = torch.zeros(classes, dtype=torch.float64)
        self.pending = []
        self.on = False

    def similarity(self, features):
        """Logits over the prototypes."""
        return cosines(features, self.queues.prototypes()) / self.cfg["ALGORITHM.DASO.PROTO_TEMP"]

    def weight(self, labels):
        """Share of the semantic label for each linear label [N]."""
        if not self.cfg["ALGORITHM.DASO.WITH_DIST_AWARE"]:
            return torch.full((len(labels),), self.cfg["ALGORITHM.DASO.INTERP_ALPHA"], dtype=torch.float64)
        if self.hist.sum() == 0:
            return torch.zeros(len(labels), dtype=torch.float64)
        d = (self.hist / self.hist.sum()) ** (1 / self.cfg["ALGORITHM.DASO.DIST_TEMP"])
        d = d / d.sum()
        d = d / d.max()
        return torch.stack([d[k] for k in labels])

    def blend(self, p, q):
        """Linear p [N,C] with semantic q [N,C], by p's label."""
        v = self.weight(p.argmax(1))[:, None]
        return (1 - v) * p + v * q

    def tick(self, labels, it, steps):
        """Note the step's pseudo-labels; refresh histogram and flag at its end."""
        self.pending += labels.tolist()
        if it + 1 >= self.cfg["ALGORITHM.DASO.PRETRAIN_STEPS"]:
            self.on = True
        if (it + 1) % self.cfg["ALGORITHM.DASO.PL_DIST_UPDATE_PERIOD"] == 0 and it + 1 < steps:
            self.hist = torch.tensor([float(self.pending.count(k)) for k in range(len(self.hist))], dtype=torch.float64)
            self.pending = []


class Alignment:
    """Distribution alignment over the predictions of the last `window` batches."""

    def __init__(self, target, window=128, eps=1e-6):
        self.target, self.window, self.eps = target, window, eps
        self.batches = []

    def __call__(self, p, temperature=1.0):
        self.batches = [*self.batches, p.clone()][-self.window :]
        mean = torch.cat(self.batches).mean(0)
        goal = self.target**temperature
        goal = goal / goal.sum()
        p = p * (goal + self.eps) / (mean + self.eps)
        return p / p.sum(1, keepdim=True)
