"""`python -m daso.splits`: write the index files of a setting, so that other code can train on the same images.

  python -m daso.splits dataset=cifar10 imbalance=cifar10_n500_m4000_g100 seed=0,1,2 out=splits [key=value ...]
  python -m daso.splits check=splits [dataset.root=...]      are files intact, and is it still the same split?

One folder a setting, one a seed in it: labeled.txt, unlabeled.txt and valid.txt (a row number a line), split.npz (the
same with labels), and manifest.json with class counts and SHA-256 checksums. Other code's files of that kind are used
by `python train.py dataset.splits=splits ...`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daso.data.index_files import MANIFEST, PARTS, read, said, setting_name, sha256
from daso.data.split import Split, checksum
from daso.errors import UserError
from daso.machine.streams import heard, outlive_readers
from daso.outputs.endings import ending
from daso.outputs.files import replace_file, why, write_json
from daso.schema import Config, require
from daso.settings.options import groups, refuse_flags

ORDER = {
    "cifar10": "the 50,000 training images in the order of data_batch_1 to 5, as torchvision's CIFAR10(train=True)",
    "cifar100": "the 50,000 training images in the order of the file train, as torchvision's CIFAR100(train=True)",
    "stl10": "labeled and valid: train_X.bin; unlabeled: unlabeled_X.bin; as torchvision's STL10 splits",
    "fashion_mnist": "the 60,000 images of train-images-idx3-ubyte",
    "digits": "load_digits() of scikit-learn without the 50 test images a class, chosen by numpy's RandomState(0)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for a mistake, which is one sentence on stderr."""
    outlive_readers()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        _act(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def export(config: Config, folder: Path) -> Split:
    """Write the split of a configuration into `folder`.

    Raises:
        UserError: the data set is not there, cannot give this split, or the folder cannot be written.
    """
    split, labels = make(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
            text = "".join(f"{row}\n" for row in getattr(split, name))
            replace_file(folder / f"{name}.txt", text.encode())
        with (folder / "split.npz").open("wb") as file:
            named: dict[str, Any] = {f"{name}_labels": values for name, values in labels.items()}
            np.savez_compressed(file, **split._asdict(), **named)
        write_json(folder / MANIFEST, _manifest(config, split, labels, folder))
    except OSError as error:
        raise UserError(f"out={folder} is not possible: {why(error)}.") from error
    return split


def make(config: Config) -> tuple[Split, dict[str, np.ndarray[Any, Any]]]:
    """The split of a configuration, with unlabeled images whatever the learner, and the labels of its known parts.

    Raises:
        UserError: the data set is not there, or cannot give this split.
    """
    from daso.data.sources import load
    from daso.data.split import make_split

    value = config.dataset.splits
    require(not value, "dataset.splits", value, "these index files exist already, and only drawn splits are written")
    arrays = load(config.dataset)
    train_y = np.asarray(arrays.train_y)
    extra = 0 if arrays.unlabeled_x is None else len(arrays.unlabeled_x)
    split = make_split(train_y, config.dataset, config.imb, config.seed, with_unlabeled=True, n_extra=extra)
    known = [name for name in PARTS if name != "unlabeled" or not config.dataset.unknown_unlabeled]
    return split, {name: train_y[getattr(split, name)] for name in known}


def _act(arguments: Sequence[str]) -> None:
    values, overrides = {"out": "splits", "seed": "0", "check": ""}, []
    refuse_flags(arguments, {*values, *groups()})
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument} is not possible: an argument has the form key=value.")
        if key in values:
            values[key] = value
        else:
            overrides.append(argument)
    if values["check"]:
        folders = sorted(path.parent for path in Path(values["check"]).expanduser().rglob(MANIFEST))
        if not folders:
            raise UserError(f"check={values['check']} is not possible: there is no {MANIFEST} in or below it.")
        for folder in folders:
            _check(folder, overrides)
        return
    if not all(seed.isdecimal() for seed in values["seed"].split(",")):
        raise UserError(f"seed={values['seed']} is not possible: whole numbers, such as 0 or 0,1,2.")
    ending("out", values["out"], "a split", [], folder=True)
    for seed in values["seed"].split(","):
        config = _configure([*overrides, f"seed={seed}"])
        folder = Path(values["out"]).expanduser() / setting_name(config) / f"seed{seed}"
        split = export(config, folder)
        sizes = ", ".join(f"{len(getattr(split, name))} {name}" for name in PARTS)
        print(f"wrote {folder}: {sizes}, checksum {checksum(split)}")


def _check(folder: Path, overrides: Sequence[str]) -> None:
    split, setting, seed = read(folder).split, said(folder, "overrides"), said(folder, "seed")
    if setting is None or seed is None:
        raise UserError(f"{folder} is intact, but {MANIFEST} does not say which setting and seed it is.")
    now, _ = make(_configure([*setting, f"seed={seed}", *overrides]))
    if checksum(now) != checksum(split):
        raise UserError(f"{folder} is intact, but this version, or other data, gives another split for its setting.")
    print(f"{folder} is intact and the split of this version: checksum {checksum(split)}")


def _configure(overrides: Sequence[str]) -> Config:
    from daso.settings.compose import configuration

    return configuration(overrides)


def _manifest(config: Config, split: Split, labels: dict[str, np.ndarray[Any, Any]], folder: Path) -> dict[str, Any]:
    classes, imb = config.dataset.num_classes, config.imb
    files = [*(f"{name}.txt" for name in PARTS), "split.npz"]
    settings: dict[str, Any] = {"imb.n1": imb.n1, "imb.gamma_l": imb.gamma_l}
    if imb.unlabeled_counts:
        settings |= {"imb.unlabeled_counts": f"[{','.join(map(str, imb.unlabeled_counts))}]"}
    else:
        settings |= {"imb.m1": imb.m1, "imb.gamma_u": imb.gamma_u, "imb.unlabeled_shape": imb.unlabeled_shape}
    settings |= {"dataset": config.dataset.name, "dataset.num_valid": config.dataset.num_valid}
    settings |= {"dataset.verify": "false"} if config.dataset.files_checksum else {}
    return {
        "dataset": config.dataset.name,
        "rows": f"from 0, of {ORDER.get(config.dataset.name, 'the training images as the data set stores them')}",
        "seed": config.seed,
        "overrides": [f"{key}={value}" for key, value in settings.items()],
        "sizes": {name: len(getattr(split, name)) for name in PARTS},
        "class_counts": {name: np.bincount(y, minlength=classes).tolist() for name, y in labels.items()},
        "checksum": checksum(split),
        "sha256": {name: sha256(folder / name) for name in files},
    }


if __name__ == "__main__":
    with heard():
        sys.exit(main())
