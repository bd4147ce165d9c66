"""Mixup over all images of a step, and the interleaved forward passes behind it."""

import torch


def interleave(chunks):
    """Swap group i of the first chunk with group i of chunk i; its own inverse."""
    n, size = len(chunks), len(chunks[0])
    sizes = [size // n + (1 if i >= n - size % n else 0) for i in range(n)]
    groups = [list(c.split(sizes)) for c in chunks]
    for i in range(1, n):
        groups[0][i], groups[i][i] = groups[i][i], groups[0][i]
    return [torch.cat(g) for g in groups]


def mixed(images, targets, raw, order):
    """Mixup of all images and targets with one factor and one permutation."""
    share = max(raw, 1 - raw)
    return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets[order]


def interleaved_logits(net, images, chunks):
    """Logits of `chunks` equal parts, each passed alone after interleaving, in their order."""
    return interleave([net(part) for part in interleave(list(images.chunk(chunks)))])


def sharpened(p, temperature):
    t = p ** (1 / temperature)
    return t / t.sum(1, keepdim=True)


def onehot(y, classes):
    return torch.stack([torch.eye(classes, dtype=torch.float64)[k] for k in y])


def turned(images, quarters):
    """Each image [3,H,W] turned counter-clockwise by its number of quarter turns."""
    return torch.stack([torch.rot90(img, int(r), (1, 2)) for img, r in zip(images, quarters, strict=True)])
