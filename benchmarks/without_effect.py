"""Knobs without effect: every knob of some nodes beside every neutral value of another one, on eight steps of digits.

    python benchmarks/without_effect.py algorithm algorithm=mixmatch
    python benchmarks/without_effect.py daso,abc algorithm=fixmatch_abc_daso daso.warmup_steps=2 daso.update_every=2

Runs of different keys shall differ in some number. A knob of which no value changes any is printed with what stood
beside it, to be judged: some have an effect in longer runs alone, or on a GPU. What has none belongs into the schema's
`read_by`, and into `tests/unit/test_without_effect.py`. Minutes of one core for a node; ends with a line of JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from daso.errors import RunFailed, UserError
from daso.schema import Config
from daso.settings.identity import knobs, plain
from tests.compose import config_of
from tests.training import trained

SHORT = ("experiment=quickstart", "track=none", "train.steps=8", "train.batch_size=4", "train.eval_every=4")
SHORT += ("train.log_every=2", "train.checkpoint_every=100", "train.period=4")


class Survey:
    """The runs of a composition, each trained once."""

    def __init__(self, chosen: list[str]) -> None:
        self.chosen = (*SHORT, *chosen)
        self.usual = plain(config_of(*self.chosen))
        self.numbers: dict[str, str] = {}  # of runs that were trained, by their keys

    def values(self, key: str) -> list[str]:
        """Other values of a knob than its own: all of a few, neutral ones and two of no meaning among numbers."""
        node, _, name = key.partition(".")
        now, kind = self.usual[node][name], knobs()[key].type
        if isinstance(kind, type) and issubclass(kind, Enum):
            return [value.name for value in kind if value.name != now]
        if kind is bool:
            return ["false" if now else "true"]
        if kind not in (int, float):
            return []
        others = (0, 1, 2, 2 * now, now // 2) if kind is int else (0.0, 1.0, 0.7 * (now or 0.3), 1.9 * (now or 1))
        return [str(value) for value in dict.fromkeys(others) if value != now]

    @cache  # noqa: B019
    def config(self, *overrides: str) -> Config | None:
        """The configuration; None where it is refused."""
        try:
            return config_of(*self.chosen, *overrides)
        except UserError:
            return None

    def rows(self, config: Config) -> str:
        """The numbers of a run; why there are none where it is refused."""
        if config.run_key not in self.numbers:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.numbers[config.run_key] = repr(trained(config, Path(folder))[1])
                except (UserError, RunFailed) as error:
                    self.numbers[config.run_key] = str(error)
        return self.numbers[config.run_key]

    def findings(self, nodes: list[str]) -> Iterator[tuple[str, str, list[str]]]:
        """A neutral value, or nothing; a knob; its values, all of other keys and of the same numbers."""
        keys = [key for node in nodes for name in self.usual[node] if (key := f"{node}.{name}") in knobs()]
        for beside in ["", *(f"{key}={value}" for key in keys for value in self.values(key))]:
            given = (beside,) if beside else ()
            base = self.config(*given)
            for key in keys if base else ():
                if beside.startswith(f"{key}="):
                    continue
                others = {value: self.config(*given, f"{key}={value}") for value in self.values(key)}
                told = {value: other for value, other in others.items() if other and other.run_key != base.run_key}
                if told and all(self.rows(other) == self.rows(base) for other in told.values()):
                    yield beside, key, [*told]


def main() -> None:
    """Print what is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", type=lambda text: text.split(","), help="nodes of the configuration, as algorithm,abc")
    parser.add_argument("chosen", nargs="*", help="the composition, as algorithm=mixmatch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    survey, found = Survey(arguments.chosen), 0
    for beside, key, values in survey.findings(arguments.nodes):
        found += 1
        print(f"{key} = {', '.join(values)}: no number changes{f' beside {beside}' if beside else ''}", flush=True)
    print(json.dumps({"found": found, "runs": len(survey.numbers)}))


if __name__ == "__main__":
    main()
