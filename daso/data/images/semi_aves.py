"""Semi-Aves (Su and Maji 2021): 200 bird species with labels, unlabeled photos of these and of 800 others.

Read from the list files of cvl-umass/ssl-evaluation or from the annotations of the challenge, cvl-umass/semi-inat-2020,
which name the same images. The images are the user's to fetch: their terms allow no redistribution.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from daso.data.images.listing import OUT, UNKNOWN, Item, Label, Listing, Part, wrong
from daso.data.images.lists import Row, text_of, text_rows
from daso.errors import UserError

NAME, CLASSES = "semi_aves", 200  # the classes with labels are 0..199, the others 200..999
UNLABELED = ("in", "in_out")  # photos of the 200 species, or of all 1,000 mixed
FOLDERS = {  # of the images that a list names
    "l_train_val": "trainval_images",
    "l_train": "trainval_images",
    "val": "trainval_images",
    "u_train_in": "u_train_in",
    "u_train_out": "u_train_out",
    "test": "test",
}
STARTS = ("l_train_val.txt", "l_train.txt", "annotation/anno_l_train.json")  # one of them says where the lists are
UNPACK = "unpack the four archives trainval_images, u_train_in, u_train_out and test of cvl-umass/semi-inat-2020"
SOLUTION = "solution.csv"
IMAGES = {"labeled": 5959, "in": 26_640, "in_out": 148_848}  # of the published lists, by what a run may read
TESTED = 8000  # test images
MEAN_SIDES = (500, 363)  # of the published images
CLASS_SIZES = (53, 15)  # labeled images of the largest and the smallest class
SPECIES = "semi_aves_class_names.txt"
SHA256 = {  # the first 12 hex digits of the published lists' checksums
    "l_train.txt": "219bde6e8acc",
    "l_train_val.txt": "c06c637db93d",
    "val.txt": "557a6a40bf52",
    "test.txt": "189d59164918",
    "u_train_in.txt": "d5ccd3a6c564",
    "u_train_out.txt": "a07ecb36675e",
    "u_train_in_oracle.txt": "3187fceac7d2",
    "u_train_out_oracle.txt": "975b614a5d61",
    "solution.csv": "af460a24808b",
}


def read(root: Path, unlabeled: str = "in") -> Listing:
    """Find the images of the paper's protocol: labeled are l_train and val together, unlabeled U_in, or it and U_out.

    Labeled and test images are in the order of class and file number, unlabeled ones in that of the file number,
    whatever order the lists have: a row number of theirs tells nothing about a class. Where the oracle lists lie beside
    the others they give the truth of the unlabeled images; those of U_out are none of the classes in any case.

    Args:
        root: the folder of the lists, or one that holds them in a folder `semi_aves`; the four image folders lie beside
            the lists or one folder up.
        unlabeled: one of `UNLABELED`.

    Raises:
        UserError: lists or image folders are missing, or a list is not what it should be; it names file and line.
    """
    home = _home(root)
    labeled = ["l_train_val"] if (home / "l_train_val.txt").is_file() else ["l_train", "val"]
    unlabeled_lists = ["u_train_in", "u_train_out"] if unlabeled == "in_out" else ["u_train_in"]
    images = _images(root, home, [FOLDERS[name] for name in (labeled[0], *unlabeled_lists, "test")])
    parts, used = [], []
    for name, lists in {"labeled": labeled, "test": ["test"]}.items():
        found = [_rows(home, one) for one in lists]
        used += [source for sources, _ in found for source in sources]
        items = [item for (source, *_), rows in found for item in _known(source, rows)]
        parts.append(Part(name, sorted(items, key=_class_and_number), found[0][0][0] if len(found) == 1 else home))
    for name in unlabeled_lists:
        sources, rows = _rows(home, name)
        oracle = home / f"{name}_oracle.txt"
        truth = {row.path: row.label for row in text_rows(oracle)} if oracle.is_file() else {}
        items = [Item(row.path, _truth(name, truth.get(row.path, row.label)), row.line) for row in rows]
        parts.insert(-1, Part("unlabeled", sorted(items, key=_number), sources[0]))
        used += [*sources, oracle]  # also where there is none yet
    species = home / SPECIES
    names = {row.path: row.label for row in text_rows(species)} if species.is_file() else {}
    used.append(species)
    notes = _unpublished(home, [*labeled, "test", *unlabeled_lists])
    return Listing(images, parts, names=names, watched=tuple(used), notes=tuple(notes), published=not notes)


def mean_pixels(short: int) -> float:
    """About how many pixels an image has that is shrunk to a short side of `short`: within 6 % from 224 to 384."""
    long, side = MEAN_SIDES
    return short**2 * long / side if short < side else float(long * side)


def is_there(root: Path) -> bool:
    """Whether there are lists of it at all."""
    return _found(root) is not None


def _found(root: Path) -> Path | None:
    places = (root / NAME, root)
    return next((place for place in places if any((place / start).is_file() for start in STARTS)), None)


def _home(root: Path) -> Path:
    """The folder of the lists."""
    found = _found(root)
    if found is None:
        lacking = f"its lists ({', '.join(STARTS[::2])}), which are neither in {root} nor in {root / NAME}"
        right = f"{UNPACK} and the lists of cvl-umass/ssl-evaluation into {root / NAME}"
        raise UserError(f"dataset={NAME} needs {lacking}: {right}, or name their folder with dataset.root=PATH.")
    return found


def _images(root: Path, home: Path, needed: Sequence[str]) -> Path:
    """The folder that holds the folders of images: that of the lists, or the one above."""
    for folder in (home, home.parent):
        missing = [name for name in needed if not (folder / name).is_dir()]
        if not missing:
            return folder
    wanted = [name for name in needed if not any((folder / name).is_dir() for folder in (home, home.parent))] or needed
    right = f"{', '.join(wanted)} lie neither in {home} nor in {home.parent}: {UNPACK} into {home}"
    raise UserError(f"dataset.root={root} is not possible: {right}.")


def _rows(home: Path, name: str) -> tuple[list[Path], list[Row]]:
    """The files that give a list, and its lines: of the text file, or of the challenge's annotation."""
    text, annotation = home / f"{name}.txt", home / "annotation" / f"anno_{name}.json"
    if text.is_file():
        return [text], list(text_rows(text))
    if not annotation.is_file():
        raise wrong(home, 0, f"there is neither {text.name} nor annotation/{annotation.name} in it")
    try:
        content = json.loads(annotation.read_bytes())
        labels = {str(one["image_id"]): str(one["category_id"]) for one in content["annotations"]}
        files = {str(image["id"]): PurePosixPath(image["file_name"]) for image in content["images"]}
        folder = FOLDERS[name]
        paths = {key: str(file if file.parts[0] == folder else folder / file) for key, file in files.items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise wrong(annotation, 0, "it is no list of images and annotations in JSON") from error
    if name != "test":
        return [annotation], [Row(path, labels.get(key, ""), "", 0) for key, path in paths.items()]
    solution = next((place / SOLUTION for place in (home, annotation.parent) if (place / SOLUTION).is_file()), None)
    if solution is None:
        raise wrong(home, 0, f"there is neither test.txt nor {SOLUTION} in it, so nothing tells the test labels")
    answers, none = _solution(solution), ("", 0)
    found = ((path, *answers.get(PurePosixPath(path).stem, none)) for path in paths.values())
    return [solution, annotation], [Row(path, label, "", line) for path, label, line in found]


def _solution(source: Path) -> dict[str, tuple[str, int]]:
    """File number -> class of a test image and the line that says so, from lines `Id,Category` below a first one."""
    found = {}
    for number, line in enumerate(text_of(source).split("\n"), 1):
        image, _, label = line.strip().partition(",")
        if number > 1 and image:
            found[image.strip()] = (label.strip(), number)
    return found


def _known(source: Path, rows: Iterable[Row]) -> list[Item]:
    for row in rows:
        if not (row.label.isdecimal() and int(row.label) < CLASSES):
            raise wrong(
                source, row.line, f"{row.label or 'nothing'} is no class of {row.path}, which is 0 to {CLASSES - 1}"
            )
    return [Item(row.path, row.label, row.line) for row in rows]


def _truth(name: str, label: str) -> Label:
    if name == "u_train_out" or (label.isdecimal() and int(label) >= CLASSES):
        return OUT
    return label if label.isdecimal() else UNKNOWN


def _number(item: Item) -> tuple[int, str]:
    stem = PurePosixPath(item.path).stem
    return int(stem) if stem.isdecimal() else -1, item.path


def _class_and_number(item: Item) -> tuple[int, int, str]:
    return int(item.label), *_number(item)


def _unpublished(home: Path, names: Iterable[str]) -> list[str]:
    """A sentence for each list that is not the published one; an annotation is compared as the list that it gives."""
    found = []
    for name in names:
        sources, rows = _rows(home, name)
        if len(sources) > 1:  # the test images, whose order an annotation does not have
            source, published, content = sources[0], SHA256[SOLUTION], sources[0].read_bytes()
        else:
            source, published = sources[0], SHA256[f"{name}.txt"]
            content = "".join(f"{row.path} {row.label}\n" for row in rows).encode()
        if not hashlib.sha256(content).hexdigest().startswith(published):
            told = f"its SHA-256 checksum begins otherwise than {published}"
            found.append(f"{source} is not the published list ({told}).")
    return found
