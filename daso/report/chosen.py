"""Which of the runs are meant: by their keys, by a knob that they have, or all that no search tried."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from daso.errors import UserError
from daso.report.collect import Run
from daso.report.stats import counted, listed
from daso.settings.apart import written
from daso.settings.identity import knobs, plain
from daso.settings.restored import flat
from daso.settings.unread import reader_of

SHOWN = 10  # values that a sentence has room for


def without_trials(runs: Sequence[Run]) -> tuple[list[Run], str]:
    """The runs that no search tried, as each trial has knobs of its own, and a sentence that counts the others; all of
    them where there is nothing else.
    """
    asked = [run for run in runs if not run.study]
    if not asked or len(asked) == len(runs):
        return list(runs), ""
    studies = listed(list(dict.fromkeys(run.study for run in runs if run.study)))
    left = counted(len(runs) - len(asked), "trial")
    return asked, f"Left out: {left} of the study {studies}, which have a table of their own; keys= shows them here."


def of_keys(runs: Sequence[Run], wanted: Sequence[str]) -> list[Run]:
    """The runs of these keys, each of which may be shortened while it stays unique.

    Raises:
        UserError: a key fits no run, or more than one.
    """
    found: dict[str, Run] = {}
    for key in wanted:
        fits = [run for run in runs if run.key.startswith(key)]
        exact = [run for run in fits if run.key == key] or fits
        if not key or len(exact) != 1:
            names = ", ".join(run.key for run in fits[:5]) or "none"
            raise UserError(
                f"keys={key} is not possible: it must fit one of {counted(len(runs), 'run')}; it fits {names}."
            )
        found[exact[0].key] = exact[0]
    return list(found.values())


def of_knobs(runs: Sequence[Run], overrides: Sequence[str]) -> list[Run]:
    """The runs that have all of some knobs, each written as on the command line of `train.py`, such as `optim.lr=0.1`.

    Raises:
        UserError: there is no such knob, or no run has the value.
    """
    found = list(runs)
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if "." not in key:
            right = "a knob chooses runs, such as train.steps=1000, rows= methods"
            raise UserError(f"{override} is not possible here: runs of any settings are shown; {right}.")
        if key not in knobs():
            from daso.settings.mistakes import no_such_key

            raise UserError(no_such_key(key, overrides))
        there = [(run, flat(plain(run.settings))) for run in found]
        there = [(run, some) for run, some in there if key in some and not reader_of(run.settings, key)]
        if runs and not any(_means(value, some[key]) for _, some in there):
            raise none_has(key, value, [written(some[key]) for _, some in there])
        found = [run for run, some in there if _means(value, some[key])]
    return found


def none_has(key: str, value: str, values: Iterable[str]) -> UserError:
    """What to say of a value that no run has.

    Args:
        key, value: as typed.
        values: those that the runs have.
    """
    have = sorted({*values} - {""}, key=_order)
    if not have:
        return UserError(f"{key}={value} is not possible: none of these runs has that knob.")
    shown = listed([*have[:SHOWN], *["others"] * (len(have) > SHOWN)])
    near = [] if _order(value)[0] == 0 else get_close_matches(value, have, 1)
    several = "," in value and {*value.split(",")} <= {*have}
    hint = ", one at a time." if several else f"; did you mean {near[0]}?" if near else "."
    return UserError(f"{key}={value} is not possible: no run has it; the runs have {shown}{hint}")


def _order(text: str) -> tuple[int, float, str]:
    """A key that sorts numbers by their size, before words."""
    with suppress(ValueError):
        return 0, float(text), ""
    return 1, 0.0, text.lower()


def _means(text: str, value: Any) -> bool:
    """Whether a text is a person's word for the value of a knob."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(text) == value
    return text.lower() in (str(value).lower(), written(value).lower())
