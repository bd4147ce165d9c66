"""Lengths that are told in epochs, turned into steps: how many images an epoch has is known before a run begins."""

from dataclasses import replace

from daso.data.sizes import class_counts, unlabeled_counts
from daso.schema import EPOCH, UNKNOWN, Config, require
from daso.settings.images import content_of


def timed(config: Config) -> Config:
    """A configuration whose steps follow from its epochs; one that tells nothing in epochs as it is.

    Raises:
        UserError: how many images an epoch has is not known before the data set is read, or a run has no whole step.
    """
    train, daso = config.train, config.daso
    if not (train.epochs or train.eval_every == EPOCH or daso.warmup_epochs or daso.update_epochs):
        return config
    batch = train.batch_size * (train.mu if config.reads_unlabeled else 1)
    epoch = images_of_an_epoch(config) / batch
    steps = round(train.epochs * epoch) if train.epochs else train.steps
    right = f"an epoch has {epoch:.3g} steps, and the run none"
    require(steps >= 1, "train.epochs", train.epochs, right)
    update_every = max(round(daso.update_epochs * epoch), 1) if daso.update_epochs else daso.update_every
    warmup = max(round(daso.warmup_epochs * epoch), update_every) if daso.warmup_epochs else daso.warmup_steps
    return replace(
        config,
        train=replace(train, steps=steps, epoch=epoch),
        daso=replace(daso, warmup_steps=warmup, update_every=update_every),
    )


def images_of_an_epoch(config: Config) -> int:
    """Images of the unlabeled set, or of the labeled one for a learner of these alone.

    Raises:
        UserError: nobody knows before the data set is read.
    """
    dataset, imb, classes = config.dataset, config.imb, config.dataset.num_classes
    unlabeled = config.reads_unlabeled
    if dataset.reader:
        content = content_of(dataset, imb)
        return content.unlabeled if unlabeled else content.labeled
    if dataset.splits:
        from daso.data.index_files import imported

        split = imported(config).split
        return len(split.unlabeled if unlabeled else split.labeled)
    if not unlabeled:
        return sum(class_counts(imb.n1, imb.gamma_l, classes))
    right = f"how many unlabeled images {dataset.name} has is not known before it is read, so tell lengths in steps"
    require(imb.m1 != UNKNOWN, "train.epochs", config.train.epochs, right)
    return sum(unlabeled_counts(imb, classes, config.seed))
