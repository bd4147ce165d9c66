"""A data set of image files: where they are and what is made of them."""

from dataclasses import dataclass, field

from daso.schema.base import NOT_SCIENCE, Reader, read_by, require, require_one_of

READERS = ("folder", "csv", "semi_aves")
CROPS = ("pad", "resized", "auto")
SMALL = 96  # pixels per side up to which `crop=auto` takes square images that lie in memory
OF_FILES = Reader("a data set of image files, such as dataset=folder,", lambda c: bool(c.dataset.reader))


@dataclass(kw_only=True)
class ImageFiles:
    """Knobs of a data set whose images are files of any size; `reader` is empty for the others, which read none."""

    reader: str = field(default="", metadata={"neutral": ""})  # what finds the images, one of `READERS`
    # folder of the lists; empty: root
    lists: str = field(
        default="", metadata=NOT_SCIENCE | read_by(Reader("dataset=csv", lambda c: c.dataset.reader == "csv"))
    )
    # `in`, unlabeled images of the classes; `in_out`, and of others
    unlabeled: str = field(
        default="in",
        metadata={"neutral": "in"}
        | read_by(Reader("dataset=semi_aves", lambda c: c.dataset.reader == "semi_aves", lambda c: "in")),
    )
    # images of each class that keep their label, the rest being unlabeled; 0: as the files have it
    labels_per_class: int = field(default=0, metadata={"neutral": 0})
    label_fraction: float = field(default=0.0, metadata={"neutral": 0.0})  # the same as a share of each class
    # how a view is cut: `pad`, a window of the reflect-padded square; `resized`, a random box of the whole image
    crop: str = field(default="pad", metadata={"neutral": "pad"})
    # folder of decoded images; empty: .daso in root
    store: str = field(default="", metadata=NOT_SCIENCE | read_by(OF_FILES))
    # short side of a stored image
    store_side: int = field(
        default=384,
        metadata={"neutral": 384}
        | read_by(
            OF_FILES._replace(usual=lambda c: 384),
            Reader("dataset.crop=resized", lambda c: c.dataset.resized_crop, lambda c: 384),
        ),
    )
    # where stored images are: device, or host, read from the disk
    place: str = field(
        default="auto",
        metadata=NOT_SCIENCE | read_by(OF_FILES, Reader("dataset.crop=resized", lambda c: c.dataset.resized_crop)),
    )
    # or skip: leave broken files out
    broken: str = field(
        default="refuse", metadata={"neutral": "refuse"} | read_by(OF_FILES._replace(usual=lambda c: "refuse"))
    )
    rescan: bool = field(default=False, metadata=NOT_SCIENCE | read_by(OF_FILES))  # look at all files again

    def check_files(self, resolution: int, num_valid: int) -> None:
        """Judge the knobs of image files, for the network's resolution and a number of held-out images.

        Raises:
            UserError: a value without meaning, or one that needs image files where there are none.
        """
        require_one_of("dataset.crop", self.crop, CROPS)
        require_one_of("dataset.place", self.place, ("auto", "device", "host"))
        require_one_of("dataset.broken", self.broken, ("refuse", "skip"))
        require_one_of("dataset.unlabeled", self.unlabeled, ("in", "in_out"))
        per_class, fraction = self.labels_per_class, self.label_fraction
        require(per_class >= 0, "dataset.labels_per_class", per_class, "a number of images, or 0")
        require(0 <= fraction < 1, "dataset.label_fraction", fraction, "a share of each class below 1, or 0")
        right = "dataset.label_fraction says how many labels there are, so only one of the two"
        require(not (per_class and fraction), "dataset.labels_per_class", per_class, right)
        if not self.reader:
            for key, unset in (("labels_per_class", 0), ("label_fraction", 0.0), ("crop", "pad")):
                value = getattr(self, key)
                right = "only a data set of image files has it, such as dataset=folder"
                require(value == unset, f"dataset.{key}", value, right)
            return
        require_one_of("dataset.reader", self.reader, READERS)
        right = f"a short side of dataset.resolution={resolution} pixels or more"
        require(self.store_side >= resolution, "dataset.store_side", self.store_side, right)
        right = "the validation images of a data set of files are those of its validation set, so 0"
        require(num_valid == 0, "dataset.num_valid", num_valid, right)
