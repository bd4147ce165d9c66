"""Every learner that makes pseudo-labels is measured by the same names; a second opinion adds its own."""

from dataclasses import replace

import pytest

from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import ALGORITHMS
from daso.track.jsonl import read
from tests.compose import NOWHERE
from tests.training import composed

OVERALL = {"recall", "precision", "precision_official", "coverage", "imbalance"}
PER_CLASS = {f"{name}/class/{k}" for name in ("recall", "precision", "gain", "count") for k in range(10)}


USED = {"pl/utilisation", "pl/utilisation_right", "pl/used/right", "pl/used/imbalance"}
USED |= {f"pl/utilisation/class/{k}" for k in range(10)}
CHOOSE = {"fixmatch", "pseudolabel", "usadtm", "cpe"}  # the pseudo-labels that count


def diagnostics(kinds, learner=""):
    names = {f"pl/{kind}/{name}" for kind in kinds for name in OVERALL | PER_CLASS} | {"pl/labeled/imbalance"}
    return names | (USED if learner in CHOOSE else set())


def logged(config):
    rows = [row for row in read(RunDir(config.out_root, config.run_key).metrics) if row["event"] == "eval"]
    return [{name for name in row if name.startswith("pl/")} for row in rows]


@pytest.mark.parametrize(
    ("learner", "beside", "expected"),
    [
        ("supervised", (), set()),
        *((name, (), diagnostics(["final", "linear"], name)) for name in sorted({*ALGORITHMS} - {"supervised", "usadtm", "cpe"})),
        ("usadtm", (), diagnostics(["final", "linear", "semantic"], "usadtm")),
        ("cpe", (), diagnostics(["final", "linear", "cls", "cpe3"], "cpe")),
        ("fixmatch_scssl", (), diagnostics(["final", "linear", "out", "exp"], "fixmatch")),
        ("meanteacher_daso", ("daso.warmup_steps=2", "daso.update_every=2"), diagnostics(["final", "linear", "semantic"])),
    ],
)  # fmt: skip
def test_pseudo_labels_are_measured_by_the_same_names_whoever_makes_them(learner, beside, expected, tmp_path):
    config = replace(composed(f"algorithm={learner}", *beside), out_root=str(tmp_path))
    run(config, NOWHERE)
    assert logged(config) == [expected] * 4
