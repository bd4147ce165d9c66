"""`python -m daso.store`: the decoded images of data sets of files, apart from any run.

  python -m daso.store build dataset=folder dataset.root=PATH [key=value ...]    what a run with them would build
  python -m daso.store list dataset.root=PATH | dataset.store=FOLDER             what is there
  python -m daso.store check dataset.root=PATH | dataset.store=FOLDER [key=KEY]  compare every image with its checksum
  python -m daso.store remove dataset.root=PATH | dataset.store=FOLDER key=KEY   free the disk

A run builds what it needs by itself; other runs that need the same wait for it. Exit code 1: an image is damaged.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from daso.data.images.listing import OWN, enumerate_some
from daso.data.images.store import Listed, gigabytes, load, remove, stores
from daso.errors import UserError

ACTIONS = ("build", "list", "check", "remove")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for damaged images, or 2 for a mistake."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        action, *values = arguments
        if action not in ACTIONS:
            raise UserError(f"{action} is not possible: one of {', '.join(ACTIONS)}.")
        return {"build": build, "list": show, "check": check, "remove": free}[action](values)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def build(values: Sequence[str]) -> int:
    """Build every store that a run would need, or say that they are there."""
    from daso.data.images.source import gallery, store_folder
    from daso.machine.devices import usable_cores
    from daso.settings.compose import configuration

    chosen = any(value.startswith("algorithm=") for value in values)
    config = configuration([*values, *([] if chosen else ["algorithm=supervised"])])
    dataset = config.dataset
    if not dataset.reader:
        raise UserError(f"dataset={dataset.name} is not possible: it is no data set of image files, such as folder.")
    found = gallery(dataset, config.seed, len(usable_cores()), _Telling)
    for note in [*found.index.notes, *found.notes]:
        print(note)
    print(f"{len(found.index.paths):,} images of {found.index.root} are stored in {store_folder(dataset)}.")
    return 0


def show(values: Sequence[str]) -> int:
    """List the stores of some folders."""
    for folder in _folders(values):
        print(folder)
        for one in stores(folder):
            facts = f"{one.images:>9,}  {_kept(one):<18}  {gigabytes(one.bytes):>9}"
            print(f"  {one.key}  {facts}  {one.of}{', ' * bool(one.of)}{one.state}")
    return 0


def check(values: Sequence[str]) -> int:
    """Compare every image of some stores, or of one, with its checksum."""
    code = 0
    for folder, one in _stores(values):
        other, _, more = one.state.partition("whole")
        if other:
            print(f"{one.key} ({one.of}): {one.state}")
            code |= "another version" in one.state
            continue
        store = load(folder, one.key)
        assert store is not None, "it was listed as whole"
        damaged = store.damaged(range(len(store.size)))
        rows = enumerate_some([str(row) for row in damaged])
        print(f"{one.key} ({one.of}): " + (f"damaged images {rows}; remove it" if damaged else f"intact{more}"))
        code |= bool(damaged)
    return code


def free(values: Sequence[str]) -> int:
    """Remove one store."""
    if not _value(values, "key"):
        raise UserError("key= is missing: name the store to be removed, as list shows it.")
    for folder, one in _stores(values):
        print(f"Freed {gigabytes(remove(folder, one.key))} in {folder}.")
    return 0


def _stores(values: Sequence[str]) -> list[tuple[Path, Listed]]:
    """The stores of the folders that the values name, and their folders; only one where they name its key."""
    folders, key = _folders(values), _value(values, "key")
    found = [(folder, one) for folder in folders for one in stores(folder) if key in ("", one.key)]
    if not found:
        raise UserError(f"key={key} is not possible: there is no such store in {', '.join(map(str, folders))}.")
    return found


def _folders(values: Sequence[str]) -> list[Path]:
    """The folders of stores that the values name: that of a data set, or one of several and what lies in it."""
    root, store = _value(values, "dataset.root"), _value(values, "dataset.store")
    if not root and not store:
        raise UserError("dataset.root= or dataset.store= is missing: name the images' folder, or that of the stores.")
    top = Path(store or root).expanduser()
    if not store:
        top = top / OWN
    folders = [folder for folder in (top, *sorted(top.glob("*/"))) if any(stores(folder))]
    if not folders:
        key = "store" if store else "root"
        raise UserError(f"dataset.{key}={store or root} is not possible: no store is in {top}.")
    return folders


def _value(values: Sequence[str], key: str) -> str:
    known = (value.partition("=") for value in values)
    return next((text for name, _, text in known if name == key), "")


def _kept(one: Listed) -> str:
    """What a store keeps of an image, in short."""
    if one.rule is None:
        return ""
    rule = one.rule
    return f"short side {rule.short}" if rule.kind == "fit" else f"centre {rule.side} of {rule.short}"


class _Telling:
    """Prints how far the store of a set is, a line a tenth."""

    def __init__(self, name: str) -> None:
        self.name, self.tenth = name, -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > self.tenth:
            self.tenth = tenth
            print(f"{self.name} images: {done:,} of {total:,}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
