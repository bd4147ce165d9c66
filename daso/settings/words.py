"""What a person typed, and what is most like it: words for sentences about overrides."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from daso.settings.identity import knobs
from daso.settings.options import groups, program

OVERRIDE = re.compile(r"^[+~]{0,2}(?P<key>[\w./-]+)(?P<package>@[\w.]*)?=(?P<value>.*)$", re.DOTALL)
SEVERAL = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")  # of a sweep
SURE = 0.8  # likeness of a word that is most probably meant
FULL_NAMES = 3  # keys that one short name may stand for
OF_METHODS = (
    "abc",
    "align",
    "balance",
    "confidence",
    "darp",
    "debias",
    "protocol",
)  # nodes that differ from method to method
ELSEWHERE = {  # keys of other programs
    **dict.fromkeys(("n_jobs", "njobs", "jobs"), "hydra.launcher.n_jobs"),
    **dict.fromkeys(("gpu", "gpus", "gpu_id", "cuda"), "device"),
    **dict.fromkeys(("output_dir", "out_dir", "save_dir"), "out_root"),
    **dict.fromkeys(("amp", "fp16", "bf16"), "train.precision"),
    **dict.fromkeys(("data_dir", "data_root"), "dataset.root"),
}
AGAIN = {"resume": "nothing asks for it, as the same line started again goes on where the run was"}
SHOWN = 14  # options that a sentence has room for
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def meant(key: str) -> list[str]:
    """The keys that a person means by one that does not exist: its full names, those that begin so, what other programs
    call so, and what is written most like it.
    """
    known = [*groups(), *knobs()]
    name = key.rpartition(".")[2]
    if name in ELSEWHERE:
        return [ELSEWHERE[name]]
    near = get_close_matches(key, [one for one in known if "." not in one], 1, SURE)
    full = [one for one in known if one.rpartition(".")[2] == key or one.replace(".", "_") == key]
    full = [one for one in full if one.partition(".")[0] not in OF_METHODS] or full
    longer = [one for one in known if one.rpartition(".")[2].startswith(f"{key}_") and one.partition(".")[0] == "imb"]
    if 0 < len(longer + full) <= FULL_NAMES:
        return [*near, *longer, *full]
    return get_close_matches(key, known, 1)


def beginning(name: str, names: Iterable[str]) -> list[str]:
    """Those of several names that have another word behind this one, as `table1_cifar10`, where they are few."""
    found = [one for one in names if name and one.startswith(f"{name}_")]
    return found if len(found) <= FULL_NAMES else []


def typed(key: str, arguments: Sequence[str]) -> str | None:
    """The value that the command line gives to `key`; None where it does not name it."""
    for argument in reversed(arguments):
        if (found := OVERRIDE.match(argument)) and found["key"] == key:
            return found["value"]
    return None


def listed(group: str) -> str:
    """The options of a group, where a sentence has room for them."""
    options = groups().get(group, [])
    if group.startswith("hydra/"):
        return f"options are {', '.join(options)}, and those that {program()} --info plugins lists"
    if len(options) > SHOWN:
        return f"{program()} --help lists all options, and --config-dir FOLDER adds those of your own"
    return f"options are {', '.join(options) or 'none'}"


def short(text: str) -> str:
    """A text, or the beginning of a long one."""
    return text if len(text) < 120 else f"{text[:100]}..."
