"""The table of what `gpu.py` has measured, from its lines."""

from collections.abc import Iterable

from gpu_rows import Figures

STEPS = 250_000
GOALS = {  # by a word of the card's name: method and precision -> steps per second that are required, and the stretch
    "H200": {
        ("fixmatch", "bf16"): (300, 430), ("fixmatch_daso", "bf16"): (270, 400),
        ("fixmatch_daso", "tf32"): (170, 215), ("fixmatch_daso", "fp32"): (60, 75),
    },
    "H100": {
        ("fixmatch", "bf16"): (210, 300), ("fixmatch_daso", "bf16"): (190, 280),
        ("fixmatch_daso", "tf32"): (120, 150), ("fixmatch_daso", "fp32"): (60, 75),
    },
}  # fmt: skip
NAME = 58  # columns


PHOTO_GOALS = {"H200": (250, 200), "H100": (300, 240)}  # milliseconds a step that are required, and the stretch


def photo_goals(card: str) -> str:
    """What a row of photos should reach on a card."""
    known = next((found for word, found in PHOTO_GOALS.items() if word in card), None)
    return f" (required {known[0]}, stretch {known[1]})" if known else ""


def goals(card: str, row: str) -> tuple[int, int] | None:
    """What a row should reach on a card, where it is recorded and compiled."""
    method, precision, *how = row.split()
    known = next((found for word, found in GOALS.items() if word in card), {})
    return known.get((method, precision)) if how == ["graph"] else None


def table(environments: Iterable[Figures], rows: dict[str, Figures]) -> list[str]:
    """The lines to print."""
    found, card = [], ""
    for environment in environments:
        found.append(", ".join(f"{name} {value}" for name, value in environment.items()))
        card = str(environment.get("gpu", card))
    found.append(f"{'steps per second':{NAME}}{'median':>9}{'min':>9}{'max':>9}{'required':>10}{'stretch':>9}  remarks")
    for name, row in rows.items():
        found.extend(described(name, row, card))
    return found


def described(name: str, row: Figures, card: str = "") -> list[str]:
    """The lines of one row."""
    if "steps_per_second" in row:
        wanted = goals(card, name) or ("", "")
        numbers = "".join(f"{row[key]:9.1f}" for key in ("steps_per_second", "min", "max"))
        first = f"{numbers}{wanted[0]:>10}{wanted[1]:>9}  {verdict(row)}"
    elif "step_ms" in row:
        first = f"{row['step_ms']:9.1f} ms a step{photo_goals(card)}"
    elif "collected" in row:
        first = f"{row['collected']} collected"
    elif "passed" in row:
        first = f"{row['passed']} passed, {row['failures'] or 'none'} failed"
    elif "throughput" in row:
        first = f"{row['in_all']:9.1f} in all, {row['throughput']:.2f}x one run's (two should reach 1.3x)"
    else:
        first = "" if "failed" in row else "no figures"
    out = [f"{name:{NAME}}{first}"] if first else []
    out += [f"{'':6}{', '.join(facts)}" for facts in (pace(row), parts(row), place(row)) if facts]
    if "failed" in row:
        out.append(f"{name:{NAME}}failed: {row['failed']}")
    out += [f"{'':6}{key} failed: {value}" for key, value in row.items() if key in PARTS and isinstance(value, str)]
    return out


PARTS = ("clocks", "augmentation", "evaluation", "memory", "idle")


def verdict(row: Figures) -> str:
    """Whether the first losses are those of the plain fp32 step."""
    if "losses_off" not in row:
        return "losses not compared"
    off = f"losses {row['losses_off']:.0e} off (at most {row['tolerance']:.0e})"
    return off if row["losses_off"] <= row["tolerance"] else f"WRONG: {off}"


def pace(row: Figures) -> list[str]:
    """What the host has to do with it."""
    if "step_ms" in row:
        return [
            f"{row['first_seconds']:.0f} s to get going",
            f"waits for images {100 * row['wait_share']:.1f} % of the time (2)",
            f"{row['waits_per_step']:.2f} waits for the device a step",
            f"{row['recompiles']:.0f} recompiles",
            f"the host computes {row['host_core_seconds']:.2f} core s a step (0.3)",
            f"augmentation one kernel after the other {row['augmentation_eager_ms']:.1f} ms",
        ]
    if "recompiles" not in row:
        return []
    return [
        f"{row['first_seconds']:.0f} s to get going",
        f"{row['waits_per_step']:.2f} waits a step",
        f"{row['recompiles']:.0f} recompiles",
        f"the host rests {100 * row['host_rests']:.0f} % of the time",
        f"and computes {row['host_ms']:.2f} ms a step",
    ]


def parts(row: Figures) -> list[str]:
    """What a run is made of."""
    out = []
    if "augmentation_ms" in row:
        share = row["augmentation_ms"] * row["steps_per_second"] / 10
        out += [f"augmentation {share:.0f} % of a step (12)"]
        out += [f"EMA, queue, histogram, meters {row['bookkeeping_ms']:.3f} ms (0.25)"]
    if "run_minutes" in row:
        out += [f"evaluations {100 * row['evaluation_share']:.1f} % of a run (4, 2)"]
        out += [f"which takes {row['run_minutes']:.1f} min (15, 10)"]
    return out


def place(row: Figures) -> list[str]:
    """What the GPU has to do with it."""
    out = []
    if "over_needed" in row:
        out += [f"peak memory {row['over_needed']:.2f}x what is needed (1.2)"]
        out += [f"{row['allocated'] / 1e9:.2f} GB allocated", f"{row['reserved'] / 1e9:.2f} GB reserved"]
    elif "allocated" in row:
        out += [f"{row['allocated'] / 1e9:.2f} GB allocated"]
    if isinstance(row.get("idle"), float):
        out += [f"GPU idle {100 * row['idle']:.1f} % (5)"]
    if isinstance(row.get("clocks"), list):
        out += [f"at {', '.join(row['clocks'])}"]
    return out
