"""`python -m daso.predict`: what the network of a finished run says of images, or the network in a file of its own.

  python -m daso.predict RUN IMAGES... [out=predictions.csv]     files, and folders with all that is below them
  python -m daso.predict RUN export=net.pt2                      for torch alone, see docs/predict.md

RUN is a run's folder, or its key in out_root=outputs, or `latest`, the one finished last; device=auto, cpu, cuda or
cuda:1. A line an image: path, class, probability; `out=` makes a table of all classes. Exit code 1: some files were
no images, and are named.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from daso.data.images.tree import Walk
from daso.errors import UserError
from daso.machine.streams import outlive_readers, say_start
from daso.outputs.endings import EXPORTED, ending
from daso.outputs.files import asked_for
from daso.outputs.rundir import LATEST
from daso.settings.options import refuse_flags

if TYPE_CHECKING:
    from daso.trained.load import Trained

OPTIONS = ("out", "export", "out_root", "device")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 where files were no images, 2 for a mistake."""
    outlive_readers()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        return _act(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def images_of(names: Sequence[str]) -> list[Path]:
    """The files that a person names, and all images in and below the folders.

    Raises:
        UserError: a name of nothing, or a folder without images.
    """
    found: list[Path] = []
    for path in (Path(name).expanduser() for name in names):
        if path.is_dir():
            below = [path / name for name in Walk(path).images(path)]
            if not below:
                raise UserError(f"{path} is not possible: this folder holds no image.")
            found += below
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path} is not possible: there is no such file or folder.")
    return found


def _act(arguments: Sequence[str]) -> int:
    options, names = _told(arguments)
    if not names:
        raise UserError("A run is missing: python -m daso.predict RUN IMAGES..., or RUN export=net.pt2.")
    run, *files = names
    if not files and "export" not in options:
        raise UserError(f"What shall run {run} look at? Name images, folders of images, or export=net.pt2.")
    paths = images_of(files)  # all this before anything slow
    if options.get("out"):
        ending("out", options["out"], "a table of answers", [".csv"])
    if "export" in options:
        ending("export", options["export"], "a network", [EXPORTED])
    say_start()  # torch lets no thread speak while it is loaded
    from daso.trained.load import load_run

    trained = load_run(run, options.get("out_root", "outputs"), options.get("device", "auto"))
    if run == LATEST:  # of any data set, perhaps not the one that was meant
        print(f"{LATEST} is {trained.name}, in {trained.folder}", file=sys.stderr, flush=True)
    if "export" in options:
        print(f"wrote {trained.export(options['export'])}: {trained.name}")
    return _predict(trained, paths, options.get("out", "")) if paths else 0


def _predict(trained: "Trained", paths: list[Path], out: str) -> int:
    broken = 0
    with _table(out) as table:
        writer = csv.writer(table) if table else None
        if writer:
            writer.writerow(["path", "class", "probability", *(f"p/{name}" for name in trained.classes)])
        for start in range(0, len(paths), trained.at_once):
            some = paths[start : start + trained.at_once]
            found, bad = trained.predict_files(some)
            for place, reason in bad.items():
                print(f"{some[place]} {reason}.", file=sys.stderr)
            broken += len(bad)
            good = [path for place, path in enumerate(some) if place not in bad]
            for path, row in zip(good, found, strict=True):
                best = int(row.argmax())
                if writer:
                    writer.writerow([path, trained.classes[best], *(f"{p:.6g}" for p in (row[best], *row))])
                else:
                    print(f"{path}  {trained.classes[best]}  {row[best]:.3f}")
    if out:
        seen = len(paths) - broken
        print(f"wrote {out}: {seen:,} image{'s' * (seen != 1)} by {trained.name}")
    if broken:
        print(f"{broken} of {len(paths):,} files could not be used.", file=sys.stderr)
    return int(broken > 0)


def _told(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options by name, and the other arguments."""
    options: dict[str, str] = {}
    names: list[str] = []
    known = f"options are {', '.join(f'{name}=' for name in OPTIONS)}"
    refuse_flags(arguments, OPTIONS)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key.isidentifier() and not Path(argument).exists():
            if key not in OPTIONS:
                raise UserError(f"{argument} is not possible: {known}.")
            options[key] = value
        elif argument.startswith("-") and not Path(argument).exists():
            raise UserError(f"{argument} is not possible: {known}.")
        else:
            names.append(argument)
    return options, names


@contextmanager
def _table(out: str) -> Iterator[TextIO | None]:
    """The file of a name; None without one.

    Raises:
        UserError: it cannot be written.
    """
    if not out:
        yield None
        return
    with (
        asked_for("out", out) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        yield file


if __name__ == "__main__":
    sys.exit(main())
