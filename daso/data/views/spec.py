"""What a data set tells the views: image geometry, augmentation sizes, normalisation."""

from dataclasses import dataclass

from daso.data.views.policy import POLICIES, Policy
from daso.schema import DatasetConfig, Padding


@dataclass(frozen=True)
class ViewSpec:
    """How images of one data set are augmented and normalised.

    Sizes are pixels per side of square images. `mean` and `std` hold one value per channel, for intensities in 0..1.
    """

    size: int  # of the stored images
    resolution: int  # of the network's input
    channels: int  # 3 (RGB) or 1 (gray)
    flip: bool
    crop_pad: int  # pixels added on every side before the crop, at `size`; 0: no shift
    cutout: int  # nominal side of the filled square, which is one pixel wider; 0: none
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resized_crop: bool = False  # of images of any size, to `resolution`, instead of a window of square ones
    padding: Padding = Padding.reflect  # what the crop adds
    strong: str = "paper"  # of `POLICIES`

    @property
    def policy(self) -> Policy:
        """The numbers of the strong views."""
        return POLICIES[self.strong]

    @classmethod
    def of(cls, dataset: DatasetConfig) -> "ViewSpec":
        """The views of a configured data set."""
        return cls(
            size=dataset.stored_size,
            resolution=dataset.resolution,
            channels=dataset.channels,
            flip=dataset.flip,
            crop_pad=dataset.crop_pad,
            cutout=dataset.cutout,
            mean=tuple(dataset.mean),
            std=tuple(dataset.std),
            resized_crop=dataset.resized_crop,
            padding=dataset.padding,
            strong=dataset.strong,
        )
