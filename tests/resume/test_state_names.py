"""A run that an older version began is resumed by a newer one: what a checkpoint holds keeps its names."""

import json
from pathlib import Path

import pytest
import torch

from daso.run.build.parts import build_method, build_protocol
from daso.run.stages import own
from tests import toy
from tests.compose import config_of
from tests.graph.presets import EVERY
from tests.training import CPU

FROZEN = Path(__file__).with_name("state_names.json")  # what is in it never changes; new presets join
RECORDED = json.loads(FROZEN.read_text())


def names(preset):
    config = own(config_of("experiment=quickstart", f"algorithm={preset}", "track=none", "darp.goal=labeled"))
    facts = toy.facts(config, torch.tensor([12, 9, 7, 6, 5, 4, 3, 3, 2, 2]), 40)
    method = build_method(config, facts, CPU, torch.float32)
    student = toy.nets(heads=method.heads, classes=10, encoder=toy.OneBlock()).student
    return {
        "learner": list(method.learner.state_dict()),
        "slots": list(method.slots.state_dict()),
        "protocol": list(build_protocol(config, facts).state_dict()),
        "heads": [name for name in student.state_dict() if name.startswith("heads.")],
    }


def join(preset):
    """Record a new preset."""
    assert preset not in RECORDED
    lines = [
        f" {json.dumps(name)}: {json.dumps(found)}"
        for name, found in sorted({**RECORDED, preset: names(preset)}.items())
    ]
    FROZEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@pytest.mark.parametrize("preset", EVERY)
def test_the_state_of_a_preset_keeps_its_names(preset):
    assert names(preset) == RECORDED[preset]
