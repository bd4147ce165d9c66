"""What the files of a data set say about a run on them, filled into its configuration."""

from dataclasses import replace
from typing import NamedTuple

from daso.schema import AUTO, UNKNOWN, Config, DatasetConfig, ImbalanceConfig, require

AS_THE_FILES = 1  # imb.n1 and imb.gamma_l in the option files of such data sets: nobody has set them


class Content(NamedTuple):
    """How many images there are."""

    classes: int
    class_size: int  # of the labeled set: images of the smallest class
    most: int  # labeled images of a run, of the largest and of the smallest class
    fewest: int
    labeled: int  # images of a run
    unlabeled: int


def content_of(dataset: DatasetConfig, imb: ImbalanceConfig) -> Content:
    """How many images a run on files has; of published ones without a look at them.

    Raises:
        UserError: files that cannot be used, or labels that they do not have.
    """
    from daso.data.images import semi_aves
    from daso.data.images.source import index_of_dataset, is_published, labeled_counts

    if is_published(dataset) and not (dataset.labels_per_class or dataset.label_fraction):
        most, fewest = semi_aves.CLASS_SIZES
        labeled, unlabeled = semi_aves.IMAGES["labeled"], semi_aves.IMAGES[dataset.unlabeled]
        return Content(semi_aves.CLASSES, fewest, most, fewest, labeled, unlabeled)
    index = index_of_dataset(dataset)
    there, counts = index.counts("labeled"), labeled_counts(index, dataset, imb)
    unlabeled = int(there.sum()) - sum(counts) + len(index.rows("unlabeled"))
    return Content(len(index.names), int(there.min()), max(counts), min(counts), sum(counts), unlabeled)


def filled(config: Config) -> Config:
    """A configuration with everything that its image files decide; that of another data set as it is.

    That is classes and class sizes, and, where labels are not drawn by `dataset.labels_per_class`, imb.*, which then
    describes what is there.

    Raises:
        UserError: files that cannot be used, or a knob that contradicts them.
    """
    if not config.dataset.reader:
        return config
    from daso.data.sources import READERS

    dataset, imb = config.dataset, config.imb
    right = f"{dataset.name} is the name of a published data set; choose another for yours"
    require(dataset.name not in READERS, "dataset.name", dataset.name, right)
    if not dataset.labels_per_class:
        right = "only dataset.labels_per_class draws labels that it could thin; else the files have what they have"
        require(imb.gamma_l == AS_THE_FILES, "imb.gamma_l", f"{imb.gamma_l:g}", right)
    right = "the files say how many labels there are, or dataset.labels_per_class"
    require(imb.n1 == AS_THE_FILES, "imb.n1", imb.n1, right)
    right = "the unlabeled images are those of the files, so unknown"
    require(imb.m1 == UNKNOWN, "imb.m1", imb.m1, right)
    require(imb.gamma_u == UNKNOWN, "imb.gamma_u", imb.gamma_u, right)
    content = content_of(dataset, imb)
    right = f"the files have {content.classes} classes, which follows from them"
    require(dataset.num_classes in (0, content.classes), "dataset.num_classes", dataset.num_classes, right)
    right = (
        f"algorithm={config.algorithm.name} learns from unlabeled images, of which it holds none; add them, or draw "
        "labels with dataset.labels_per_class or dataset.label_fraction, so that the rest is unlabeled"
    )
    require(content.unlabeled > 0 or not config.reads_unlabeled, "dataset.root", dataset.root, right)
    gamma_l = imb.gamma_l if dataset.labels_per_class else float(f"{content.most / content.fewest:.3g}")
    dataset = replace(_sized(dataset), num_classes=content.classes, class_size=content.class_size)
    return replace(config, dataset=dataset, imb=replace(imb, n1=content.most, gamma_l=gamma_l))


def _sized(dataset: DatasetConfig) -> DatasetConfig:
    """With the sizes that follow from the resolution."""
    resized, side = dataset.resized_crop, dataset.resolution
    pad = dataset.crop_pad if dataset.crop_pad != AUTO else 0 if resized else side // 8
    cutout = dataset.cutout if dataset.cutout != AUTO else side // 2
    size = 0 if resized else dataset.source_size or side
    return replace(dataset, source_size=size, crop_pad=pad, cutout=cutout)
