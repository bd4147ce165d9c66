"""What a run survives: kills at random instants, damaged files of every kind that it has, lines with random values.

    python benchmarks/torture.py                       # 15 minutes of one core
    python benchmarks/torture.py --minutes 1 --seed 7
    python benchmarks/torture.py --only damage

Every trial is the real program in a process of its own, on the quickstart's digits. The verdicts:

- kills: after any number of kills and stops, the same line ends with the rows, numbers and weights of a run that was
  never disturbed;
- damage: the same line ends with equal numbers, or with one sentence and exit code 1 or 2, and lists and reports of the
  folder end in order;
- overrides: exit code 0, or one sentence and exit code 1 or 2; never a traceback, a crash or silence.

Trials are drawn from the seed, so that a failure can be tried again: it is printed with its number and what it was.
Ends with one line of JSON; exit code 1 if there was a failure. `docs/reliability.md` has the figures.
"""

import argparse
import json
import math
import os
import random
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_args

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib.figure  # noqa: E402, F401  this and the next: once, for all the processes that are forked
import sklearn.datasets  # noqa: E402, F401
import torch  # noqa: E402
import torch._dynamo  # noqa: E402

from daso import runs  # noqa: E402
from daso.outputs.files import read_json  # noqa: E402
from daso.outputs.rundir import RunDir  # noqa: E402
from daso.report.collect import collect  # noqa: E402
from daso.run import start  # noqa: E402, F401
from daso.settings.identity import Knob, knobs  # noqa: E402
from daso.settings.restored import flat  # noqa: E402
from daso.track.jsonl import TIME, read  # noqa: E402

LINE = [
    "experiment=quickstart", "track=none", "train.steps=40", "train.eval_every=8", "train.log_every=8",
    "train.checkpoint_every=8", "daso.warmup_steps=20", "daso.update_every=5", "out_root=o",
]  # fmt: skip
MOOD = (TIME, "time/", "memory/", "seconds", "finished", "journal_", "code")  # what depends on the machine's
PARTS = {"kills": 0.3, "damage": 0.5, "overrides": 0.2}  # shares of the time
PATIENCE = 60  # seconds of CPU that a trial may take, and tenth of what it may take on a clock, on a busy machine
MEMORY = 8 << 30  # bytes of address space beyond what is in use, for lines with random values

# What a random value may not touch: places, other programs, and how long the trial takes
LEFT_ALONE = ("dataset.root", "dataset.splits", "out_root", "track.", "device", "tune.", "sweep.", "plan", "run_key")
SIZES = [-1, 0, 1, 2, 3, 5, 7, 10, 64, 1000, 10**6, 10**23]
NUMBERS = [-1.0, 0.0, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 100.0, 1e12, math.inf, math.nan]
WORDS = ["", "none", "a b", "ä", "[1,2]", "{a:1}", "null", "1/100", "${seed}", "../x", "'", "=", "x" * 300]


class Ended(NamedTuple):
    """How a process ended."""

    code: int | None  # None: it had to be killed; negative: a signal's number
    out: str
    err: str

    @property
    def sentence(self) -> bool:
        """Whether it refused as it should: exit code 1 or 2, and one line of what is wrong."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return self.code in (1, 2) and len(lines) == 1 and "Traceback" not in self.out

    def __str__(self) -> str:
        return f"exit code {self.code}; stderr ends with: {self.err.strip()[-400:]!r}"


def child(folder: Path, work: Callable[[], int], disturb: Callable[[int], None] = lambda pid: None) -> Ended:
    """Let a forked process work in `folder`, its output kept; `disturb` is told its id."""
    out, err = folder / ".out", folder / ".err"
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.chdir(folder)
            for stream, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            code = work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    disturb(pid)
    deadline = time.monotonic() + 10 * PATIENCE
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline or cpu_seconds(pid) > PATIENCE:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Ended(None, out.read_text(errors="replace"), err.read_text(errors="replace"))
        time.sleep(0.005)
    return Ended(os.waitstatus_to_exitcode(found[1]), out.read_text(errors="replace"), err.read_text(errors="replace"))


def cpu_seconds(pid: int) -> float:
    """What a process has computed, and its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def line(arguments: list[str]) -> int:
    """What `python train.py` does with the arguments."""
    sys.argv = ["train.py", *arguments]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    return 0


def run_in(folder: Path) -> RunDir:
    """The run of `LINE` that was started in `folder`."""
    (path,) = (path for path in (folder / "o").iterdir() if path.is_dir() and not path.name.startswith("."))
    return RunDir(path.parent, path.name)


def numbers(run: RunDir) -> dict[str, Any]:
    """The final numbers and the fingerprint of the weights, without what depends on the machine."""
    return {k: v for k, v in (read_json(run.summary) or {}).items() if not k.startswith(MOOD)}


def rows(run: RunDir) -> list[dict[str, Any]]:
    """The journal, likewise."""
    return [{k: v for k, v in row.items() if not k.startswith(MOOD)} for row in read(run.metrics)]


class Trials:
    """Counts what was tried and what failed."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def count(self, kind: str, ended: Ended, wrong: str, what: str) -> None:
        """A trial of a kind; `wrong` is empty where the verdict is good."""
        self.tried[kind] += 1
        self.refused[kind] += ended.code != 0
        if wrong:
            self.failed[kind] += 1
            print(f"FAILED {what}: {wrong}; {ended}", flush=True)

    def table(self) -> str:
        """Markdown: kind, trials, ended with a sentence, failures."""
        body = "".join(
            f"| {kind} | {n:,} | {n - self.refused[kind]:,} | {self.refused[kind]:,} | {self.failed[kind]:,} |\n"
            for kind, n in sorted(self.tried.items())
        )
        return f"| what | trials | ran to the end | stopped or one sentence | failures |\n|---|---|---|---|---|\n{body}"


def kills(whole: RunDir, work: Path, rng: random.Random, trials: Trials, until: float) -> None:
    """Runs that are killed and stopped at random instants until they are finished."""
    expected = numbers(whole), rows(whole)
    number = 0
    while time.monotonic() < until:
        folder = work / f"kill{number}"
        folder.mkdir()
        ended, hits = Ended(0, "", ""), 0
        while not list(folder.glob("o/*/DONE")):
            signum = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
            after = rng.uniform(0.05, 1.5 + hits)  # longer and longer: it must end

            def hit(pid: int, signum: int = signum, after: float = after) -> None:
                time.sleep(after)
                if not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    os.kill(pid, signum)

            ended = child(folder, lambda: line(LINE), hit)
            hits += ended.code != 0
            wrong = "" if ended.code in (0, -signum, 128 + signum) else "another exit code"
            trials.count(
                f"starts that {signal.Signals(signum).name} may hit",
                ended,
                wrong,
                f"kill {number}.{hits} after {after:.2f} s",
            )
        run = run_in(folder)
        wrong = "" if (numbers(run), rows(run)) == expected else "other numbers than the undisturbed run"
        trials.count("runs finished after kills", Ended(0, "", ""), wrong, f"kill {number} ({hits} hits)")
        if not wrong:
            shutil.rmtree(folder)
        number += 1


def flip(content: bytes, rng: random.Random) -> bytes:
    """One bit flipped."""
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def zero(content: bytes, rng: random.Random) -> bytes:
    """A page of zeros."""
    at = rng.randrange(len(content))
    return content[:at] + bytes(min(4096, len(content) - at)) + content[at + 4096 :]


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped bit": flip,
    "zeroed page": zero,
    "cut": lambda content, rng: content[: rng.randrange(len(content))],
    "grown": lambda content, rng: content + rng.randbytes(rng.randrange(1, 5000)),
    "empty": lambda content, rng: b"",
    "noise": lambda content, rng: rng.randbytes(len(content)),
    "deep": lambda content, rng: b"[" * 200_000,
}
OTHERS = ("foreign", "folder", "missing")


def damage(whole: RunDir, work: Path, rng: random.Random, trials: Trials, until: float) -> None:
    """A random file of a finished or a stopped run is damaged, then the same line starts again."""
    finished, stopped, foreign = whole.root.parent, work / "stopped", work / "foreign"
    for folder, more in ((stopped, []), (foreign, ["seed=1"])):
        folder.mkdir()
        while not list(folder.glob("o/*/checkpoint.previous.pt")):

            def hit(pid: int, folder: Path = folder) -> None:
                while not list(folder.glob("o/*/checkpoint.previous.pt")):
                    time.sleep(0.01)
                os.kill(pid, signal.SIGKILL)

            child(folder, lambda more=more: line([*LINE, *more]), hit)  # type: ignore[misc]
    expected = numbers(whole), rows(whole)
    number = 0
    while time.monotonic() < until:
        state, source = rng.choice([("finished", finished), ("stopped", stopped)])
        folder = work / f"damage{number}"
        shutil.copytree(source, folder)
        run = run_in(folder)
        path = rng.choice(sorted(p for p in run.path.iterdir() if p.is_file() and p.name not in ("lock", "lock.json")))
        how = rng.choice([*BYTES, *OTHERS])
        if how in BYTES:
            path.write_bytes(BYTES[how](path.read_bytes() or b"\0", rng))
        elif how == "foreign":
            theirs = run_in(foreign).path / path.name
            path.write_bytes(theirs.read_bytes() if theirs.exists() else b"{}")
        else:
            path.unlink()
            if how == "folder":
                path.mkdir()
        looked = child(folder, look)
        ended = child(folder, lambda: line(LINE))
        wrong = "" if looked.code == 0 else f"list or report: {looked}"
        if ended.code == 0:
            same = numbers(run) == expected[0]
            same = same and (path == run.metrics or rows(run) == expected[1])
            named = path != run.metrics or state == "stopped" or path.name in ended.out or rows_equal(run, expected[1])
            wrong = wrong or ("" if same and named else "other numbers, and nothing said")
        elif not (ended.sentence and path.name in ended.err):
            wrong = wrong or "neither numbers nor a sentence about the file"
        what = f"{state} run, {path.name}, {how}"
        trials.count(f"damaged {path.name}", ended, wrong, f"damage {number} ({what})")
        if not wrong:
            shutil.rmtree(folder)
        number += 1


def rows_equal(run: RunDir, expected: list[dict[str, Any]]) -> bool:
    """Whether the journal is readable and whole."""
    try:
        return rows(run) == expected
    except Exception:
        return False


def look() -> int:
    """What lists and reports do with the folder."""
    code = runs.main(["--root", "o"])
    collect(["o"])
    return code


def overrides(whole: RunDir, work: Path, rng: random.Random, trials: Trials, until: float) -> None:
    """Lines with one to three random values of random keys."""
    used = flat(whole.config() or {})
    known = {key: knob for key, knob in knobs().items() if key in used and not key.startswith(LEFT_ALONE)}
    number = 0
    while time.monotonic() < until:
        folder = work / f"line{number}"
        folder.mkdir()
        keys = rng.sample(sorted(known), rng.choice([1, 1, 2, 3]))
        typed = [f"{key}={value(known[key], used[key], rng)}" for key in keys]
        short = ["experiment=quickstart", "track=none", "train.steps=3", "train.eval_every=3", "out_root=o"]

        def work_on(arguments: list[str] = [*short, *typed]) -> int:  # noqa: B006
            most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            signal.alarm(20)  # a line that trains for long is stopped as Ctrl-C would
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            return line(arguments)

        ended = child(folder, work_on)
        stopped = ended.code in (143, -signal.SIGTERM)
        wrong = "" if ended.code == 0 or stopped or ended.sentence else "neither a run nor a sentence"
        trials.count("lines with random values", ended, wrong, f"line {number} ({' '.join(typed)[:300]})")
        shutil.rmtree(folder)
        number += 1


def value(knob: Knob, used: Any, rng: random.Random) -> str:
    """A value for a knob: near the one in use, of its type, at the edge of it, or of none."""
    kind = knob.type
    if isinstance(used, int | float) and not isinstance(used, bool) and rng.random() < 0.4:
        near = used * rng.uniform(0.5, 2.0)
        return str(round(near) if isinstance(used, int) else near)
    choices: list[Any] = rng.choice([SIZES, NUMBERS, WORDS])
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = rng.choice([[member.name for member in kind], WORDS])
    elif kind in (int, float, bool, str) or get_args(kind):
        own = {int: SIZES, float: NUMBERS, bool: ["true", "false", "1", "maybe"]}.get(kind, WORDS)
        choices = own if rng.random() < 0.7 else choices
    return str(rng.choice(choices))


def undisturbed(work: Path) -> RunDir:
    """A run that nothing happens to."""
    folder = work / "whole"
    folder.mkdir()
    ended = child(folder, lambda: line(LINE))
    if ended.code:
        raise SystemExit(str(ended))
    return run_in(folder)


def parts(only: str | None, minutes: float) -> Iterator[tuple[str, float]]:
    """The parts and their seconds."""
    for name, share in PARTS.items():
        if only in (None, name):
            yield name, 60 * minutes * (share if only is None else 1.0)


def main() -> int:
    """Try, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything = Trials()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        work = Path(name)
        whole = undisturbed(work)
        for part, seconds in parts(arguments.only, arguments.minutes):
            rng = random.Random(f"{arguments.seed} {part}")
            globals()[part](whole, work, rng, everything, time.monotonic() + seconds)
    print(everything.table())
    found = {"tried": everything.tried.total(), "failed": everything.failed.total(), "load": os.getloadavg()[0]}
    print(json.dumps(found | {"seed": arguments.seed, "kinds": everything.tried}))
    return int(everything.failed.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
