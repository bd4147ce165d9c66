"""Methods by the names that the field gives them: which option one is, or which come nearest where it is none."""

import re
from collections.abc import Sequence

from daso.schema import OPTIONS
from daso.settings.options import chosen, program

NEAREST = 6  # options that a sentence names
THRESHOLDS = ("match", "thresholds")  # ends of the names of methods that judge which pseudo-labels to believe
CONSISTENCY, SELF_TRAINING = ("meanteacher", "pseudolabel"), ("pseudolabel", "fixmatch_crest")
NEAR = {  # methods of the field that no table here has, and what is of their kind
    "uda": ("fixmatch", "fixmatch_softmatch"),
    "dash": ("fixmatch_flexmatch", "fixmatch_adsh"),
    "ccssl": ("fixmatch_ccl", "fixmatch"),
    "dst": ("fixmatch_debiaspl", "cpe"),
    "rda": ("fixmatch_da", "fixmatch_freematch"),
    **dict.fromkeys(("vat", "pi", "pimodel", "temporalensembling", "ict"), CONSISTENCY),
    **dict.fromkeys(("mpl", "metapseudolabels", "noisystudent", "selftraining"), SELF_TRAINING),
    **dict.fromkeys(("balancedsoftmax", "taunorm"), ("supervised_la", "fixmatch_la")),
    **dict.fromkeys(("focal", "focalloss", "reweight"), ("supervised_cb", "fixmatch_cb")),
}


def hint(name: str, options: Sequence[str]) -> str:
    """What to say of an algorithm that is no option; empty where no name of the field is meant.

    Args:
        name: as typed.
        options: the presets.
    """
    typed = _letters(name)
    same = [option for option in options if _letters(option) == typed]
    parts = sorted((o for o in options if typed in map(_letters, _parts(o))), key=lambda o: len(_parts(o)))
    words = set(_words(name))
    whole = sorted((o for o in options if words and words <= set(_parts(o))), key=lambda o: len(_parts(o)))
    exact = [option for option in whole if set(_parts(option)) == words]
    if found := same or exact or parts or whole:
        return f"did you mean {_listed(found)}?"
    if alone := [option for option in options if {*_parts(option)} == words - {"fixmatch"}]:
        return f"did you mean {_listed(alone)}?"
    if together := _together(words, options):
        return f"did you mean {together}?"
    if near := [option for option in NEAR.get(typed, ()) if option in options]:
        return f"no such method is trained here; nearest {_are(near)}"
    methods = _published(typed)
    here = [option for option in dict.fromkeys(methods.values()) if option in options]
    if here:
        return f"did you mean {_listed(here)}?"
    if not methods and not typed.endswith(THRESHOLDS[0]):
        return ""
    if not methods and _misspelt(typed, options):
        return ""
    known = f"{next(iter(methods))} is published, but not trained here" if methods else "no such method is trained here"
    if methods and not any(_letters(method).endswith(THRESHOLDS) for method in methods):
        return f"{known}; those that are stand under Methods in the README, and {program()} --help lists them"
    return f"{known}; nearest {_are(_nearest(options))}"


def _together(words: set[str], options: Sequence[str]) -> str:
    """A preset and options of other places, as `fixmatch protocol=crt`, that have all words of a name; or nothing."""
    bases = (option for option in options if set(_parts(option)) < words)
    base = max(bases, key=lambda option: len(_parts(option)), default="")
    left, beside = words - set(_parts(base)), []
    for group, names in OPTIONS.items() if base else ():
        for name in sorted(names, key=len, reverse=True):
            if group != "algorithm" and set(_parts(name)) <= left:
                left -= set(_parts(name))
                beside.append(chosen(group, name))
    return "" if left or not beside else " ".join([f"algorithm={base}", *beside])


def _nearest(options: Sequence[str]) -> list[str]:
    """The presets of FixMatch that judge pseudo-labels by a threshold, and do nothing else."""
    judges = set(OPTIONS["confidence"]) - {"none"}
    found = (option for option in options if judges & set(_parts(option)))
    return ["fixmatch", *(option for option in found if len(_parts(option)) == 2 and _parts(option)[0] == "fixmatch")]


def _published(typed: str) -> dict[str, str]:
    """The published methods that bear a name, each with its option (empty: none)."""
    from daso.published.field import reported

    found: dict[str, str] = {}
    for number in reported():
        named = [_letters(part) for part in re.split(r" \+ ", number.method)]
        named += [part.removesuffix(THRESHOLDS[1]) for part in named] + [_letters(number.algorithm)]
        if typed in named:
            found[number.method] = found.get(number.method) or number.algorithm
    return found


def _misspelt(typed: str, options: Sequence[str]) -> bool:
    """Whether a name is one letter from an option."""
    return any(abs(len(option) - len(typed)) <= 1 and _steps(option, typed) <= 1 for option in map(_letters, options))


def _steps(one: str, other: str) -> int:
    """Letters to put in, take out or change."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != wanted))
    return row[-1]


def _parts(option: str) -> list[str]:
    return option.split("_")


def _words(name: str) -> list[str]:
    """The parts of a name as people write it, such as `FixMatch w/ CReST+` or `freematch_daso`."""
    plus = re.sub(r"\+(?![a-z0-9])", "_plus", name.lower())
    return [word for word in re.split(r"[^a-z0-9]+", plus) if word not in ("", "w", "with", "and")]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names[:NEAREST])


def _are(names: Sequence[str]) -> str:
    return f"{'are' if len(names) > 1 else 'is'} {', '.join(names)}"
