"""How torch computes: device, precision, compiler; what `auto` means on a device."""

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from daso.errors import UserError
from daso.schema import WORTH_COMPILING, Compile, Config, Precision, TrainConfig

COMPILED = ".compiled"  # folder in out_root: what torch.compile has made
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt: bytes
# in torch's errors that have no type
NO_MEMORY = ("out of memory", "[enforce fail", "bad_alloc", "ALLOC_FAILED", "could not create a primitive")


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of this machine, has run out."""
    if isinstance(error, RuntimeError):
        return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def short_of_disk(error: BaseException) -> bool:
    """Whether an error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def hardware(device: torch.device) -> str:
    """What a device is called: the name of a GPU, else `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; anything else is taken at its word.

    Raises:
        UserError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name} is not a device: auto, cpu, cuda or cuda:1 would be.") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name} is not supported: auto, cpu, cuda or cuda:1 would be.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"{count} GPU{'s' * (count > 1)}" if count else "no CUDA"
            raise UserError(
                f"device={name} is not here: this machine has {found}; device=cpu or device=auto would run."
            )
    return device


def configure_torch(config: Config, device: torch.device) -> dict[str, Any]:
    """Set every process-wide switch of torch that a run depends on; returns what bit equality depends on.

    Jobs of one sweep share a process, so each sets them all.

    Raises:
        UserError: a precision that the device cannot do.
    """
    train = config.train
    if device.type == "cuda" or train.compile is Compile.default:
        # the jobs of a sweep, and a resumed run, find what an earlier one has compiled
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(config.out_root, COMPILED).absolute()))
    precision = effective_precision(train.precision, device)
    mode = effective_compile(train, device)
    if mode is not Compile.none:
        import torch._inductor.config as inductor

        if hasattr(inductor, "deterministic"):  # else kernels, and with them the order of sums, are chosen by timing
            inductor.deterministic = train.deterministic
    if device.type == "cpu":
        keep_freed_memory()
    torch.set_num_threads(train.threads)
    torch.backends.cuda.matmul.allow_tf32 = False  # the few small products are exact; the convolutions count
    torch.backends.cudnn.allow_tf32 = precision is Precision.tf32
    torch.backends.cudnn.benchmark = not train.deterministic
    torch.backends.cudnn.deterministic = train.deterministic
    return {
        "device": device.type,
        "precision": precision.value,
        "compile": mode.value,
        "threads": train.threads,
        "torch": str(torch.__version__),
    }


def keep_freed_memory() -> None:
    """Let this process keep what one step frees for the next one, where the C library is GNU's: to give hundreds of
    megabytes back and to be given them anew, page by page, costs a step of large tensors about 5 %.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(MMAP_THRESHOLD, 2**30)


def effective_precision(precision: Precision, device: torch.device) -> Precision:
    """What `train.precision` means on a device: auto is tf32 on CUDA, fp32 on the CPU."""
    if precision is Precision.auto:
        return Precision.tf32 if device.type == "cuda" else Precision.fp32
    if precision is Precision.tf32 and device.type == "cpu":
        raise UserError("train.precision=tf32 is not possible on a CPU: fp32, bf16 or auto would be.")
    return precision


def effective_compile(train: TrainConfig, device: torch.device) -> Compile:
    """What `train.compile` means on a device; auto: graph for a run on CUDA that is long enough to be worth the
    wait for the compiler, where there is one; else none.
    """
    if train.compile is Compile.auto:
        worth = device.type == "cuda" and train.steps >= WORTH_COMPILING and find_spec("triton") is not None
        return Compile.graph if worth and can_compile(device) else Compile.none
    if train.compile is Compile.graph and device.type == "cpu":
        raise UserError("train.compile=graph is not possible on a CPU: none, default or auto would be.")
    return train.compile


@cache
def can_compile(device: torch.device) -> bool:
    """Whether a trivial function compiles, i.e. the GPU is new enough and a C compiler is at hand with its headers. If
    not, that shows as an error of any kind: of torch, of the operating system, of a subprocess, of an import.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(1, device=device))
    except Exception:
        return False
    return True


def build_autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """The context of a forward pass."""
    if precision is Precision.bf16:
        # without the cache of cast weights, which some versions of torch fill in a pass without gradient and then use
        # in the pass with one: those weights would learn nothing
        return partial(torch.autocast, device.type, dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext
