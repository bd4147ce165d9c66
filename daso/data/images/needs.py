"""What the store of a data set will take of a disk, told before anything is decoded."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from daso.data.images import semi_aves
from daso.data.images.decode import Broken, measure
from daso.data.images.source import index_of_dataset, is_published, requests, rules, store_folder
from daso.data.images.store import CHANNELS, DESCRIPTION, Request
from daso.errors import UserError
from daso.schema import DatasetConfig

LOOKED_AT = 200  # files whose size in pixels is looked at; more are taken to be like them


class Needs(NamedTuple):
    """What is left to be stored of a data set."""

    folder: Path
    images: int  # to be decoded
    bytes: float  # of their pixels; of more than `LOOKED_AT` files of unequal size an estimate
    missing: str = ""  # why the files cannot be looked at


def needs(datasets: Iterable[DatasetConfig]) -> list[Needs]:
    """What runs on image files will have to decode first, by the folder of their stores; stores that are there, and
    that several runs share, count as such.
    """
    absent: dict[Path, Needs] = {}
    wanted: dict[Path, dict[str, Request]] = {}
    for dataset in datasets:
        folder = store_folder(dataset)
        try:
            index = index_of_dataset(dataset)
        except UserError as error:
            if not is_published(dataset):
                raise
            found = _published(dataset, folder, str(error))
            absent[folder] = max(found, absent.get(folder, found), key=lambda need: need.images)
            continue
        for _, request in requests(index, dataset):
            if not (folder / f"{request.key}{DESCRIPTION}").is_file():
                wanted.setdefault(folder, {})[request.key] = request
    there = [
        Needs(folder, sum(len(request.paths) for request in found.values()), sum(map(_bytes, found.values())))
        for folder, found in wanted.items()
    ]
    return [*there, *absent.values()]


def _published(dataset: DatasetConfig, folder: Path, missing: str) -> Needs:
    """Of images that are known and not here."""
    train, held = rules(dataset)
    training = semi_aves.IMAGES["labeled"] + semi_aves.IMAGES[dataset.unlabeled]
    pixels = training * semi_aves.mean_pixels(train.short) + semi_aves.TESTED * held.side**2
    return Needs(folder, training + semi_aves.TESTED, pixels * CHANNELS, missing)


def _bytes(request: Request) -> float:
    """Of all images of a store, from some of them."""
    total, rule = len(request.paths), request.rule
    if rule.kind == "centre":
        return total * rule.side**2 * CHANNELS
    sizes = []
    for row in np.linspace(0, total - 1, min(total, LOOKED_AT)).astype(int).tolist():
        try:
            height, width = rule.size(*measure(*request.file(row)))
        except Broken:  # the build tells of it
            continue
        sizes.append(height * width * CHANNELS)
    return total * sum(sizes) / len(sizes) if sizes else 0.0
