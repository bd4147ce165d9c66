"""The list of knobs is frozen: a new one is a visible difference in `knobs.txt`."""

from dataclasses import MISSING
from enum import Enum
from pathlib import Path

from daso.schema import NOT_SCIENCE, AlgorithmConfig, Config
from daso.settings.identity import knobs

FROZEN = Path(__file__).with_name("knobs.txt")


def listing() -> str:
    lines = []
    for key, knob in knobs().items():
        kind = (
            knob.type.__name__ if isinstance(knob.type, type) and not hasattr(knob.type, "__args__") else str(knob.type)
        )
        default = knob.default.name if isinstance(knob.default, Enum) else repr(knob.default)
        lines.append(f"{key}: {kind.removeprefix('typing.')}" + ("" if knob.default is MISSING else f" = {default}"))
    return "\n".join(lines) + "\n"


def test_the_knobs_are_the_frozen_ones():
    assert listing() == FROZEN.read_text(), "knobs changed: if that is meant, write listing() into knobs.txt"


def test_what_enters_no_run_key_is_listed():
    top = {name for name, f in Config.__dataclass_fields__.items() if f.metadata == NOT_SCIENCE}
    hidden = (
        "track device jobs_per_device out_root force eval_only plan fail_fast resume_across recipe sweep tune run_key"
    )
    assert top == set(hidden.split())
    assert not any(f.metadata == NOT_SCIENCE for f in AlgorithmConfig.__dataclass_fields__.values())
