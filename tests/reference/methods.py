"""One training step of every algorithm: forward passes and losses, in the order of the specification.

Each function takes the run's state, the iteration, the labeled batch, the tuple of unlabeled views and the rows of
the unlabeled set; it gives back the losses and the logits that the training accuracy is of (None: not logged).
"""

import torch

from .losses import hard, labeled_loss, negative_information, soft
from .mixing import interleaved_logits, mixed, onehot, sharpened, turned
from .optim import ramp_up
from .semantics import cosines


def adjusted(run, z):
    """Labeled logits after logit adjustment, if it is on."""
    if not run.cfg["ALGORITHM.LOGIT_ADJUST.APPLY"]:
        return z
    return z + run.cfg["ALGORITHM.LOGIT_ADJUST.TAU"] * run.prior.log()


def masked_consistency(run, p, z):
    """Cross entropy with the pseudo-labels of `p` where they are confident, over all samples; takes notes."""
    confidence, label = p.max(1)
    mask = (confidence >= run.cfg["ALGORITHM.CONFIDENCE_THRESHOLD"]).double()
    run.note(pl_per_step=label, mask_per_step=mask)
    return (mask * hard(z, label)).mean()


def supervised(run, it, x, y, u, idx):
    z = adjusted(run, run.model(x))
    return {"loss_cls": labeled_loss(run.cfg, it, z, y, run.counts)}, z


def retrain(run, it, x, y, u, idx):
    """cRT's second stage: the encoder is frozen but stays in train mode."""
    z = run.model.classifier(run.model.encode(x).detach())
    return {"loss_cls": hard(z, y).mean()}, z


def pseudolabel(run, it, x, y, u, idx):
    z_l, z_u = run.model(torch.cat([x, u[0]])).split([len(x), len(u[0])])
    cons = masked_consistency(run, z_u.detach().softmax(1), z_u)
    return {
        "loss_cls": labeled_loss(run.cfg, it, z_l, y, run.counts),
        "loss_cons": ramp_up(run.cfg, it, run.period) * cons,
    }, z_l


def meanteacher(run, it, x, y, u, idx):
    student, teacher = u
    z_l, z_u = run.model(torch.cat([x, student])).split([len(x), len(student)])
    with torch.no_grad():
        if run.semantics is None:
            p = run.ema(teacher).softmax(1)
        else:
            f_l, f_u = run.ema.encode(torch.cat([x, teacher])).split([len(x), len(teacher)])
            run.semantics.queues.push(f_l, y)
            p = run.ema.classifier(f_u).softmax(1)
            if run.semantics.on:
                p = run.semantics.blend(p, run.semantics.similarity(f_u).softmax(1))
            run.semantics.tick(p.argmax(1), it, run.steps)
    square = ((z_u.softmax(1) - p) ** 2).mean()
    weight = run.cfg["MODEL.LOSS.UNLABELED_LOSS_WEIGHT"] * ramp_up(run.cfg, it, run.period)
    return {"loss_cls": labeled_loss(run.cfg, it, z_l, y, run.counts), "loss_cons": weight * square}, z_l


def mixmatch(run, it, x, y, u, idx):
    with torch.no_grad():
        if run.semantics is not None:
            run.semantics.queues.push(run.ema.encode(x), y)
        f = run.model.encode(u[0])
        p = (run.model.classifier(f).softmax(1) + run.model(u[1]).softmax(1)) / 2
        t = sharpened(p, run.cfg["ALGORITHM.MIXMATCH.TEMPERATURE"])
        if run.semantics is not None:
            if run.semantics.on:
                t = run.semantics.blend(t, run.semantics.similarity(f).softmax(1))
            run.semantics.tick(t.argmax(1), it, run.steps)
    targets = torch.cat([onehot(y, run.classes), t, t])
    images, targets = mixed(torch.cat([x, *u]), targets, run.draw("beta"), run.draw("perm"))
    z_l, *z_u = interleaved_logits(run.model, images, 3)
    q_l, q_u = targets[: len(x)], targets[len(x) :]
    weight = run.cfg["MODEL.LOSS.UNLABELED_LOSS_WEIGHT"] * ramp_up(run.cfg, it, run.period)
    square = ((torch.cat(z_u).softmax(1) - q_u) ** 2).mean()
    return {"loss_cls": soft(z_l, q_l).mean(), "loss_cons": weight * square}, z_l


def remixmatch(run, it, x, y, u, idx):
    """ReMixMatch, with CReST's temperature, DARP, or DASO (which shares one pass over weak and first strong view)."""
    weak, strong, _ = u
    rho, losses = ramp_up(run.cfg, run.since(it), run.period), {}
    if run.semantics is not None:
        with torch.no_grad():
            run.semantics.queues.push(run.ema.encode(x), y)
        f_w, f_s = run.model.encode(torch.cat([weak, strong])).split([len(weak), len(strong)])
        if run.semantics.on and run.cfg["ALGORITHM.DASO.PSA_LOSS_WEIGHT"] != 0:
            losses["loss_assign"] = alignment_loss(run, f_w, f_s)
    with torch.no_grad():
        p = (run.model(weak) if run.semantics is None else run.model.classifier(f_w)).softmax(1)
        if run.alignment is not None:
            p = run.alignment(p, run.alignment_temperature(it))
        t = sharpened(p, run.cfg["ALGORITHM.REMIXMATCH.TEMPERATURE"])
        if run.darp is not None:
            t = run.darp(t, idx)
        if run.semantics is not None:
            if run.semantics.on:
                q = run.semantics.similarity(f_w).softmax(1)
                t = run.semantics.blend(t, q)
                run.note(log_sem_pl=q.argmax(1))
            run.note(log_pseudo_labels=t.argmax(1), log_pl_confidence=t.max(1).values)
            run.semantics.tick(t.argmax(1), it, run.steps)
    targets = torch.cat([onehot(y, run.classes), t, t, t])
    images, targets = mixed(torch.cat([x, *u]), targets, run.draw("beta"), run.draw("perm"))
    z_l, *z_u = interleaved_logits(run.model, images, 4)
    q_l, q_u = targets[: len(x)], targets[len(x) :]
    losses["loss_cls"] = soft(z_l, q_l).mean()
    losses["loss_cons"] = rho * run.cfg["MODEL.LOSS.UNLABELED_LOSS_WEIGHT"] * soft(torch.cat(z_u), q_u).mean()
    z_s = run.model(strong) if run.semantics is None else run.model.classifier(f_s)
    losses["loss_kl"] = rho * run.cfg["ALGORITHM.REMIXMATCH.WEIGHT_KL"] * soft(z_s, t).mean()
    quarters = run.draw("rot")
    z_r = run.model.rotation(run.model.encode(turned(strong, quarters)))
    losses["loss_rotation"] = run.cfg["ALGORITHM.REMIXMATCH.WEIGHT_ROT"] * hard(z_r, quarters).mean()
    return losses, z_l


def alignment_loss(run, f_w, f_s):
    """DASO's semantic alignment of the strong view with the weak one."""
    q = run.semantics.similarity(f_w.detach()).softmax(1)
    return run.cfg["ALGORITHM.DASO.PSA_LOSS_WEIGHT"] * soft(run.semantics.similarity(f_s), q).mean()


def fixmatch(run, it, x, y, u, idx):
    """FixMatch, with logit adjustment, alignment, DARP, CReST, ABC, as the configuration asks."""
    sizes = [len(x), len(u[0]), len(u[1])]
    f = run.model.encode(torch.cat([x, *u]))
    z_l, z_w, z_s = run.model.classifier(f).split(sizes)
    z_l, p = adjusted(run, z_l), z_w.detach().softmax(1)
    if run.alignment is not None:
        p = run.alignment(p, run.alignment_temperature(it))
    if run.darp is not None:
        p = run.darp(p, idx)
    losses = {"loss_cls": labeled_loss(run.cfg, it, z_l, y, run.counts), "loss_cons": masked_consistency(run, p, z_s)}
    if run.with_abc:
        losses["loss_abc"] = abc_loss(run, it, f.split(sizes), y, None)
    return losses, z_l


def daso(run, it, x, y, u, idx):
    sizes, losses, q = [len(x), len(u[0]), len(u[1])], {}, None
    with torch.no_grad():
        run.semantics.queues.push(run.ema.encode(x), y)
    f_l, f_w, f_s = run.model.encode(torch.cat([x, *u])).split(sizes)
    if run.semantics.on:
        q = run.semantics.similarity(f_w.detach()).softmax(1)
        if run.cfg["ALGORITHM.DASO.PSA_LOSS_WEIGHT"] != 0:
            losses["loss_assign"] = alignment_loss(run, f_w, f_s)
    p = run.model.classifier(f_w).detach().softmax(1)
    semantic = torch.full((len(p),), -1) if q is None else q.argmax(1)
    run.note(log_linear_pl=p.argmax(1), log_sem_pl=semantic)
    if q is not None:
        p = run.semantics.blend(p, q)
    run.note(log_pseudo_labels=p.argmax(1), log_pl_confidence=p.max(1).values)
    losses["loss_cls"] = labeled_loss(run.cfg, it, adjusted(run, run.model.classifier(f_l)), y, run.counts)
    losses["loss_cons"] = masked_consistency(run, p, run.model.classifier(f_s))
    if run.with_abc:
        losses["loss_abc"] = abc_loss(run, it, (f_l, f_w, f_s), y, q)
    run.semantics.tick(p.argmax(1), it, run.steps)
    return losses, None


def abc_loss(run, it, features, y, q):
    """The auxiliary balanced classifier's labeled and unlabeled losses; `q`: semantic distribution, None in warm-up."""
    balance = run.counts.min() / run.counts
    z_l, z_w, z_s = (run.model.auxiliary(f) for f in features)
    keep = (run.draw("bern_u") < torch.stack([balance[k] for k in y])).double()
    labeled = (keep * hard(z_l, y)).mean()
    p = z_w.detach().softmax(1)
    if q is not None and run.cfg["ALGORITHM.ABC.DASO_PSEUDO_LABEL"]:
        p = run.semantics.blend(p, q)
    confidence, label = p.max(1)
    share = 1 - (it // 500) * 500 / run.steps * (1 - balance)
    keep = (run.draw("bern_u") < torch.stack([share[k] for k in label])).double()
    mask = (confidence >= run.cfg["ALGORITHM.CONFIDENCE_THRESHOLD"]).double() * keep
    return labeled + (mask * soft(z_s, p)).mean()


def usadtm(run, it, x, y, u, idx):
    sizes = [len(x)] + [len(v) for v in u]
    f_l, f_i, f_w, f_s = run.model.encode(torch.cat([x, *u])).split(sizes)
    z_l, z_i, z_w, z_s = (run.model.classifier(f) for f in (f_l, f_i, f_w, f_s))
    run.queues.push(f_l, y)
    pairs = ((z_i, z_w), (z_i, z_s), (z_w, z_s))
    clustering = sum(negative_information(a, b) for a, b in pairs) / 3
    losses = {
        "loss_cls": labeled_loss(run.cfg, it, z_l, y, run.counts),
        "uc_loss": run.cfg["ALGORITHM.USADTM.UC_LOSS_WEIGHT"] * clustering,
    }
    if it < run.cfg["ALGORITHM.USADTM.PRETRAIN_STEPS"]:
        return {**losses, "loss_cons": torch.zeros((), dtype=torch.float64)}, None
    centres = run.queues.prototypes()
    confidence, label = cosines(f_w.detach(), centres).max(1)
    distance = torch.stack([((f_w.detach() - c) ** 2).sum(1).clamp_min(1e-12).sqrt() for c in centres], 1)
    agree = (distance.argmin(1) == label) & (confidence >= run.cfg["ALGORITHM.USADTM.DTM_THRES"])
    run.note(pl_per_step=label, mask_per_step=agree.double())
    return {**losses, "loss_cons": (agree.double() * hard(z_s, label)).mean()}, None


STEPS = {
    "Supervised": supervised,
    "cRT": retrain,
    "PseudoLabel": pseudolabel,
    "MeanTeacher": meanteacher,
    "MixMatch": mixmatch,
    "ReMixMatch": remixmatch,
    "ReMixMatchDASO": remixmatch,
    "ReMixMatchCReST": remixmatch,
    "FixMatch": fixmatch,
    "FixMatchABC": fixmatch,
    "FixMatchCReST": fixmatch,
    "DASO": daso,
    "USADTM": usadtm,
}

VIEWS = {
    "Supervised": (),
    "cRT": (),
    "PseudoLabel": (1,),
    "MeanTeacher": (1, 0),
    "MixMatch": (1, 0),
    "ReMixMatch": (1, 2, 3),
    "ReMixMatchDASO": (1, 2, 3),
    "ReMixMatchCReST": (1, 2, 3),
    "FixMatch": (1, 2),
    "FixMatchABC": (1, 2),
    "FixMatchCReST": (1, 2),
    "DASO": (1, 2),
    "USADTM": (0, 1, 2),
}
"""Rows of a pool's `unlabeled_views` (identity, weak, strong A, strong B) in the order of the step's tuple."""
