"""Scripts that train and then report."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "multirun_scripts"


@pytest.mark.parametrize("name", ["digits_grid", "digits_zoo"])
@pytest.mark.parametrize(("arguments", "runs"), [(["out_root=some place"], "some place"), (["plan=true"], "outputs")])
def test_the_report_of_a_script_reads_the_folder_that_its_runs_went_to(name, arguments, runs, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" ---\n')
    python.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", SCRIPTS / f"{name}.sh", *arguments], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    training, report, _ = done.stdout.split("---\n")
    assert training.splitlines()[-1] == arguments[0]
    assert report.splitlines() == ["-m", "daso.report", "table=mine", f"runs={runs}"]
