"""How long a step takes on a GPU that nobody timed: what it computes and moves, against what the card can.

A model, good to a factor of two: the larger of the two times of each convolution and product, and what all else moves.
Its constants are those of WRN-28-2 in docs/performance.md; a run that was timed on another card corrects them.
"""

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daso.run.work import Work


class Card(NamedTuple):
    """Peak rates of a GPU."""

    name: str  # words of what the driver calls it
    bandwidth: float  # bytes a second
    bf16: float  # operations a second of dense products, added up in fp32
    tf32: float
    fp32: float


def _card(name: str, gigabytes: float, bf16: float, tf32: float, fp32: float) -> Card:
    return Card(name, gigabytes * 1e9, bf16 * 1e12, tf32 * 1e12, fp32 * 1e12)


# GB/s, and TFLOP/s in bf16, TF32 and fp32, from NVIDIA's data sheets of the data-centre cards (SXM where there is a
# choice) and its white papers on Pascal, Turing, Ampere, Ada and Blackwell. 0: no such units, it computes in fp32.
CARDS = (
    _card("B200", 8000, 2250, 1125, 75),
    _card("H200", 4800, 989, 494, 67),
    _card("H100 PCIe", 2000, 756, 378, 51),
    _card("H100", 3350, 989, 494, 67),
    _card("A100 40GB", 1555, 312, 156, 19.5),
    _card("A100", 2039, 312, 156, 19.5),
    _card("L40S", 864, 362, 183, 91.6),
    _card("L4", 300, 121, 60, 30.3),
    _card("A40", 696, 149.7, 74.8, 37.4),
    _card("A10", 600, 125, 62.5, 31.2),
    _card("RTX A6000", 768, 154.8, 77.4, 38.7),
    _card("RTX 5090", 1792, 209.5, 104.8, 104.8),
    _card("RTX 4090", 1008, 165.2, 82.6, 82.6),
    _card("RTX 3090", 936, 71, 35.6, 35.6),
    _card("V100", 900, 0, 0, 15.7),
    _card("T4", 320, 0, 0, 8.1),
    _card("TITAN Xp", 547.6, 0, 0, 12.1),
)
REACHED = {"bf16": 0.35, "tf32": 0.35, "fp32": 0.7}  # of the peak, by convolutions of 32 to 128 channels
MEMORY = 0.9  # of the bandwidth, by a large copy
TRAFFIC = {"none": 1.2, "compiled": 0.95}  # of each argument once: statistics read it again, a compiler fuses
LAUNCHES = {"none": 1.0, "compiled": 1 / 3}  # kernels of an operation that is neither convolution nor product
SHORTEST = 3e-6  # seconds of a kernel
HOST = 16e-6  # seconds of an operation that Python starts; a graph has none
BESIDE = 300  # operations of optimizer, average and meters


def card_of(name: str) -> Card | None:
    """The rates of a GPU that the driver calls `name`; None if they are not known, or are those of a part of it."""
    words = set(re.findall(r"\w+", name.lower()))
    if words & {"laptop", "mig"}:
        return None
    return next((card for card in CARDS if words.issuperset(card.name.lower().split())), None)


def cards_here() -> list[str]:
    """What the driver calls the GPUs of this machine, each kind once."""
    question = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return list(dict.fromkeys(filter(None, map(str.strip, answer.splitlines()))))


def seconds_per_step(work: "Work", card: Card, precision: str, compile: str) -> float:
    """A step's time by the model.

    Args:
        work: what it does.
        card: on what.
        precision: `auto` (TF32), `bf16`, `tf32` or `fp32`.
        compile: `none`, `default` or `graph`.
    """
    precision = "tf32" if precision == "auto" else precision
    mode = "none" if compile == "none" else "compiled"
    wide = 1 if precision == "bf16" else 2  # 2 or 4 bytes a number
    bandwidth = MEMORY * card.bandwidth
    peak = max(REACHED[name] * float(getattr(card, name)) for name in (precision, "fp32"))
    heavy = [operation for operation in work.operations if operation.flops]
    light = [operation for operation in work.operations if not operation.flops]
    device = sum(max(o.flops / peak, wide * TRAFFIC[mode] * o.octets / bandwidth, SHORTEST) for o in heavy)
    moved = wide * TRAFFIC[mode] * sum(o.octets for o in light) + work.weight_octets
    device += max(moved / bandwidth, LAUNCHES[mode] * len(light) * SHORTEST)
    host = 0.0 if compile == "graph" else HOST * (len(heavy) + LAUNCHES[mode] * len(light) + BESIDE)
    return max(device, host)
