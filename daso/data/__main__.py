"""`python -m daso.data fetch`: bring data sets into a folder, for machines that have no network."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from daso.data.sources import READERS, SOURCES, files
from daso.data.sources.archive import Archive
from daso.data.sources.files import Source
from daso.data.sources.loose import LooseFiles
from daso.errors import Flags, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for what cannot be fetched."""
    try:
        args = _parser().read(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"daso.data: {error}", file=sys.stderr)
        return 2
    failed = False
    for name in dict.fromkeys(args.names):
        if name in SOURCES:  # a download, or checksums: seconds without a word
            print(f"Looking for {name} in {args.root}; what is missing is downloaded.", file=sys.stderr, flush=True)
        try:
            print(fetch(name, args.root, args.mirror), flush=True)
        except UserError as error:
            print(f"daso.data: {error}", file=sys.stderr)
            failed = True
    return 2 if failed else 0


def fetch(name: str, root: Path, mirror: str = "") -> str:
    """Bring a data set into `root` unless it is there, and compare it with what its makers published.

    Args:
        name: an option of the group dataset.
        root: what `dataset.root` will be.
        mirror: the URL of a folder with the files that are published; empty: where their makers have them.

    Returns:
        A sentence that says what is where.

    Raises:
        UserError: it is no data set that can be downloaded; it is not there and cannot be; other files lie there.
    """
    if name in READERS and name not in SOURCES:
        return f"{name} comes with a package that is installed: there is nothing to fetch."
    if name not in SOURCES:
        raise UserError(f"{name} cannot be fetched: this fetches {', '.join(SOURCES)}; others are files of your own.")
    source = mirrored(SOURCES[name], mirror) if mirror else SOURCES[name]
    names = source.names(unlabeled=True)
    found = files.obtain(source, root.expanduser(), name, names, verify=True)
    folders = ", ".join(sorted({str(path.parent) for path in found.values()}))
    size = sum(path.stat().st_size for path in found.values()) / 1e6
    return f"{name} is in {folders}: {len(found)} files, {size:,.0f} MB, as published; dataset.root={root}"


def mirrored(source: Source, mirror: str) -> Source:
    """A data set whose files, of the names and checksums that are published, come from the folder of a URL."""
    place = mirror.rstrip("/")
    if isinstance(source, Archive):
        return replace(source, url=f"{place}/{source.name}")
    assert isinstance(source, LooseFiles), "there are two kinds"
    return replace(source, url=f"{place}/")


def _parser() -> Flags:
    parser = Flags(prog="python -m daso.data", description=__doc__)
    commands = parser.add_subparsers(metavar="fetch NAME...", required=True)
    command = commands.add_parser("fetch", help="download data sets, once", description="Download data sets, once.")
    command.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(SOURCES)}")
    command.add_argument("--root", type=Path, default=Path("data"), help="what dataset.root will be (default: data)")
    command.add_argument("--mirror", default="", metavar="URL", help="a folder with the published files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
