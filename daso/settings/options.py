"""Where the option files are: the project's, and those that a person brings."""

import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from daso.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""The project's: inside the package where it was installed from a wheel, beside it in a checkout."""

FLAG = re.compile(r"(--config-dir|-cd)(=(?P<value>.*))?$", re.DOTALL)


def own_folders(arguments: Sequence[str] | None = None) -> list[Path]:
    """The folders of option files that a command line adds with `--config-dir`, absolute.

    Args:
        arguments: the command line; that of this process by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    found: list[str] = []
    for place, argument in enumerate(arguments):
        if flag := FLAG.match(argument):
            found += [flag["value"]] if flag["value"] else arguments[place + 1 : place + 2]
    return [Path(folder).absolute() for folder in found[-1:]]  # the last word counts


def unflagged(arguments: Sequence[str], place: int) -> tuple[str, str]:
    """The key and the value of an argument that is written like a flag, `--out-root x` or `--out-root=x`."""
    name, equals, value = arguments[place].partition("=")
    following = arguments[place + 1] if place + 1 < len(arguments) else ""
    if not equals:
        value = following if "=" not in following and following[:1] not in ("", "-") else "VALUE"
    return name.lstrip("-").replace("-", "_"), value


def refuse_flags(arguments: Sequence[str], keys: Collection[str]) -> None:
    """Refuse keys that are written like flags.

    Raises:
        UserError: such a key, with what would be right.
    """
    for place, argument in enumerate(arguments):
        key, value = unflagged(arguments, place)
        if argument.startswith("-") and key in keys:
            raise UserError(f"{argument} is not possible: write {key}={value}.")


def groups() -> dict[str, list[str]]:
    """The configuration groups and their options, read from the option files."""
    found: dict[str, set[str]] = {}
    for root in (CONF, *own_folders()):
        for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
            options = {path.stem for path in folder.glob("*.yaml")}
            found.setdefault(folder.relative_to(root).as_posix(), set()).update(options)
    return {group: sorted(options) for group, options in found.items()}


def chosen(group: str, name: str, arguments: Sequence[str] = ()) -> str:
    """`group=option`, as a person writes it, behind the method `name` of a node.

    Args:
        group: the node, and the folder of its options.
        name: what the node's `name` holds, after which not every option file is called: `abc` is chosen by `abc=paper`.
        arguments: the command line, of which the last word counts; a preset may have chosen without one.
    """
    files = [path for root in (CONF, *own_folders(arguments)) for path in sorted((root / group).glob("*.yaml"))]
    options = [path.stem for path in files]
    typed = [value for key, _, value in (item.lstrip("+").partition("=") for item in arguments) if key == group]
    if typed and typed[-1] in options:
        return f"{group}={typed[-1]}"
    holds = re.compile(rf"^name: *{re.escape(name)} *(#.*)?$", re.MULTILINE)
    first = next((path.stem for path in files if holds.search(path.read_text(encoding="utf-8"))), name)
    return f"{group}={name if name in options else first}"


def program() -> str:
    """How this program is called."""
    return "python train.py" if Path(sys.argv[0]).name == "train.py" else "daso"


def called() -> list[str]:
    """The words of a command line before its overrides: this program, with a person's own options."""
    return [*program().split(), *(word for folder in own_folders() for word in ("--config-dir", str(folder)))]
