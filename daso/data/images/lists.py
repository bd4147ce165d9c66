"""A data set as lists: CSV files with a path and a label, or lines `path class`.

`labeled`, `unlabeled`, `valid` and `test`, each as .csv or .txt, or one `index.csv` with a column that names the set.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from daso.data.images.listing import (
    ALIASES,
    OUT,
    SETS,
    UNKNOWN,
    Item,
    Label,
    Listing,
    Part,
    enumerate_some,
    maybe,
    wrong,
)
from daso.errors import UserError

COLUMNS = {  # what people call them
    "path": ("path", "file_name", "image"),
    "label": ("label", "class", "target", "category"),
    "split": ("split",),
}
SEPARATORS = ",;\t"
ALL, CLASSES = "index.csv", "classes.txt"
NEEDED = {ALL: ("path", "split", "label"), "unlabeled": ("path",)}  # columns; other lists have a path and a label
SET_OF = {alias: name for name in SETS for alias in (name, *ALIASES.get(name, ()))}


class Row(NamedTuple):
    """One line of a list."""

    path: str
    label: str
    split: str
    line: int


def read(root: Path, folder: Path) -> Listing:
    """Read the lists in `folder`; their paths are relative to `root`, or absolute.

    Labels are strings: "01" and "1" are two classes. In the unlabeled list the label is the truth: empty or -1 where it
    is unknown, out or -2 where the image is of none of the classes. A `classes.txt`, a name a line, fixes the classes.

    Raises:
        UserError: lists that are missing, there twice, or not such lists; it names the file and the line.
    """
    if not folder.is_dir():
        raise UserError(f"dataset.lists={folder} is not possible: there is no such folder.")
    classes_file = folder / CLASSES
    classes = _classes(classes_file) if classes_file.is_file() else ()
    sources = _sources(folder)
    rows: dict[str, list[Row]] = {name: [] for name in SETS}
    notes: list[str] = []
    for name, source in sources.items():
        if source.suffix == ".csv":
            found, unread = csv_rows(source, NEEDED.get(name, ("path", "label")))
            if name == "unlabeled" and unread:
                columns = " or ".join(COLUMNS["label"])
                notes.append(f"{source.name} has no column {columns}: what its images show is unknown.")
        else:
            found = text_rows(source)
        for row in found:
            rows[name if name in rows else _set(source, row)].append(row)
    for name, source in sources.items():
        if not rows["labeled" if name == ALL else name]:
            raise wrong(source, 0, f"it lists no {'labeled ' * (name == ALL)}image")
    lists = {name: sources.get(name, folder / ALL) for name in SETS}
    known = set(classes or (row.label for row in rows["labeled"]))
    parts = [
        Part(
            name,
            [Item(_tidy(row.path, root), _label(name, row, known, source), row.line) for row in rows[name]],
            source,
        )
        for name, source in lists.items()
        if name in sources or rows[name]
    ]
    watched = (*sources.values(), *([classes_file] if classes else []))
    return Listing(root, parts, classes, watched=watched, notes=tuple(notes))


def csv_rows(source: Path, needed: Sequence[str]) -> tuple[Iterator[Row], bool]:
    """Lines of a CSV file whose header names the columns; the separator is the one that the header holds most of.

    Args:
        source: the file.
        needed: the columns, of `COLUMNS`, that it must have.

    Returns:
        The lines, and whether it has columns of other names and none of labels.

    Raises:
        UserError: no text, no such header, or, as one reads on, a line without a path.
    """
    text = text_of(source)
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(SEPARATORS, key=header.count), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise _no_line(source, reader.line_num, error) from error
    at = {column: next((names.index(n) for n in known if n in names), -1) for column, known in COLUMNS.items()}
    for column in needed:
        if at[column] < 0:
            right = f"its first line has no column {' or '.join(COLUMNS[column])}, only {enumerate_some(names)}"
            raise wrong(source, 1, right)
    strange = any(k not in at.values() for k in range(len(names)))

    def rows() -> Iterator[Row]:
        try:
            for values in reader:
                cells = {column: values[k].strip() if 0 <= k < len(values) else "" for column, k in at.items()}
                if any(value.strip() for value in values):
                    if not cells["path"]:
                        raise wrong(source, reader.line_num, "it names no image")
                    yield Row(**cells, line=reader.line_num)
        except csv.Error as error:
            raise _no_line(source, reader.line_num, error) from error

    return rows(), at["label"] < 0 and strange


def _no_line(source: Path, line: int, error: csv.Error) -> UserError:
    return wrong(source, line, f"it is no line of a CSV file ({error})")


def text_rows(source: Path) -> Iterator[Row]:
    """Lines `path class`, parted at the last blank; the class may be left out where the path holds no blank.

    Raises:
        UserError: no text.
    """
    for number, line in enumerate(text_of(source).split("\n"), 1):
        path, _, label = line.strip().rpartition(" ")
        if path or label:
            yield Row((path or label).strip(), label if path else "", "", number)


def _sources(folder: Path) -> dict[str, Path]:
    """The list of each set that has one, or `ALL`: the one of all sets."""
    everything = folder / ALL
    found: dict[str, Path] = {ALL: everything} if everything.is_file() else {}
    for alias, name in SET_OF.items():
        for path in (folder / f"{alias}.csv", folder / f"{alias}.txt"):
            if path.is_file():
                other = found.get(ALL) or found.get(name)
                if other:
                    raise wrong(folder, 0, f"{other.name} and {path.name} both list {name} images, so one of them")
                found[name] = path
    if ALL not in found and "labeled" not in found:
        right = f"there is no labeled.csv, labeled.txt or {ALL} in it"
        raise UserError(f"dataset.lists={folder} is not possible: {right}.")
    return found


def _set(source: Path, row: Row) -> str:
    if row.split.lower() not in SET_OF:
        raise wrong(source, row.line, f"{row.split or 'nothing'} is no split, which is one of {', '.join(SETS)}")
    return SET_OF[row.split.lower()]


def _label(name: str, row: Row, known: set[str], source: Path) -> Label:
    if row.label in known and row.label not in ("", str(UNKNOWN)):
        return row.label
    if name == "unlabeled" and row.label in ("", str(UNKNOWN)):
        return UNKNOWN
    if name == "unlabeled" and row.label in ("out", str(OUT)):
        return OUT
    if row.label in ("", str(UNKNOWN)):
        raise wrong(source, row.line, f"an image of the {name} set needs a class")
    right = f"{row.label}{maybe(row.label, known)} is none of the classes, which are {enumerate_some(sorted(known))}"
    if name == "unlabeled":
        right += "; an image of none of them has the label out"
    raise wrong(source, row.line, right)


def _classes(source: Path) -> tuple[str, ...]:
    names: Sequence[str] = [line.strip() for line in text_of(source).split("\n")]
    for line, name in enumerate(names, 1):
        if name and name in names[: line - 1]:
            raise wrong(source, line, f"class {name} stands in it twice")
    return tuple(name for name in names if name)


def _tidy(path: str, root: Path) -> str:
    """A path with single slashes and without dots, relative to the root where it lies below it."""
    whole = Path(path)
    if whole.is_absolute() and whole.is_relative_to(root.absolute()):
        whole = whole.relative_to(root.absolute())
    return whole.as_posix()


def text_of(source: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        UserError: it is none, or cannot be read.
    """
    try:
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(source, 0, "it is no text in UTF-8") from error
    except OSError as error:
        raise wrong(source, 0, f"it cannot be read ({error.strerror})") from error
