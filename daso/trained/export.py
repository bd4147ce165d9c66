"""A network in a file that torch alone can load (`torch.export`): a number of images of any size in, probabilities out.

Legend: B images, c channels, S pixels per side, C classes.
"""

import copy
import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from daso.errors import UserError
from daso.outputs.endings import EXPORTED, ending
from daso.outputs.files import asked_for
from daso.schema import DatasetConfig
from daso.trained.network import Network

FACTS = "daso.json"
"""The name under which a file keeps what it is, see `facts_of`."""


class Answers(nn.Module):
    """uint8 images [B,c,S,S] -> probabilities [B,C], in float32."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities [B,C]."""
        logits: Tensor = self.network(images)
        return logits.softmax(1)


def export(network: Network, dataset: DatasetConfig, facts: dict[str, Any], path: Path) -> Path:
    """Write a network so that `torch.export.load(path).module()(images)` answers as it does.

    The file computes in float32 whatever the run's precision, and moves to a GPU by
    `torch.export.passes.move_to_device_pass`.

    Args:
        network: what answers.
        dataset: whose images it takes.
        facts: what the file is to tell beside its input and output.
        path: where to, ending in .pt2.

    Raises:
        UserError: another ending, or the file cannot be written.
    """
    ending("export", str(path), "a network", [EXPORTED])
    with asked_for("export", path) as part:
        _write(network, dataset, facts, path, part)
    return path.expanduser()


def _write(network: Network, dataset: DatasetConfig, facts: dict[str, Any], path: Path, part: Path) -> None:
    plain = copy.deepcopy(network).cpu().eval()
    plain.autocast = nullcontext
    told = facts_of(dataset, facts)
    example = torch.zeros(2, *told["input"]["shape"][1:], dtype=torch.uint8)
    with torch.no_grad():
        program = torch.export.export(Answers(plain), (example,), dynamic_shapes=({0: Dim("batch", min=1)},))
    try:
        with warnings.catch_warnings():  # of weights on several devices; these are on the CPU
            warnings.filterwarnings("ignore", "No complete tensor found in the group")
            torch.export.save(program, part, extra_files={FACTS: json.dumps(told, indent=2)})
    except RuntimeError as error:  # what torch makes of a full disk
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"export={path} is not possible: {reason}.") from error


def facts_of(dataset: DatasetConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """What a file tells of itself: its input and output, and `facts`."""
    side = dataset.source_size or dataset.resolution
    colours = {1: "gray", 3: "RGB"}[dataset.channels]
    return {
        "input": {
            "dtype": "uint8",
            "shape": ["batch", dataset.channels, side, side],
            "meaning": f"{colours}, 0 to 255, channels first; resizing and normalisation are inside",
        },
        "output": {"dtype": "float32", "shape": ["batch", dataset.num_classes], "meaning": "probabilities"},
        **facts,
    }
