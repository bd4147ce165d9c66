"""Data set and imbalance."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

from daso.schema.base import NOT_SCIENCE, UNKNOWN, Reader, read_by, require, require_one_of, require_place
from daso.schema.images import SMALL, ImageFiles

if TYPE_CHECKING:
    from daso.schema.run import Config

LARGEST = 1024  # pixels per side
STRONG_VIEWS = "a learner of strong views"
LONG_TAILED = "long_tailed"
AUTO = -1  # of crop_pad and cutout: an eighth, or half, of the resolution
SHAPES = (LONG_TAILED, "middle", "head_tail", "random", "gaussian", "inverse_gaussian")


class Padding(Enum):
    """What the random crop adds around an image: its mirror image, or black."""

    reflect = "reflect"
    zero = "zero"


class Resize(Enum):
    """When images of another size than the network's are resized: behind the augmentation, or before it."""

    after = "after"
    before = "before"


class Includes(Enum):
    """Which images the unlabeled set has beside its own: none, the labeled ones, or, where a data set brings its
    unlabeled set, all training images that are not held out.
    """

    none = "none"
    labeled = "labeled"
    train = "train"


def _usual_padding(config: "Config") -> Padding:
    """The one that the option files give."""
    return Padding.zero if config.recipe.name == "cdmad" else Padding.reflect


@dataclass
class DatasetConfig(ImageFiles):
    """An image data set and how its images enter the network.

    Of a data set of image files, resolve() fills in what the files say: num_classes and class_size, 0 until then, and
    what follows from the resolution: source_size, 0 until then, crop_pad and cutout where they are `AUTO`.
    """

    name: str
    num_classes: int
    # training images of the smallest class: bounds N1 + M1 without reading data
    class_size: int = field(metadata=NOT_SCIENCE)
    channels: int
    source_size: int  # pixels per side on disk; 0: images are of any size
    resolution: int  # pixels per side in the network
    mean: list[float]
    std: list[float]
    root: str = field(default="data", metadata=NOT_SCIENCE)
    # false: take files that are not as published
    verify: bool = field(
        default=True,
        metadata=NOT_SCIENCE
        | read_by(
            Reader(
                "a data set of published files in dataset.root",
                lambda c: c.dataset.name != "digits" and not c.dataset.reader,
            )
        ),
    )
    # of such files, and of image files; filled by resolve()
    files_checksum: str = field(default="", metadata={"neutral": ""})
    num_valid: int = 0  # images held out of the training split, class-balanced
    flip: bool = True
    crop_pad: int = 4
    padding: Padding = field(
        default=Padding.reflect,
        metadata={"neutral": Padding.reflect}
        | read_by(Reader("dataset.crop_pad above 0", lambda c: c.dataset.crop_pad != 0, _usual_padding)),
    )
    cutout: int = field(
        default=16,
        metadata=read_by(
            Reader(
                STRONG_VIEWS,
                lambda c: c.algorithm.strong_views_seen,
                lambda c: {"fashion_mnist": 14, "digits": 3}.get(c.dataset.name, 16),
            )
        ),
    )
    # whose RandAugment and cutout: the paper's code's, or USB's
    strong: str = field(
        default="paper",
        metadata={"neutral": "paper"}
        | read_by(Reader(STRONG_VIEWS, lambda c: c.algorithm.strong_views_seen, lambda c: "paper")),
    )
    resize: Resize = field(
        default=Resize.after,
        metadata={"neutral": Resize.after}
        | read_by(Reader("a data set of images of another size", lambda c: c.dataset.resized, lambda c: Resize.after)),
    )
    unknown_unlabeled: bool = False  # the unlabeled set comes with the data set, labels unknown (STL-10)
    unlabeled_includes: Includes = field(
        default=Includes.none,
        metadata={"neutral": Includes.none}
        | read_by(Reader("a learner of unlabeled images", lambda c: c.reads_unlabeled, lambda c: Includes.none)),
    )
    # a folder of index files that say which images are used (daso/data/index_files.py); imb.* then only describes them
    splits: str = field(default="", metadata=NOT_SCIENCE)
    splits_checksum: str = field(default="", metadata={"neutral": ""})  # filled by resolve(); never set by hand

    @property
    def resized(self) -> bool:
        """Whether square images have another size than the network's input."""
        return self.source_size not in (0, self.resolution) and not self.resized_crop

    @property
    def resizes_first(self) -> bool:
        """Whether images are resized before they are augmented, once for all."""
        return self.resized and self.resize is Resize.before

    @property
    def stored_size(self) -> int:
        """Pixels per side of the resident images, on which the augmentation begins."""
        return self.resolution if self.resizes_first else self.source_size

    def __post_init__(self) -> None:
        self.root = require_place("dataset.root", self.root)
        if self.splits:
            self.splits = require_place("dataset.splits", self.splits)
        right = f"4 pixels or more, for two halvings, and {LARGEST} at most"
        require(4 <= self.resolution <= LARGEST, "dataset.resolution", self.resolution, right)
        self.check_files(self.resolution, self.num_valid)
        require(self.num_valid >= 0, "dataset.num_valid", self.num_valid, "it is a number of images, 0 or more")
        if self.reader:
            right = "the files themselves say which images are used, so none"
            require(not self.splits, "dataset.splits", self.splits, right)
        else:
            self._check_held_out()
        auto = AUTO if self.reader else 0
        least = f"{auto} (from the resolution)" if auto else "0"
        bound = self.stored_size or (1 if self.resized_crop else self.resolution)
        require(auto <= self.crop_pad < bound, "dataset.crop_pad", self.crop_pad, f"{least} to image size - 1")
        whole = 2 * (self.source_size or self.resolution)  # such a square hides the image wherever its centre is
        right = f"a number of pixels, {least} to {whole}"
        require(auto <= self.cutout <= whole, "dataset.cutout", self.cutout, right)
        require_one_of("dataset.strong", self.strong, ("paper", "usb"))
        own = self.unlabeled_includes is not Includes.train or self.unknown_unlabeled
        right = f"{self.name} makes its unlabeled set of training images, so labeled or none"
        require(own, "dataset.unlabeled_includes", self.unlabeled_includes.name, right)
        for key in ("mean", "std"):
            value = getattr(self, key)
            require(len(value) == self.channels, f"dataset.{key}", value, f"one number per channel ({self.channels})")
        require(all(s > 0 for s in self.std), "dataset.std", self.std, "positive numbers")

    @property
    def resized_crop(self) -> bool:
        """Whether a view is a random box of a whole image, instead of a window of a square one."""
        return self.crop == "resized" or (self.crop == "auto" and self.resolution > SMALL)

    def _check_held_out(self) -> None:
        require(
            self.num_valid % self.num_classes == 0,
            "dataset.num_valid",
            self.num_valid,
            f"the validation set is class-balanced, so it must be a multiple of {self.num_classes}",
        )
        require(
            self.num_valid // self.num_classes < self.class_size,
            "dataset.num_valid",
            self.num_valid,
            f"the smallest class has {self.class_size} training images",
        )


USUAL_M1 = {("cifar10", 500): 4000, ("cifar100", 50): 400}
"""Data set and n1 of a setting that its data set does not default to -> m1."""
DEFAULT_M1 = {"cifar10": 3000, "cifar100": 300, "fashion_mnist": 4000, "digits": 100}


def usual_m1(config: "Config") -> int | str:
    """The m1 that the option files give a labeled setting."""
    name = config.dataset.name
    return USUAL_M1.get((name, config.imb.n1), DEFAULT_M1.get(name, UNKNOWN))


def usual_gamma_u(config: "Config") -> float | str:
    """The gamma_u that the option files give a labeled setting: matched, or uniform in this project's experiments."""
    if config.dataset.unknown_unlabeled:
        return UNKNOWN
    return 1.0 if config.miniature else config.imb.gamma_l


def _unlabeled(usual: "Callable[[Config], Any]", *others: Reader) -> dict[str, Any]:
    return read_by(*others, Reader("a learner of unlabeled images", lambda c: c.reads_unlabeled, usual))


UNCOUNTED = Reader(
    "a setting without imb.unlabeled_counts", lambda c: not c.imb.unlabeled_counts or not c.reads_unlabeled
)


@dataclass
class ImbalanceConfig:
    """Class sizes N_k = N1 * gamma_l^(-(k-1)/(C-1)), M_k likewise (paper, App. C.1) or in another shape."""

    n1: int
    # a number, or "unknown" where the data set brings its unlabeled set
    m1: Any = field(metadata=_unlabeled(usual_m1, UNCOUNTED))
    gamma_l: float
    # largest / smallest class: a number, "1/100" (reversed), or "unknown"
    gamma_u: Any = field(metadata=_unlabeled(usual_gamma_u, UNCOUNTED))
    # which unlabeled class is how large (daso/data/sizes.py): long_tailed, as in the paper, or another of `SHAPES`
    unlabeled_shape: str = field(
        default=LONG_TAILED, metadata={"neutral": LONG_TAILED} | _unlabeled(lambda c: LONG_TAILED)
    )
    # images of each unlabeled class, in place of m1, gamma_u and a shape, which then follow from it
    unlabeled_counts: list[int] = field(default_factory=list, metadata={"neutral": []} | _unlabeled(lambda c: []))

    def __post_init__(self) -> None:
        require(self.n1 >= 1, "imb.n1", self.n1, "the head class needs at least one labeled image")
        right = "the labeled imbalance is head / tail, a finite number, 1 or more"
        require(1 <= self.gamma_l < inf, "imb.gamma_l", self.gamma_l, right)
        self.gamma_u = parse_gamma_u(self.gamma_u)
        if self.m1 != UNKNOWN:
            try:
                self.m1 = int(str(self.m1))
            except ValueError:
                require(
                    False,
                    "imb.m1",
                    self.m1,
                    "a number of images, or unknown for a data set with its own unlabeled split",
                )
            require(self.m1 >= 1, "imb.m1", self.m1, "the head class needs at least one unlabeled image")
        self._check_shape()
        self._check_counts()

    @property
    def matched(self) -> bool:
        """Whether the unlabeled classes are distributed as the labeled ones."""
        return self.gamma_u == self.gamma_l and self.unlabeled_shape == LONG_TAILED and not self.unlabeled_counts

    def _check_shape(self) -> None:
        require_one_of("imb.unlabeled_shape", self.unlabeled_shape, SHAPES)
        if self.unlabeled_shape == LONG_TAILED or isinstance(self.gamma_u, str):
            return
        right = (
            f"with imb.unlabeled_shape={self.unlabeled_shape} it is the largest class / the smallest, a number above 1"
        )
        require(self.gamma_u > 1, "imb.gamma_u", self.gamma_u, right)

    def _check_counts(self) -> None:
        counts = self.unlabeled_counts
        if not counts:
            return
        right = "the images of each class, 0 or more, and not 0 of all"
        require(min(counts) >= 0 and max(counts) > 0, "imb.unlabeled_counts", counts, right)
        right = "imb.unlabeled_counts says how many images each class has, so long_tailed, or no such list"
        require(self.unlabeled_shape == LONG_TAILED, "imb.unlabeled_shape", self.unlabeled_shape, right)
        if self.m1 != UNKNOWN:  # else refused where the data set is known
            self.m1 = max(counts)
            self.gamma_u = max(counts) / min(filter(None, counts))


def parse_gamma_u(value: object) -> float | str:
    """Read an unlabeled imbalance: a positive number, a fraction such as `1/100`, or `unknown`.

    Values below 1 mean the reversed distribution; `0.01` and `1/100` are the same.
    """
    if str(value) == UNKNOWN:
        return UNKNOWN
    try:
        ratio = float(Fraction(str(value)))
    except (ValueError, ArithmeticError):
        ratio = -1.0
    require(ratio > 0, "imb.gamma_u", value, "a positive number, 1/100 for a reversed distribution, or unknown")
    return ratio
