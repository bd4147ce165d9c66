"""CReST: which unlabeled images join the labeled set, and the alignment's temperature by generation."""

import numpy as np


def selection(p, counts, alpha):
    """Rows of the unlabeled set chosen from its predictions [N,C], class by class, and their pseudo-labels."""
    counts = np.asarray(counts, np.float32)
    rate = (counts / counts.max()) ** np.float32(1 / alpha)
    confidence, label = p.max(1)
    rows, labels = [], []
    for c in range(len(counts)):
        candidates = [i for i in range(len(p)) if label[i] == c]
        candidates.sort(key=lambda i: -confidence[i].item())
        take = int(np.float32(rate[len(counts) - 1 - c] * np.float32(len(candidates))))
        rows += candidates[:take]
        labels += [c] * take
    return rows, labels


def temperature(generation, generations, t_min):
    """Temperature of the alignment's target in generation 1..generations."""
    if generations == 1:
        return 1.0
    f = (generation - 1) / (generations - 1)
    return 1 - f + f * t_min
