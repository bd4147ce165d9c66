"""Nobody needs to read what a program writes: it goes on when its reader is gone, or was never there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daso.machine.streams import STARTS, heard

ROOT = str(Path(__file__).resolve().parents[2])
# Writes more than a buffer holds, as itself and in a child, and leaves a file that says where its descriptor stood.
PROGRAM = """
import subprocess, sys
from daso.machine.streams import outlive_readers

outlive_readers()
outlive_readers()
with open("file", "w") as file:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(20_000):
            print("a line", file=stream)
    stream.flush()
    subprocess.run([sys.executable, "-c", "print('a line')"])
    file.write(str(file.fileno()))
"""


def shell(line, folder, *options):
    """Run the program as `python` in a line of a shell."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    (folder / "program.py").write_text(PROGRAM)
    command = line.replace("python", " ".join([sys.executable, *options, "program.py"]))
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, env=environment, check=False)


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "line",
    ["python | true", "python 2>&1 | head -1", "python >&-", "python 2>&-", "python <&- >&- 2>&-", "python >/dev/full"],
)
def test_a_program_outlives_its_readers(tmp_path, line, options):
    if "full" in line and not Path("/dev/full").exists():
        pytest.skip("no disk that is always full")
    assert shell(line, tmp_path, *options).returncode == 0
    assert int((tmp_path / "file").read_text()) > 2  # no file stands where a library prints


def test_what_is_read_arrives_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": ROOT},
    )
    assert done.stdout.count("a line\n") == 20_001
    assert done.stderr.count("a line\n") == 20_000


def test_a_command_that_takes_its_time_says_so_where_no_program_reads(capsys):
    with heard(60):
        pass
    with heard(0):
        time.sleep(0.2)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{STARTS}\n")


@pytest.mark.parametrize("command", ["report/__main__", "splits"])
def test_a_command_is_heard_of(command):
    assert (Path(ROOT) / "daso" / f"{command}.py").read_text().endswith("    with heard():\n        sys.exit(main())\n")
