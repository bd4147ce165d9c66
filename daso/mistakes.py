"""A user's mistake as one sentence: what was typed, and what would be right.

Errors are told apart by their class names, so that nothing of the configuration library is imported here.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import get_args

from daso.errors import UserError
from daso.identity import knobs

CONF = Path(__file__).resolve().parents[1] / "conf"
OVERRIDE = re.compile(r"^[+~]{0,2}(?P<key>[\w./-]+)(?P<package>@[\w.]*)?=(?P<value>.*)$", re.DOTALL)
SHOWN = 12  # options that a sentence has room for
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
    text = str(error)
    if type(error).__name__ == "OverrideParseException":
        return _unreadable(str(getattr(error, "override", text)))
    if found := re.search(r"Ambiguous value for argument '(.*?)'\n", text, re.DOTALL):
        return f"{found[1]} holds several values: add -m to run one job for each, or write [a,b] for a list."
    if found := re.search(r"Could not find '([^']+)'", text):
        return _no_option(found[1])
    if found := re.search(r"Could not override '([^']+)'|config group '([^']+)' does not exist", text):
        return no_such_key(found[1] or found[2], arguments)
    for link in reversed(chain):
        key = str(getattr(link, "full_key", None) or "")
        if key and type(link).__name__ in ("ConfigKeyError", "ConfigAttributeError"):
            return no_such_key(key, arguments)
        if key and type(link).__name__ in ("ValidationError", "UnsupportedValueType"):
            return _wrong_type(key, str(link), arguments)
        if key:
            return f"{key}={typed(key, arguments) or '...'} is not possible: {_first_line(link)}."
    return f"The configuration cannot be composed: {_first_line(error)}."


def no_such_key(key: str, arguments: list[str], here: list[str] | None = None) -> str:
    """The sentence for a key that does not exist, with the closest one that does.

    Args:
        key: the dotted key.
        arguments: the command line.
        here: the keys that exist at its place, where the place depends on other choices.
    """
    value = typed(key, arguments)
    shown = key if value is None else f"{key}={value}"
    node, _, name = key.rpartition(".")
    if here is None and key in knobs():
        return f"{shown} is not possible: the chosen {node} has no {name}."
    beside = here or [place for place in knobs() if place.rpartition(".")[0] == node]
    near = get_close_matches(name, [place.rpartition(".")[2] for place in beside], 1) if node and beside else []
    close = [f"{node}.{near[0]}"] if near else []
    if not (node and beside):
        close = get_close_matches(key, [*knobs(), *groups()], 1)
    if close:
        return f"{shown} is not possible: there is no key {key}; did you mean {close[0]}?"
    if node and beside:
        return f"{shown} is not possible: there is no key {key}, only {', '.join(beside)}."
    return f"{shown} is not possible: there is no key {key}; python train.py --help lists them all."


def refuse_null_groups(arguments: list[str]) -> None:
    """Refuse `group=null` in words, before composition dies of it.

    Raises:
        UserError: a configuration group is set to nothing, or to several options one of which is nothing.
    """
    for argument in arguments:
        found = OVERRIDE.match(argument)
        if not found or found["key"] not in groups():
            continue
        if any(option.strip().lower() in ("null", "") for option in found["value"].split(",")):
            options = groups()[found["key"]]
            empty = f"{found['key']}=none leaves the place empty" if "none" in options else "choose an option"
            raise UserError(f"{argument} is not possible: {empty}; options are {', '.join(options)}.")


def groups() -> dict[str, list[str]]:
    """The configuration groups and their options, read from the option files."""
    return {
        str(folder.relative_to(CONF)): sorted(path.stem for path in folder.glob("*.yaml"))
        for folder in sorted(CONF.rglob("*"))
        if folder.is_dir()
    }


def typed(key: str, arguments: list[str]) -> str | None:
    """The value that the command line gives to `key`; None where it does not name it."""
    for argument in reversed(arguments):
        if (found := OVERRIDE.match(argument)) and found["key"] == key:
            return found["value"]
    return None


def _no_option(wanted: str) -> str:
    group, _, option = wanted.rpartition("/")
    options = groups().get(group, [])
    close = get_close_matches(option, options, 1)
    known = ", ".join(options) or "none"
    if close and len(options) > SHOWN:
        return f"{group}={option} is not possible: did you mean {close[0]}? --help lists all options."
    hint = f"did you mean {close[0]}? Options are" if close else "options are"
    return f"{group}={option} is not possible: {hint} {known}."


def _wrong_type(key: str, message: str, arguments: list[str]) -> str:
    key = key.partition("[")[0]
    quoted = re.search(r"Value '(.*?)'", message, re.DOTALL)
    value = typed(key, arguments) or (quoted[1] if quoted else "...")
    kind = knobs()[key].type if key in knobs() else object
    right = KINDS.get(kind, "a value of another kind")
    if isinstance(kind, type) and issubclass(kind, Enum):
        right = f"one of {', '.join(member.name for member in kind)}"
    elif get_args(kind):
        right = "a list, such as [0.5,0.9]"
    elif kind is int and re.fullmatch(r"[-+]?[\d.]+(e\+?\d)?|[-+]?[\d.]+0", value) and float(value).is_integer():
        right += f", such as {int(float(value))}"
    return f"{key}={value} is not possible: it is {right}."


def _unreadable(override: str) -> str:
    if "=" not in override:
        return f"{override} is not possible: an argument has the form key=value."
    return f"{override} cannot be read: put a value that holds , = {{ }} [ ] ( ) or $ into quotes, as in 'key=\"a,b\"'."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
