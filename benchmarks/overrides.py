"""Command lines that nobody means, made from the schema: does each end with exit code 0, or with 2 and one sentence?

  python benchmarks/overrides.py [lines=500] [seed=0]

Every line asks for a plan, so nothing is trained whatever it says. `lines(seed)` and `trial(line)` serve other scripts.
"""

import contextlib
import io
import itertools
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from daso.command import program
from daso.command.guard import guard
from daso.settings.identity import knobs
from daso.settings.options import groups

LONGEST = 400  # letters of a sentence, beside what was typed
PATIENCE = 20.0  # seconds
HUGE = str(10**23)
ODD = (
    *("", " ", "null", "None", "true", "off", "-1", "0", "2", "1.5", "-0.0", "1e309", "1e23", HUGE, f"-{HUGE}"),
    *("nan", "inf", "-inf", "0x10", "1_000", "1/3", "1/0", "[]", "{}", "[1,2]", "[[1]]", "[nan]", "[null]", "{a:1}"),
    *("text", "'two words'", "'[/b]'", "'a[/b]c'", '"', "'", "[", "${seed}", "${nowhere}", "${oc.env:NOWHERE}", "???"),
    *("~", "~/x", "~nobody-at-all/x", "/dev/null/x", "'\\x00'", "'Ü'", "'§ 1'", "x" * 5000, "a=b", "a,b", "range(3)"),
    *("choice(1,2)", "interval(0,1)", "glob(*)", "sort(3,1)", "int(1.5)", "str(1)", f"[{HUGE}]", f"{HUGE}.0", "1e-400"),
)
BASES = ((), ("experiment=quickstart",), ("algorithm=supervised_crt",), ("algorithm=fixmatch_abc_daso",))


class Fault(NamedTuple):
    """A line that did not end as it should."""

    line: list[str]
    what: str


def lines(seed: int = 0) -> Iterator[list[str]]:
    """Command lines without end: one or two odd values, of knobs and of groups, on usual options."""
    generator = random.Random(seed)
    keys = [*knobs(), *groups()]
    generator.shuffle(keys)
    for key in itertools.cycle(keys):  # each has its turn
        chosen = [key, *generator.sample(keys, generator.choice((0, 0, 1)))]
        odd = [generator.choice(("", "", "", "+", "++", "~")) + f"{name}={generator.choice(ODD)}" for name in chosen]
        yield ["plan=true", *generator.choice(BASES), *odd]


def trial(line: Sequence[str]) -> Fault | None:
    """Run a command line in this process; what is wrong with how it ended, if anything is."""
    out, err = io.StringIO(), io.StringIO()
    argv, full, began = sys.argv, os.environ.get("HYDRA_FULL_ERROR"), time.monotonic()
    sys.argv = ["train.py", *line]
    os.environ["HYDRA_FULL_ERROR"] = "0"
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code: object = guard(program.job)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        return Fault([*line], f"{type(error).__name__}: {str(error)[:200]}")
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR") if full is None else os.environ.update(HYDRA_FULL_ERROR=full)
    said = err.getvalue()
    if time.monotonic() - began > PATIENCE:
        return Fault([*line], f"took more than {PATIENCE:g} s")
    if code == 2 and (said.count("\n") != 1 or len(said) > LONGEST + 2 * max(map(len, line))):
        return Fault([*line], f"not one sentence: {said[:300]!r}")
    if code not in (0, 2) or "Traceback" in said or "_dummy_" in said:
        return Fault([*line], f"exit code {code}: {said[:300]!r}")
    return None


def main() -> int:
    """Try many lines; returns 1 if any did not end as it should."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    count = int(given.get("lines", 500))
    faults = [fault for line in itertools.islice(lines(int(given.get("seed", 0))), count) if (fault := trial(line))]
    for fault in faults:
        print(" ".join(word if len(word) < 100 else f"{word[:90]}..." for word in fault.line), "->", fault.what)
    print(f"{count} lines, {len(faults)} ended with neither a plan nor one sentence")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
