"""Loss functions, per sample wherever a mean would hide the divisor."""

import torch

TINY = 2.22e-16


def hard(z, y):
    """Cross entropy of each row of logits [N,C] with class indices [N] -> [N]."""
    log_p = torch.log_softmax(z, 1)
    return torch.stack([-log_p[i, y[i]] for i in range(len(z))])


def soft(z, q):
    """Cross entropy of each row of logits [N,C] with distributions [N,C] -> [N]."""
    return -(q * torch.log_softmax(z, 1)).sum(1)


def class_weights(counts, beta):
    """Class-balanced weights, which sum to C."""
    w = (1 - beta) / (1 - beta**counts) if beta < 1 else 1 / counts
    return w * len(counts) / w.sum()


def ldam(z, y, counts, weights, max_margin=0.5, scale=30):
    """Label-distribution-aware margin loss; weighted mean, so divided by the weights' sum."""
    margins = counts**-0.25
    margins = margins * max_margin / margins.max()
    shifted = z.clone()
    for i in range(len(z)):
        shifted[i, y[i]] = z[i, y[i]] - margins[y[i]]
    w = torch.stack([weights[k] for k in y])
    return (w * hard(scale * shifted, y)).sum() / w.sum()


def negative_information(a, b):
    """Negative mutual information of two batches of logits [N,C]."""
    joint = sum(torch.outer(p, q) for p, q in zip(a.softmax(1), b.softmax(1), strict=True))
    joint = (joint + joint.T) / 2
    joint = joint / joint.sum()
    rows, columns = joint.sum(1, keepdim=True).expand_as(joint), joint.sum(0, keepdim=True).expand_as(joint)
    joint, rows, columns = (torch.where(t < TINY, torch.full_like(t, TINY), t) for t in (joint, rows, columns))
    return -(joint * (joint.log() - rows.log() - columns.log())).sum()


def labeled_loss(cfg, it, z, y, counts):
    """The labeled loss in force at iteration `it`: cross entropy, later a cost-sensitive one if it is asked for."""
    if not cfg["MODEL.LOSS.WITH_LABELED_COST_SENSITIVE"] or it + 1 < cfg["MODEL.LOSS.WARMUP_ITERS"]:
        return hard(z, y).mean()
    weights = class_weights(counts, cfg["MODEL.LOSS.COST_SENSITIVE.BETA"])
    if cfg["MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE"] == "LDAM":
        return ldam(z, y, counts, weights)
    return (torch.stack([weights[k] for k in y]) * hard(z, y)).mean()


def topk(z, y, k):
    """Percent of rows whose class is among the `k` largest logits."""
    best = z.topk(k, 1).indices
    return 100.0 * sum(float(y[i] in best[i]) for i in range(len(y))) / len(y)
