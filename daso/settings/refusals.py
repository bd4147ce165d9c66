"""Command lines that are refused before anything is composed: flags, choices and switches that are none."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from daso.errors import UserError
from daso.settings import field_names
from daso.settings.identity import knobs
from daso.settings.mistakes import WITHOUT_SPACES, unreadable
from daso.settings.option_files import entries
from daso.settings.options import CONF, groups, program, refuse_flags, unflagged
from daso.settings.words import AGAIN, KINDS, OVERRIDE, SEVERAL, SURE, listed, meant, short

NAME = re.compile(
    r"(?!(true|false|null|nan|inf)$)(\d+[A-Za-z_](?!\d+$)|[A-Za-z_])[\w./-]{0,99}", re.IGNORECASE
)  # of an option
NUMBER = r"[-+]?[\d_.]+(e[-+]?\d+)?"
NO_SWITCH = re.compile(rf"(?![01]$){NUMBER}")
TOGETHER = ("track",)  # groups of which several options may be chosen at once


def refuse_no_choice(arguments: Sequence[str]) -> None:
    """Refuse in words what composition would die of, or take for something else.

    Raises:
        UserError: an argument without a key; a configuration group that is set to nothing, or to several options.
    """
    for argument in arguments:
        if not argument.partition("=")[0].strip():
            raise UserError(unreadable(argument))
        if both := _two_in_one(argument):
            raise UserError(f"{short(argument)} is not possible: it is {both} in one pair of quotes; each has its own.")
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
        if value.endswith(","):
            raise UserError(f"{argument} is not possible: {WITHOUT_SPACES}.")
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
            raise UserError(f"{argument} is not possible: {empty}; {listed(group)}.")
        if not SEVERAL.match(value) and not all(_names_option(option.strip()) for option in value.split(",")):
            named = field_names.hint(value.strip("'\""), groups()[group]) if group == "algorithm" else ""
            hint = named if named.endswith("?") else f"{listed(group)}."
            raise UserError(f"{short(argument)} is not possible: {hint}")


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
        if len(name) < 3 or not name.startswith("-") or name in flags:
            continue
        if key in AGAIN:
            raise UserError(f"{argument} is not possible: {AGAIN[key]}.")
        if key not in known:
            near = [f"{one}=..." for one in groups() if one.startswith(key)]
            near += [flag for flag in flags if flag.startswith(name)]
            near = near or get_close_matches(name, flags, 1, SURE) or [f"{one}=..." for one in meant(key)]
            if near:
                raise UserError(f"{argument} is not possible: did you mean {' or '.join(near)}?")
            if not name.startswith("--"):  # of which a parser takes the first letter for a flag
                right = f"there is no such flag; {program()} --hydra-help lists them"
                raise UserError(f"{argument} is not possible: {right}.")
            continue
        if "=" not in argument and (key == "plan" or (key in knobs() and knobs()[key].type is bool)):
            raise UserError(f"{argument} is not possible: write {key}=true.")
        refuse_flags(arguments[place:], known)


def _two_in_one(argument: str) -> str:
    """Several overrides that one argument holds, as words; empty where it holds one."""
    words = argument.split()
    several = [word for word in words if word.partition("=")[0].lstrip("+") in {*groups(), *knobs()} and "=" in word]
    return " and ".join(several) if len(several) == len(words) > 1 else ""


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
    strange = [word for word in words if word not in groups()[group]]
    if value.endswith("]") and strange and (near := get_close_matches(strange[0], known, 1)):
        raise UserError(f"{argument} is not possible: there is no {group}={strange[0]}; did you mean {near[0]}?")
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
