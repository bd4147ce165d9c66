"""What the files of a data set say about a run on them, filled into its configuration."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from daso.errors import UserError
from daso.schema import AUTO, UNKNOWN, Config, DatasetConfig, ImbalanceConfig, require
from daso.settings.option_files import chosen

OF_RESOLUTION = ("source_size", "crop_pad", "cutout")
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


def filled(config: Config, arguments: Sequence[str] = ()) -> Config:
    """A configuration with everything that its image files decide; that of another data set as it is.

    That is classes and class sizes, and, where labels are not drawn by `dataset.labels_per_class`, imb.*, which then
    describes what is there.

    Args:
        config: the configuration.
        arguments: the command line that it came from, for who chose its sizes.

    Raises:
        UserError: files that cannot be used, or a knob that contradicts them.
    """
    if not config.dataset.reader:
        return config
    from daso.data.images.source import index_of_dataset, is_published
    from daso.data.sources import READERS

    dataset, imb = config.dataset, config.imb
    right = f"{dataset.name} is the name of a published data set; choose another for yours"
    require(dataset.name not in READERS, "dataset.name", dataset.name, right)
    if not is_published(dataset):
        index_of_dataset(dataset)  # files that are not there come before what is asked of them
    _refuse_sizes(dataset, imb, arguments)
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


def following(dataset: DatasetConfig) -> set[str]:
    """The knobs of image files, by dotted keys, that have what follows from the files and the other knobs."""
    if not dataset.reader:
        return set()
    usual = _sized(replace(dataset, source_size=0, crop_pad=AUTO, cutout=AUTO))
    alike = {key for key in OF_RESOLUTION if getattr(dataset, key) == getattr(usual, key)}
    return {f"dataset.{key}" for key in ("num_classes", "class_size", *alike)}


def _refuse_sizes(dataset: DatasetConfig, imb: ImbalanceConfig, arguments: Sequence[str]) -> None:
    """Refuse numbers of images that image files do not have, one by one or as the option of another data set."""
    drawn = dataset.labels_per_class > 0
    labels = "dataset.labels_per_class=20 draws 20 of each class, and imb.gamma_l then thins these"
    rest = "they are all that the files hold beside the labeled ones, and imb.gamma_l thins labels alone"
    asked = {
        "imb.n1": (imb.n1, imb.n1 == AS_THE_FILES, f"the labels are those of the files; {labels}"),
        "imb.gamma_l": (
            imb.gamma_l,
            drawn or imb.gamma_l == AS_THE_FILES,
            f"the labels are those of the files; {labels}",
        ),
        "imb.m1": (imb.m1, imb.m1 == UNKNOWN, f"unlabeled images are not counted off; {rest}"),
        "imb.gamma_u": (imb.gamma_u, imb.gamma_u == UNKNOWN, f"unlabeled images are not thinned; {rest}"),
    }
    wrong = {key: (value, right) for key, (value, fits, right) in asked.items() if not fits}
    elsewhere = next((path.stem for path, group in chosen(arguments) if group == "imbalance"), "")
    typed = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    if wrong and elsewhere and not typed & {*wrong}:
        experiment = next((item for item in arguments if item.startswith("experiment=")), "")
        by = f", which {experiment} chooses," if experiment and "imbalance" not in typed else ""
        right = f"its sizes are not those of image files; imbalance={dataset.reader}_default leaves them to the files"
        raise UserError(f"imbalance={elsewhere}{by} is not possible: {right}.")
    for key, (value, right) in wrong.items():
        require(False, key, value if isinstance(value, str) else f"{value:g}", right)


def _sized(dataset: DatasetConfig) -> DatasetConfig:
    """With the sizes that follow from the resolution."""
    resized, side = dataset.resized_crop, dataset.resolution
    pad = dataset.crop_pad if dataset.crop_pad != AUTO else 0 if resized else side // 8
    cutout = dataset.cutout if dataset.cutout != AUTO else side // 2
    size = 0 if resized else dataset.source_size or side
    return replace(dataset, source_size=size, crop_pad=pad, cutout=cutout)
