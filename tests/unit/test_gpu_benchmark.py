"""The benchmark of a GPU, as far as a CPU can show it: it keeps its figures whatever happens, and reads them back."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def rows():
    import gpu_rows

    return gpu_rows


@pytest.fixture
def run():
    import gpu_run

    return gpu_run


@pytest.fixture
def lines(rows, tmp_path):
    return rows.Lines(tmp_path / "new" / "gpu.jsonl")


PROGRAMS = {
    "crash": "import os; tell(before=1); os.abort()",
    "error": "print('one'); raise SystemExit('CUDA error: an illegal memory access')",
    "hang": "import time; time.sleep(600)",
    "good": "tell(steps_per_second=300.0, min=290.0, max=310.0)",
}
TELL = (
    "import json; tell = lambda **values: open({path!r}, 'a').write(json.dumps(dict(row={row!r}) | values) + '\\n')\n"
)


def measured(rows, lines, *faults, seconds=60.0):
    planted = [rows.Planted(fault, limit=0.5 if fault == "hang" else 60.0) for fault in faults]

    def command(row):
        program = TELL.format(path=str(lines.path), row=row.name) + PROGRAMS[row.fault]
        return [sys.executable, "-S", "-E", "-c", program]

    rows.measure(planted, command, lines, seconds)
    return {name.removeprefix("planted "): row for name, row in rows.gathered([lines])[1].items()}


def test_a_row_that_crashes_fails_or_hangs_costs_neither_its_own_nor_another_row_s_figures(rows, lines):
    found = measured(rows, lines, "crash", "hang", "error", "good")
    assert (found["crash"]["failed"], found["crash"]["before"]) == ("exit code -6", 1)
    assert found["hang"]["failed"] == "it took more than 0.5 s"
    assert found["error"]["failed"] == "exit code 1: CUDA error: an illegal memory access"
    assert found["error"]["output"] == "one\nCUDA error: an illegal memory access"
    assert found["good"]["steps_per_second"] == 300
    assert "failed" not in found["good"]


def test_a_row_for_which_no_time_is_left_says_so(rows, lines):
    found = measured(rows, lines, "good", seconds=0.5)
    assert found["good"]["failed"] == "there was no time left"


def test_nothing_that_a_row_started_outlives_it(rows, tmp_path):
    pid = tmp_path / "pid"
    program = "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); "
    program += "open(sys.argv[1], 'w').write(str(child.pid)); raise SystemExit('and now?')"
    assert rows.run([sys.executable, "-S", "-E", "-c", program, str(pid)], 60.0).failed == "exit code 1: and now?"
    state, end = Path("/proc", pid.read_text(), "stat"), time.monotonic() + 10
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end


def test_a_torn_line_is_none_and_a_row_that_is_measured_again_begins_anew(rows, lines):
    lines.add(environment={"gpu": "NVIDIA H200"})
    lines.add(row="a", begun=1)
    lines.add(row="a", min=1.0, failed="it broke")
    lines.add(row="a", begun=2)
    lines.add(row="a", max=3.0)
    with lines.path.open("a") as file:
        file.write('{"row": "a", "min": 7')
    assert rows.gathered([lines]) == ([{"gpu": "NVIDIA H200"}], {"a": {"row": "a", "begun": 2, "max": 3.0}})


FIGURES = {
    "steps_per_second": 312.5, "min": 300.0, "max": 320.0, "losses_off": 1e-3, "tolerance": 2e-2, "first_seconds": 60.0,
    "waits_per_step": 0.0, "recompiles": 0, "host_rests": 0.8, "host_ms": 0.4, "augmentation_ms": 0.2,
    "bookkeeping_ms": 0.1, "evaluation_ms": 60.0, "run_minutes": 13.9, "evaluation_share": 0.03, "allocated": 2e9,
    "reserved": 3e9, "over_needed": 1.1, "idle": 0.04, "clocks": ["1980 MHz", "3201 MHz"],
}  # fmt: skip


@pytest.fixture
def printed(monkeypatch, lines, capsys):
    """What `--table` prints of rows that are in a file."""
    import gpu

    def show(**found):
        lines.add(environment={"gpu": "NVIDIA H200, 1980 MHz", "torch": "2.11"})
        for name, figures in found.items():
            lines.add(row=name.replace("_", " ").replace("fixmatch daso", "fixmatch_daso"), **figures)
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--table", str(lines.path)])
        gpu.main()
        return capsys.readouterr().out

    return show


def test_the_table_is_read_back_from_the_file(printed):
    text = printed(fixmatch_daso_bf16_graph=FIGURES, fixmatch_bf16_graph={"failed": "exit code -6"})
    for expected in (
        "gpu NVIDIA H200, 1980 MHz, torch 2.11", "312.5    300.0    320.0       270      400", "losses 1e-03 off",
        "0.00 waits a step, 0 recompiles", "rests 80 % of the time", "augmentation 6 % of a step", "13.9 min (15, 10)",
        "1.10x what is needed", "2.00 GB allocated, 3.00 GB reserved", "GPU idle 4.0 %", "at 1980 MHz, 3201 MHz",
        "fixmatch bf16 graph                                       failed: exit code -6",
    ):  # fmt: skip
        assert expected in text


def test_a_speed_is_printed_whatever_the_losses_are_with_the_verdict_beside_it(printed):
    text = printed(fixmatch_daso_bf16_graph=FIGURES | {"losses_off": 0.3})
    assert "312.5" in text
    assert "WRONG: losses 3e-01 off (at most 2e-02)" in text


def test_what_could_not_be_measured_of_a_row_is_named_beside_the_rest(printed):
    missing = {name: FIGURES[name] for name in FIGURES if name != "idle"}
    text = printed(fixmatch_daso_bf16_graph=missing | {"idle": "RuntimeError: CUPTI"})
    assert "idle failed: RuntimeError: CUPTI" in text
    assert "312.5" in text


def test_every_row_has_a_name_of_its_own_and_the_first_part_fits_its_command():
    import gpu

    assert len({row.name for row in gpu.ROWS}) == len(gpu.ROWS)
    assert {row.part for row in gpu.ROWS} == {1, 2, 3}


@pytest.mark.parametrize(
    ("changed", "far"),
    [({"loss_cons": 0.9}, 0.0), ({"loss_cls": 1.98}, 0.01), ({"loss_align": float("nan")}, float("inf"))],
)
def test_losses_are_compared_without_the_one_that_a_threshold_decides(changed, far, run):
    expected = {"loss_cls": 2.0, "loss_cons": 0.1, "loss_align": 1.0, "loss_total": 3.1}
    assert run.difference(expected | changed, expected) == pytest.approx(far)


def test_a_row_is_measured_on_a_cpu_and_a_part_that_fails_costs_only_itself(rows, run, lines, monkeypatch):
    def broken(*args):
        raise RuntimeError("CUDA error: no\nand more")

    monkeypatch.setattr(run, "memory", broken)
    threads = torch.get_num_threads()
    row = rows.Speed("fixmatch_daso", "tf32", "graph")
    run.speeds(row, run.Bench(row.name, torch.device("cpu"), True, lines))
    torch.set_num_threads(threads)
    figures = rows.gathered([lines])[1][row.name]
    assert figures["losses_off"] == 0
    assert figures["memory"] == "RuntimeError: CUDA error: no"
    assert figures.keys() >= {
        "steps_per_second", "min", "max", "recompiles", "waits_per_step", "host_rests", "host_ms", "first_seconds",
        "augmentation_ms", "bookkeeping_ms", "evaluation_ms", "run_minutes", "evaluation_share",
    }  # fmt: skip
    again = run.Bench("another row", torch.device("cpu"), True, lines)
    data = run.make_data(run.config_of(row, again.size, again.device), again.size)
    monkeypatch.setattr(run, "Run", broken)
    assert run.reference(row, again, data) == figures["losses"]  # found in the file


def test_idle_is_what_the_kernels_leave_of_a_step_without_a_profiler(run, monkeypatch):
    kind = torch.autograd.DeviceType
    spans = [(0, 400), (300, 500), (2000, 2500)]  # microseconds, with as long a pause as the profiler makes
    events = [SimpleNamespace(device_type=kind.CUDA, time_range=SimpleNamespace(start=a, end=b)) for a, b in spans]
    events.append(SimpleNamespace(device_type=kind.CPU, time_range=SimpleNamespace(start=0, end=9999)))

    class Profile:
        def __init__(self, activities): ...
        def __enter__(self):
            return self

        def __exit__(self, *args): ...
        def events(self):
            return events

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    taken = []
    stub = SimpleNamespace(device=torch.device("cuda"), take=taken.append)
    assert run.idle(stub, 60_000.0)["idle"] == pytest.approx(1 - 1000e-6 / 100 * 60_000)
    assert taken == [100]
