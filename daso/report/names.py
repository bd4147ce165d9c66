"""Methods as papers print them."""

import re

from daso.published.cells import LEARNERS, PRINTED
from daso.schema import OPTIONS

LOSSES = {record.printed for record in OPTIONS["supervised"].values() if record.printed}
"""Losses of the labeled images: they are printed as part of the learner, `FixMatch + LA w/ DASO`."""


def paper_name(label: str) -> str:
    """A method as papers print it: `fixmatch_la_daso, daso.blend=0` is `FixMatch + LA w/ DASO, daso.blend=0`, and
    `FixMatch + DASO` is `FixMatch w/ DASO`.

    Args:
        label: the method as this project calls it in files or in tables; anything else stays as it is.
    """
    method, comma, variant = label.partition(", ")
    learner, *others = method.split(" + ") if " + " in method else _words(method)
    losses = [other for other in others if other in LOSSES]
    rest = [other for other in others if other not in LOSSES]
    name = " + ".join([LEARNERS.get(learner, learner), *losses])
    return name + (f" w/ {' + '.join(rest)}" if rest else "") + comma + variant


def paper_setting(text: str) -> str:
    """A setting with γ, as papers and their tables print it."""
    return text.replace("gl=", "γl=").replace("gu=", "γu=")


def _words(method: str) -> list[str]:
    """Learner and re-balancers of a name such as `remixmatch_crest_plus`."""
    learner, _, rest = method.partition("_")
    if learner not in LEARNERS or not re.fullmatch(r"\w*", rest):
        return [method]
    found = [learner]
    while rest:
        name = max((name for name in PRINTED if f"{rest}_".startswith(f"{name}_")), key=len, default="")
        name = name or rest.partition("_")[0]
        found.append(PRINTED.get(name, name))
        rest = rest[len(name) + 1 :]
    return found
