"""Every learner with every sampler and protocol: it runs to its end, or the configuration is refused in a sentence."""

from dataclasses import replace

import pytest

from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import ALGORITHMS
from daso.settings.options import groups
from daso.track.jsonl import read
from tests.compose import NOWHERE
from tests.training import composed

BESIDE = {"protocol=crest_plus": ("align=da",)}  # what an option asks for
OPTIONS = [f"{group}={option}" for group in ("sampler", "protocol") for option in groups()[group]]
WITHOUT_PSEUDO_LABELS = {"supervised", "usadtm", "cpe"}  # open to a protocol that adds to the labeled set


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("learner", ALGORITHMS)
def test_a_learner_with_a_sampler_or_protocol_runs_or_is_refused(learner, option, tmp_path):
    overrides = f"algorithm={learner}", option, *BESIDE.get(option, ()), "train.steps=6", "train.eval_every=6"
    if "crest" in option and learner in WITHOUT_PSEUDO_LABELS:
        with pytest.raises(UserError, match=f"algorithm={learner} makes no pseudo-labels"):
            composed(*overrides)
        return
    if option == "protocol=crt" and learner == "cpe":
        with pytest.raises(
            UserError, match="features of one normalisation, this learner has three, so protocol=none or"
        ):
            composed(*overrides)
        return
    config = replace(composed(*overrides), out_root=str(tmp_path))
    run(config, NOWHERE)
    rows = [row for row in read(RunDir(tmp_path, config.run_key).metrics) if row["event"] == "train"]
    assert all(value is not None for row in rows for name, value in row.items() if name.startswith("train/"))
    assert RunDir(tmp_path, config.run_key).done.exists()
