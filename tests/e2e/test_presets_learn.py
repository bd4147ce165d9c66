"""Every preset, on real images, learns: its losses are finite, and that of the labeled images falls.

The total need not: terms join after warm-ups, and some grow with a ramp-up.
"""

from pathlib import Path

import pytest

from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.track.jsonl import read
from tests.compose import NOWHERE, config_of

PRESETS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "conf" / "algorithm").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_labeled_loss_of_a_preset_falls_over_200_steps(tmp_path, preset):
    config = config_of(
        "experiment=quickstart",
        f"algorithm={preset}",
        f"out_root={tmp_path}",
        "track=none",
        "train.steps=200",
        "train.log_every=20",
        "train.eval_every=100",
        "daso.warmup_steps=60",
        "daso.update_every=20",
    )
    run(config, NOWHERE)
    rows = [row for row in read(RunDir(tmp_path, config.run_key).metrics) if row["event"] == "train"]
    assert all(value is not None for row in rows for name, value in row.items() if name.startswith("train/loss_"))
    if config.supervised.name == "ldam_drw":  # then margins, weights and a scale of 30 make it another loss
        rows = [row for row in rows if row["step"] <= config.supervised.defer * config.train.steps]
    assert rows[-1]["train/loss_cls"] < 0.9 * rows[0]["train/loss_cls"]
