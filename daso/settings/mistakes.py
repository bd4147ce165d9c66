"""A user's mistake as one sentence: what was typed, and what would be right.

Errors are told apart by their class names, so that nothing of the configuration library is imported here.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import get_args

from daso.credentials import mask
from daso.errors import UserError
from daso.schema import OPTIONS
from daso.settings import field_names
from daso.settings.identity import knobs
from daso.settings.option_files import complaint, entries, line_of
from daso.settings.options import CONF, groups, program, refuse_flags, unflagged

OVERRIDE = re.compile(r"^[+~]{0,2}(?P<key>[\w./-]+)(?P<package>@[\w.]*)?=(?P<value>.*)$", re.DOTALL)
NAME = re.compile(
    r"(?!(true|false|null|nan|inf)$)(\d+[A-Za-z_](?!\d+$)|[A-Za-z_])[\w./-]{0,99}", re.IGNORECASE
)  # of an option
SEVERAL = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")  # of a sweep
NUMBER = r"[-+]?[\d_.]+(e[-+]?\d+)?"
NO_SWITCH = re.compile(rf"(?![01]$){NUMBER}")
EXTRA, ALL = "-e '.[sweep]'", "-e ."
PLUGINS = {  # options of other packages, and what brings these
    **{("hydra/launcher", name): EXTRA for name in ("joblib", "submitit_slurm", "submitit_local")},
    ("hydra/sweeper", "optuna"): ALL,
}
TOGETHER = ("track",)  # groups of which several options may be chosen at once
SURE = 0.8  # likeness of a word that is most probably meant
FULL_NAMES = 3  # keys that one short name may stand for
COMMANDS = ("data", "predict", "report", "runs", "splits", "store")  # as python -m daso.<name>
SHOWN = 14  # options that a sentence has room for
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


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
        return _unreadable(str(getattr(error, "override", text)))
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
    node, _, name = key.rpartition(".")
    if here is None and key in knobs():
        readers = [choice for choice, kind in OPTIONS[node].items() if name in kind.__dataclass_fields__]
        return f"{shown} is not possible: the chosen {node} has no {name}; it belongs to {', '.join(readers)}."
    beside = here or [place for place in knobs() if place.rpartition(".")[0] == node]
    near = get_close_matches(name, [place.rpartition(".")[2] for place in beside], 1) if node and beside else []
    close = [f"{node}.{near[0]}"] if near else []
    if not (node and beside):
        close = meant(key)
    elif not close and len(beside) > SHOWN:  # the right key of another node, perhaps
        close = meant(name)
    if close:
        return f"{shown} is not possible: there is no key {key}; did you mean {' or '.join(close)}?"
    if node and len(beside) in range(1, SHOWN + 1):
        names = ", ".join(place.rpartition(".")[2] for place in beside)
        return f"{shown} is not possible: there is no key {key}; {node} has {names}."
    return f"{shown} is not possible: there is no key {key}; {program()} --help lists them all."


def meant(key: str) -> list[str]:
    """The keys that a person means by one that does not exist: its full names, and what is written most like it."""
    known = [*groups(), *knobs()]
    near = get_close_matches(key, [one for one in known if "." not in one], 1, SURE)
    full = [one for one in known if one.rpartition(".")[2] == key or one.replace(".", "_") == key]
    return [*near, *full] if 0 < len(full) <= FULL_NAMES else get_close_matches(key, known, 1)


def refuse_no_choice(arguments: Sequence[str]) -> None:
    """Refuse in words what composition would die of, or take for something else.

    Raises:
        UserError: an argument without a key; a configuration group that is set to nothing, or to several options.
    """
    for argument in arguments:
        if not argument.partition("=")[0].strip():
            raise UserError(_unreadable(argument))
        found = OVERRIDE.match(argument)
        if not found or found["key"] not in groups():
            continue
        group, value = found["key"], found["value"].strip()
        if argument.startswith("~"):
            raise UserError(f"{argument} is not possible: to leave {group} out, write ~{group}.")
        if argument.startswith("+") and not found["package"] and (CONF / group).is_dir():
            joined = "; an option file of your own joins two, with - quickstart as the first of its defaults"
            once = f"{group} is chosen without + and once, {group}={value}{joined * (group == 'experiment')}"
            raise UserError(f"{argument} is not possible: {once}.")
        if value.startswith("[") and group in TOGETHER:
            _refuse_no_list(argument, group, value)
            continue
        if group in TOGETHER and ("," in value or SEVERAL.match(value)):
            right = f"several at once are '{group}=[{','.join(_meant_together(group, value))}]'"
            raise UserError(f"{argument} is not possible: {group} makes no other run; {right}.")
        if value.startswith("[") and "," in value:
            one = f"one option at a time; -m {group}={value.strip('[]')} runs a job for each"
            raise UserError(f"{argument} is not possible: {one}.")
        if group == "dataset" and (place := _place_of_images(value)):
            raise UserError(f"{argument} is not possible: dataset names an option; your own images are {place}.")
        if any(option.strip().lower() in ("null", "") for option in value.split(",")):
            empty = f"{group}=none leaves the place empty" if "none" in groups()[group] else "choose an option"
            raise UserError(f"{argument} is not possible: {empty}; {_listed(group)}.")
        if not SEVERAL.match(value) and not all(_names_option(option.strip()) for option in value.split(",")):
            named = field_names.hint(value.strip("'\""), groups()[group]) if group == "algorithm" else ""
            hint = named if named.endswith("?") else f"{_listed(group)}."
            raise UserError(f"{_short(argument)} is not possible: {hint}")


def refuse_no_flag(arguments: Sequence[str], flags: Sequence[str]) -> None:
    """Refuse keys that are written like flags, and flags that are not written in full, before a parser takes either for
    the beginning of one that it knows.

    Args:
        arguments: the command line.
        flags: those that there are.

    Raises:
        UserError: such a key, with what would be right.
    """
    for place, argument in enumerate(arguments):
        name, known = argument.partition("=")[0], [*groups(), *knobs()]
        key, _ = unflagged(arguments, place)
        if len(name) < 3 or not name.startswith("--") or name in flags:
            continue
        if key not in known:
            near = [f"{one}=..." for one in groups() if one.startswith(key)]
            near += [flag for flag in flags if flag.startswith(name)]
            near = near or get_close_matches(name, flags, 1, SURE) or [f"{one}=..." for one in meant(key)]
            if near:
                raise UserError(f"{argument} is not possible: did you mean {' or '.join(near)}?")
            continue
        refuse_flags(arguments[place:], known)


def _place_of_images(value: str) -> str:
    """How to name the images that a person means by a path in the place of an option; empty where it is no path."""
    path = value.strip("'\"")
    if path in groups()["dataset"]:
        return ""
    if "/" not in path and not path.startswith(("~", ".")) and not _is_there(path):
        return ""
    if path.endswith((".csv", ".txt")):
        return f"dataset=csv dataset.lists={path.rpartition('/')[0] or '.'}"
    return f"dataset=folder dataset.root={path}"


def _is_there(path: str) -> bool:
    """Whether there is such a folder, or list of images, here; there is none of a name that no file system takes."""
    try:
        place = Path(path)
        return bool(path) and (place.is_dir() or (place.suffix in (".csv", ".txt") and place.is_file()))
    except (OSError, ValueError):
        return False


def _refuse_no_list(argument: str, group: str, value: str) -> None:
    """Refuse a list of options that is none, or in which `none` is not alone."""
    words = [word.strip() for word in value.removeprefix("[").removesuffix("]").split(",")]
    known = [option for option in groups()[group] if option != "none"]
    if not value.endswith("]") or not {*words} <= {*known} or len({*words}) < len(words):
        right = f"a list has each of {', '.join(known)} once at most, as {group}=[{','.join(known[:2])}]"
        raise UserError(f"{argument} is not possible: {right}; {group}=none is for none of them.")


def _meant_together(group: str, value: str) -> list[str]:
    """The options of a list that a value with commas means, or an example where it names fewer than two."""
    known = [option for option in groups()[group] if option != "none"]
    named = list(dict.fromkeys(word for word in re.findall(r"\w+", value) if word in known))
    return named if len(named) > 1 else known[:2]


def _names_option(value: str) -> bool:
    """Whether a value may be the name of an option: no number, list or mapping, and no place that is no group."""
    places = re.findall(r"\$\{([^}]*)\}", value)
    name = re.sub(r"\$\{[^}]*\}", "x", value)
    return NAME.fullmatch(name) is not None and all(place in groups() for place in places)


def refuse_no_switch(arguments: Sequence[str]) -> None:
    """Refuse numbers for what is true or false; the configuration library takes any number for true.

    Raises:
        UserError: such a number, typed or in a chosen option file.
    """
    given = [(found["key"], found["value"], item) for item in arguments if (found := OVERRIDE.match(item))]
    known = {key for key, *_ in given}
    given += [(e.key, e.value, f"{e.key}={e.value} ({e.place})") for e in entries(arguments) if e.key not in known]
    numbers = [(key, shown) for key, value, shown in given if NO_SWITCH.fullmatch(value.strip())]
    switches = {key for key, knob in knobs().items() if knob.type is bool} if numbers else set()
    for key, shown in numbers:
        if key in switches:
            raise UserError(f"{shown} is not possible: it is {KINDS[bool]}.")


def typed(key: str, arguments: Sequence[str]) -> str | None:
    """The value that the command line gives to `key`; None where it does not name it."""
    for argument in reversed(arguments):
        if (found := OVERRIDE.match(argument)) and found["key"] == key:
            return found["value"]
    return None


def _no_option(wanted: str, arguments: Sequence[str]) -> str:
    group, _, option = mask(wanted).rpartition("/")
    options = groups().get(group, [])
    if (group, option) in PLUGINS:
        return _lacks_package(group, typed(group, arguments) or option, PLUGINS[group, option])
    if group == "algorithm" and (named := field_names.hint(option, options)):
        return f"{group}={option} is not possible: {named}{'' if named.endswith('?') else '.'}"
    close = get_close_matches(option, options, 1)
    listed = _listed(group)
    if group == "dataset" and not close:
        listed += "; your own images are dataset=folder dataset.root=PATH"
    hint = f"did you mean {close[0]}? {re.sub('^options', 'Options', listed)}" if close else listed
    return f"{group}={option} is not possible: {hint}."


def _lacks_package(group: str, option: str, remedy: str) -> str:
    return f"{group}={option} is not possible: it needs a package more, pip install {remedy}."


def _is_missing(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return True
    return False


def _listed(group: str) -> str:
    """The options of a group, where a sentence has room for them."""
    options = groups().get(group, [])
    if group.startswith("hydra/"):
        return f"options are {', '.join(options)}, and those that {program()} --info plugins lists"
    if len(options) > SHOWN:
        return f"{program()} --help lists all options, and --config-dir FOLDER adds those of your own"
    return f"options are {', '.join(options) or 'none'}"


def _shown(key: str, arguments: Sequence[str]) -> str:
    """`key`, or what was typed for it or for a place below it, without signs."""
    found = [match for argument in arguments if (match := OVERRIDE.match(argument))]
    typed_here = [match for match in found if match["key"] == key or match["key"].startswith(f"{key}.")]
    return f"{typed_here[-1]['key']}={typed_here[-1]['value']}" if typed_here else key + line_of(key, arguments)


def _wrong_type(key: str, message: str, arguments: list[str]) -> str:
    key = key.partition("[")[0]
    quoted = re.search(r"Value '(.*?)'", message, re.DOTALL)
    value = typed(key, arguments) or (quoted[1] if quoted else "...")
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
    where = "" if typed(key, arguments) else line_of(key, arguments)
    return f"{key}={value}{where} is not possible: it is {right}."


def _unreadable(override: str) -> str:
    if not override.partition("=")[0].strip() or "=" not in override:
        word = override.strip()
        right = (
            f"write python -m daso.{word}" if word in COMMANDS else "an argument has the form key=value, without spaces"
        )
        return f"{word or 'An empty argument'} is not possible: {right}."
    if SEVERAL.match(override.partition("=")[2].strip()):
        forms = "range(a,b,step), interval(a,b), tag(log,interval(a,b)) with numbers, choice(x,y) with values"
        return f"{override} cannot be read: values of a sweep are {forms}."
    if override.rstrip().endswith(","):
        return f"{override} cannot be read: values of a sweep are written without spaces, as in seed=0,1."
    special = ", = { } [ ] ( ) $ ~ or letters beyond a-z"
    return f"{override} cannot be read: put a value that holds {special} into quotes, as in 'key=\"a,b\"'."


def _short(text: str) -> str:
    return text if len(text) < 120 else f"{text[:100]}..."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
