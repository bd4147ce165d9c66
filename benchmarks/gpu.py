"""What one GPU does: every figure of it in docs/performance.md, the most valuable ones first.

    python benchmarks/gpu.py --part 1 --seconds 470   # what decides: in at most eight minutes
    python benchmarks/gpu.py --part 2 --seconds 230   # the rest: in at most four
    python benchmarks/gpu.py --part 3 --seconds 470   # a ResNet-34 on photos, as on Semi-Aves: in at most eight
    python benchmarks/gpu.py --only bf16              # rows whose name holds that word
    python benchmarks/gpu.py --table gpu.jsonl ...    # the table of what was measured, from its files
    python benchmarks/gpu.py --device cpu --smoke     # does all of it still run? (no figure of it means anything)

WRN-28-2, 64 + 2 x 64 weak + 2 x 64 strong images of 32x32, 15,000 images an evaluation, synthetic pictures. Each row
takes its steps as the training loop does, from `Engine`, in a process and under a time limit of its own: what it comes
to know is a line of JSON at once, in `--out` (by default `gpu.jsonl` in the folder that $OUT names, else in `outputs`).
Beside each speed stands whether the first losses agree with those of the plain fp32 step. Time is that of CUDA events
around blocks of steps, after everything has been compiled and recorded; medians, with minimum and maximum. The photos
are synthetic, 8 GB of them, 256 + 2 x 1,280 a step at 224 px. A new row is one more in `ROWS`.
"""

import argparse
import os
import sys
from pathlib import Path

from gpu_rows import ENVIRONMENT, Lines, Photos, Planted, Row, Speed, Tests, Together, gathered, measure
from gpu_table import described, table

BF16 = Speed("fixmatch_daso", "bf16", "graph")
ROWS: list[Row] = [
    BF16._replace(compile="none", recorded=True, limit=90.0),  # does recording work at all
    BF16._replace(limit=240.0),
    Speed("fixmatch", "bf16", "graph"),
    Together(2, BF16),
    Speed("fixmatch_daso", "tf32", "graph"),
    Tests("deterministic or never_wait or compiled_again"),
    Together(4, BF16),
    Speed("fixmatch_daso", "fp32", "graph", part=2),
    BF16._replace(compile="none", limit=60.0, part=2),
    Speed("fixmatch_daso", "tf32", "none", limit=60.0, part=2),
    BF16._replace(compile="default", part=2),
    Photos("device", "fixmatch_daso"),
    Photos("host", "fixmatch_daso"),
]
PLANTED: list[Row] = [Planted("crash", limit=60.0), Planted("hang", limit=2.0)]


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--part", type=int, choices=(1, 2, 3), help="of the rows; both by default")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--seconds", type=float, default=720, help="in all; what then is not measured is not begun")
    parser.add_argument("--out", type=Path, help="file of JSON lines that is added to")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, and two rows that fail, to show that no other does"
    )
    parser.add_argument("--table", nargs="+", type=Path, metavar="FILE", help="print the table of these files")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.table:
        print("\n".join(table(*gathered(map(Lines, args.table)))))
        return
    lines = Lines(args.out or Path(os.environ.get("OUT", "outputs"), "gpu.jsonl"))
    known = {row.name: row for row in (*PLANTED, *ROWS)}
    if args.row or args.worker:
        import torch
        from gpu_processes import measure as measure_row
        from gpu_processes import work
        from gpu_run import Bench

        bench = Bench(args.row, torch.device(args.device), args.smoke, lines)
        work(known[args.worker], bench) if args.worker else measure_row(known[args.row], bench)
        return
    rows = [row for row in ROWS if args.only in row.name and args.part in (None, row.part)]
    if args.smoke:  # of two rows the limit is what is shown, the others may take their time on a CPU
        rows = [*PLANTED, *(row._replace(limit=args.seconds) for row in rows)]
    raise SystemExit(measured(rows, args, lines))


def measured(rows: list[Row], args: argparse.Namespace, lines: Lines) -> str | None:
    """Measure rows and print each as it comes; what failed, in a sentence."""
    import torch
    from gpu_run import system

    if args.device != "cpu" and not torch.cuda.is_available():
        return "There is no CUDA here; --device cpu --smoke shows that the script runs."
    environment = {"benchmark": "gpu", **system(torch.device(args.device))}
    lines.add(**{ENVIRONMENT: environment})
    print("\n".join(table([environment], {})), flush=True)

    def command(row: Row) -> list[str]:
        given = ["--row", row.name, "--device", args.device, "--out", str(lines.path.absolute())]
        return [sys.executable, __file__, *given, *["--smoke"] * args.smoke]

    def done(row: Row) -> None:
        print("\n".join(described(row.name, found(row), environment.get("gpu", ""))), flush=True)

    def found(row: Row) -> dict[str, object]:
        return gathered([lines])[1][row.name]

    measure(rows, command, lines, args.seconds, done)
    print(f"\nAll of it is in {lines.path}; `--table {lines.path}` prints it again.")
    failed = [row.name for row in rows if "failed" in found(row)]
    expected = [row.name for row in rows if isinstance(row, Planted)]
    if failed == expected:
        return None
    return f"{len(failed)} of {len(rows)} rows failed: {', '.join(failed)}."


if __name__ == "__main__":
    main()
