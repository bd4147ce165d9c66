"""A user's mistake as one sentence: what was typed, and what would be right.

Errors are told apart by their class names, so that nothing of the configuration library is imported here.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from typing import get_args

from daso.credentials import mask
from daso.errors import UserError
from daso.schema import OPTIONS
from daso.settings import field_names
from daso.settings.identity import knobs
from daso.settings.option_files import complaint, line_of
from daso.settings.options import groups, own_folders, program
from daso.settings.words import AGAIN, KINDS, OVERRIDE, SEVERAL, SHOWN, beginning, listed, meant, typed

EXTRA, ALL = "-e '.[sweep]'", "-e ."
PLUGINS = {  # options of other packages, and what brings these
    **{("hydra/launcher", name): EXTRA for name in ("joblib", "submitit_slurm", "submitit_local")},
    ("hydra/sweeper", "optuna"): ALL,
}
COMMANDS = ("data", "predict", "report", "runs", "splits", "store")  # as python -m daso.<name>
CURLY, DASHES = "“”„‘’", ("–", "—")
WITHOUT_SPACES = "values of a sweep are written without spaces, as in seed=0,1"
SPAN = re.compile(r"(\d+)(?:\.\.|:|-)(\d+)")  # of whole numbers, as other languages write one


def explain(error: BaseException, arguments: list[str]) -> str:
    """The sentence for an error that ended composition.

    Args:
        error: what was raised, with its chain of causes.
        arguments: the command line, for the value of a key that the error only names.
    """
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, UserError):
            return str(link)
    if fault := complaint(arguments):
        return fault
    text = str(error)
    if type(error).__name__ == "OverrideParseException":
        return unreadable(str(getattr(error, "override", text)))
    if found := re.search(r"Ambiguous value for argument '(.*?)'\n", text, re.DOTALL):
        return f"{found[1]} holds several values: add -m to run one job for each, or write [a,b] for a list."
    if found := re.search(r"Could not (?:find|load) '([^']+)'", text):
        return _no_option(found[1], arguments)
    if found := re.search(r"Could not override '([^']+)'|config group '([^']+)' does not exist", text):
        return no_such_key(found[1] or found[2], arguments)
    if type(error).__name__ == "InstantiationException":
        if "Error locating target 'optuna." in text and _is_missing("optuna"):
            return _lacks_package("hydra/sweeper", typed("hydra/sweeper", arguments) or "study", ALL)
        reason = _first_line(error).partition(", set env var")[0]
        place = re.search(r"full_key: (\S+)", text)
        return f"{place[1] if place else 'The command line'} is not possible: {reason}."
    for link in reversed(chain):
        key = str(getattr(link, "full_key", None) or "")
        if key and type(link).__name__ in ("ConfigKeyError", "ConfigAttributeError"):
            return no_such_key(key, arguments)
        if key and type(link).__name__ in ("ValidationError", "UnsupportedValueType"):
            return _wrong_type(key, str(link), arguments)
        if key:
            return f"{key}={typed(key, arguments) or '...'} is not possible: {_first_line(link)}."
    return f"The configuration cannot be composed: {_first_line(error)}."


def no_such_key(key: str, arguments: Sequence[str], here: list[str] | None = None) -> str:
    """The sentence for a key that does not exist, with the closest one that does.

    Args:
        key: the dotted key.
        arguments: the command line.
        here: the keys that exist at its place, where the place depends on other choices.
    """
    shown = _shown(key, arguments)
    if key in AGAIN:
        return f"{shown} is not possible: {AGAIN[key]}."
    node, _, name = key.rpartition(".")
    if here is None and key in knobs():
        readers = [choice for choice, kind in OPTIONS[node].items() if name in kind.__dataclass_fields__]
        return f"{shown} is not possible: the chosen {node} has no {name}; it belongs to {', '.join(readers)}."
    beside = here or [place for place in knobs() if place.rpartition(".")[0] == node]
    names = [place.rpartition(".")[2] for place in beside] if node else []
    near = beginning(name, names) or get_close_matches(name, names, 1)
    close = [f"{node}.{one}" for one in near]
    if not (node and beside):
        close = meant(key)
    elif not close and len(beside) > SHOWN:  # the right key of another node, perhaps
        close = meant(name)
    if close:
        return f"{shown} is not possible: there is no key {key}; did you mean {' or '.join(close)}?"
    if node and len(beside) in range(1, SHOWN + 1):
        return f"{shown} is not possible: there is no key {key}; {node} has {', '.join(names)}."
    return f"{shown} is not possible: there is no key {key}; {program()} --help lists them all."


def _no_option(wanted: str, arguments: Sequence[str]) -> str:
    group, _, option = mask(wanted).rpartition("/")
    options = groups().get(group, [])
    if (group, option) in PLUGINS:
        return _lacks_package(group, typed(group, arguments) or option, PLUGINS[group, option])
    if group == "algorithm" and (named := field_names.hint(option, options)):
        return f"{group}={option} is not possible: {named}{'' if named.endswith('?') else '.'}"
    if misplaced := _misplaced(group, option):
        return f"{group}={option} is not possible: {misplaced}."
    small = {one.lower(): one for one in options}
    same = [small[option.lower()]] if option.lower() in small else []
    close = same or beginning(option, options) or get_close_matches(option, options, 1)
    known = listed(group)
    if group == "dataset" and not close:
        known += "; your own images are dataset=folder dataset.root=PATH"
    hint = f"did you mean {' or '.join(close)}? {re.sub('^options', 'Options', known)}" if close else known
    return f"{group}={option} is not possible: {hint}."


def _misplaced(group: str, option: str) -> str:
    """Where a person's own option file lies that is not found there; empty where there is none."""
    for folder in own_folders():
        if (path := folder / f"{option}.yaml").is_file():
            right = f"--config-dir {folder.parent}" if folder.name == group else f"it belongs into {folder / group}"
            return f"{path} lies where the folder {group} is looked for; {right}"
        if (path := folder / group / f"{option}.yml").is_file():
            return f"{path} is not read, for option files end in .yaml"
    return ""


def _lacks_package(group: str, option: str, remedy: str) -> str:
    return f"{group}={option} is not possible: it needs a package more, pip install {remedy}."


def _is_missing(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return True
    return False


def _shown(key: str, arguments: Sequence[str]) -> str:
    """`key`, or what was typed for it or for a place below it, without signs."""
    found = [match for argument in arguments if (match := OVERRIDE.match(argument))]
    typed_here = [match for match in found if match["key"] == key or match["key"].startswith(f"{key}.")]
    return f"{typed_here[-1]['key']}={typed_here[-1]['value']}" if typed_here else key + line_of(key, arguments)


def _wrong_type(key: str, message: str, arguments: list[str]) -> str:
    key = key.partition("[")[0]
    quoted = re.search(r"Value '(.*?)'", message, re.DOTALL)
    given = typed(key, arguments)
    value = given if given is not None else quoted[1] if quoted else "..."
    parts = [place for place in knobs() if place.startswith(f"{key}.")]
    if parts:
        return f"{key}={value} is not possible: it holds several values, set {parts[0]} or another of them."
    kind = knobs()[key].type if key in knobs() else object
    right = KINDS.get(kind, "a value of another kind")
    if isinstance(kind, type) and issubclass(kind, Enum):
        right = f"one of {', '.join(member.name for member in kind)}"
    elif get_args(kind):
        right = "a list of whole numbers, such as [20,10]" if get_args(kind) == (int,) else "a list, such as [0.5,0.9]"
    elif kind is int and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e\+?\d)?", value) and float(value).is_integer():
        right += f", such as {int(float(value))}"
    elif kind is int and SPAN.fullmatch(value):
        right += f"; a sweep over several is -m {key}=0,1,2, or -m '{key}=range(0,3)'"
    where = "" if given is not None else line_of(key, arguments)
    return f"{key}={value}{where} is not possible: it is {right}."


def unreadable(override: str) -> str:
    """The sentence for an argument that cannot be read."""
    word = override.strip()
    if any(letter in word for letter in CURLY):
        return f"{word} cannot be read: its quotes are curly ones, and a shell takes straight ones, ' or \"."
    if word.startswith(DASHES):
        return f"{word} is not possible: it begins with a dash where a hyphen is meant; write {_hyphened(word)}."
    if not word.partition("=")[0].strip() or "=" not in word:
        right = "an argument has the form key=value, without spaces"
        if word in COMMANDS:
            right = f"write python -m daso.{word}"
        return f"{word or 'An empty argument'} is not possible: {right}."
    if SEVERAL.match(word.partition("=")[2].strip()):
        forms = "range(a,b,step), interval(a,b), tag(log,interval(a,b)) with numbers, choice(x,y) with values"
        return f"{override} cannot be read: values of a sweep are {forms}."
    if word.endswith(","):
        return f"{override} cannot be read: {WITHOUT_SPACES}."
    special = ", = { } [ ] ( ) $ ~ or letters beyond a-z"
    return f"{override} cannot be read: put a value that holds {special} into quotes, as in 'key=\"a,b\"'."


def _hyphened(word: str) -> str:
    name = word.lstrip("".join(DASHES))
    return f"-{name}" if len(name) == 1 else f"--{name}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
