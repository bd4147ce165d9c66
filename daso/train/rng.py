"""Random numbers that need no saving: every generator is keyed by what it is for."""

import hashlib

import torch
from torch import Generator


def generator(seed: int, stream: str, index: int = 0) -> Generator:
    """A CPU generator that depends on (seed, stream, index) alone.

    Streams are independent: a new consumer with a name of its own shifts nobody else's numbers, and a resumed run
    draws what the undisturbed one would have drawn.

    Args:
        seed: the run's seed.
        stream: what the numbers are for, e.g. `"views/labeled"`.
        index: the step or epoch.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{index}".encode(), digest_size=8).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
