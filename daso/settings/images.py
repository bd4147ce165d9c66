"""What the files of a data set say about a run on them, filled into its configuration."""

from dataclasses import replace

from daso.schema import AUTO, UNKNOWN, Config, DatasetConfig, require

AS_THE_FILES = 1  # imb.n1 and imb.gamma_l in the option files of such data sets: nobody has set them


def filled(config: Config) -> Config:
    """A configuration with everything that its image files decide; that of another data set as it is.

    That is classes and class sizes, and, where labels are not drawn by
    `dataset.labels_per_class`, imb.*, which then describes what is there.

    Raises:
        UserError: files that cannot be used, or a knob that contradicts them.
    """
    if not config.dataset.reader:
        return config
    from daso.data.images.source import index_of_dataset, labeled_counts
    from daso.data.sources import READERS

    dataset, imb = config.dataset, config.imb
    right = f"{dataset.name} is the name of a published data set; choose another for yours"
    require(dataset.name not in READERS, "dataset.name", dataset.name, right)
    index = index_of_dataset(dataset)
    classes = len(index.names)
    right = f"the files have {classes} classes, which follows from them"
    require(dataset.num_classes in (0, classes), "dataset.num_classes", dataset.num_classes, right)
    drawn = "dataset.labels_per_class draws labels that it could thin; else the files have the classes that they have"
    if not dataset.labels_per_class:
        require(imb.gamma_l == AS_THE_FILES, "imb.gamma_l", f"{imb.gamma_l:g}", f"only {drawn}")
    right = "the files say how many labels there are, or dataset.labels_per_class"
    require(imb.n1 == AS_THE_FILES, "imb.n1", imb.n1, right)
    right = "the unlabeled images are those of the files, so unknown"
    require(imb.m1 == UNKNOWN, "imb.m1", imb.m1, right)
    require(imb.gamma_u == UNKNOWN, "imb.gamma_u", imb.gamma_u, right)
    has_unlabeled = len(index.rows("unlabeled")) or dataset.labels_per_class or dataset.label_fraction
    right = (
        f"algorithm={config.algorithm.name} learns from unlabeled images, of which it holds none; add them, or draw "
        "labels with dataset.labels_per_class or dataset.label_fraction, so that the rest is unlabeled"
    )
    require(bool(has_unlabeled) or not config.reads_unlabeled, "dataset.root", dataset.root, right)
    counts = labeled_counts(index, dataset, imb)
    gamma_l = imb.gamma_l if dataset.labels_per_class else float(f"{max(counts) / min(counts):.3g}")
    dataset = replace(
        _sized(dataset),
        num_classes=classes,
        class_size=int(index.counts("labeled").min()),
    )
    return replace(config, dataset=dataset, imb=replace(imb, n1=max(counts), gamma_l=gamma_l))


def _sized(dataset: DatasetConfig) -> DatasetConfig:
    """With the sizes that follow from the resolution."""
    resized, side = dataset.resized_crop, dataset.resolution
    pad = dataset.crop_pad if dataset.crop_pad != AUTO else 0 if resized else side // 8
    cutout = dataset.cutout if dataset.cutout != AUTO else side // 2
    size = 0 if resized else dataset.source_size or side
    return replace(dataset, source_size=size, crop_pad=pad, cutout=cutout)
