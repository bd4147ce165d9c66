"""A GPU that is none, to find mistakes of place without one: tensors that say `cuda:0` and compute on the CPU.

    with pretended() as gpu:
        parts = build(config, CUDA, ...)
        with gpu.recording():
            parts.engine(...)
    assert gpu.mistakes == {}

What asks for `cuda` gets a wrapper around a CPU tensor. Each operation is looked at, then done on real values. One on
tensors of both devices is refused, as torch refuses it. What the host reads or copies, waiting for the device, is noted
with the lines that it came from: in `mistakes` inside of `recording`, i.e. where a CUDA graph would be recorded, with a few
things more that such a graph would get wrong; in `waits` elsewhere.

Not seen: which dtypes a CUDA kernel has, streams, recording itself, what a compiler makes of it, the autocast of CUDA (it
is the CPU's), cuDNN.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch._library.custom_ops import OPDEFS
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

ROOT = Path(__file__).resolve().parents[2]
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MOVES = {"to", "cpu", "cuda"}
FACTORIES = {
    "arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "ones", "rand", "randint", "randn",
    "randperm", "scalar_tensor", "tensor", "zeros",
}  # fmt: skip
READS = {  # kernels of CUDA that wait: the host needs a value, or the size of the result
    "_local_scalar_dense", "_unique2", "bincount", "equal", "masked_select", "nonzero", "repeat_interleave",
    "unique_consecutive", "unique_dim",
}  # fmt: skip
INDEXING = {"_index_put_impl_", "_unsafe_index", "index", "index_put", "index_put_"}
IN_ANY_ORDER = {  # kernels of CUDA that add floating-point numbers in another order each time
    "_adaptive_avg_pool2d_backward", "cumsum", "grid_sampler_2d_backward", "index_add", "index_add_",
    "max_pool2d_with_indices_backward", "put_", "scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_",
    "upsample_bicubic2d_backward", "upsample_bilinear2d_backward",
}  # fmt: skip


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU; `host` holds its values."""

    @staticmethod
    def __new__(cls, host):
        return torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=CPU
        )

    def __init__(self, host):
        self.host = host

    __torch_function__ = torch._C._disabled_torch_function_impl
    device, is_cuda, is_cpu = property(lambda _: CUDA), property(lambda _: True), property(lambda _: False)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} on the pretended GPU after its end")

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __repr__(self):
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"

    def __reduce_ex__(self, protocol):
        return self.host.__reduce_ex__(protocol)


class Gpu(TorchDispatchMode):
    """Looks at every operation.

    Attributes:
        mistakes: what would go wrong in a recorded graph, with the lines it came from, and how often.
        waits: where else the host waits for the device.
    """

    def __init__(self):
        super().__init__()
        self.mistakes, self.waits = Counter(), Counter()
        self._recording = False
        self.homes = [CPU]  # of what torch makes within the function that is being called

    @contextmanager
    def recording(self):
        """Everything within would be recorded as a graph."""
        before, self._recording = self._recording, True
        try:
            yield
        finally:
            self._recording = before

    def wait(self, what):
        """Note that the host waits for the device."""
        (self.mistakes if self._recording else self.waits)[f"{what} at {line()}"] += 1

    def spoils(self, what):
        """Note what only matters in a recorded graph."""
        if self._recording:
            self.mistakes[f"{what} at {line()}"] += 1

    def move(self, tensor, device, waits, options):
        """`tensor` on `device`, or on its own: a copy, unless it is there and of that form already."""
        if device is None or tensor.device.type == device.type:
            return torch.Tensor.to(tensor, **options) if options else tensor
        (self.wait if waits else self.spoils)(f"copy to {device.type}")
        with _disable_current_modes():
            host = tensor.host if device.type == "cpu" else tensor
            copied = host.detach().to(**options).clone(memory_format=torch.preserve_format)
        return copied if device.type == "cpu" else OnGpu(copied)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace != "aten" and (known := OPDEFS.get(func._schema.name)) is not None:
            with Places(self), self:  # look inside
                return known._init_fn(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        mine = [t for t in inputs if isinstance(t, OnGpu)]
        plain = [t for t in inputs if not isinstance(t, OnGpu)]
        home = self._look(func._schema.name.split("::")[1], args, kwargs, mine, plain)
        result = func(*on_host(args), **on_host(kwargs))
        given = {id(t.host): t for t in mine} | {id(t): t for t in plain}  # in-place operations return their argument

        def placed(tensor):
            return given.get(id(tensor), OnGpu(tensor) if home == CUDA else tensor)

        return tree_map_only(torch.Tensor, placed, result)

    def _look(self, name, args, kwargs, mine, plain):
        """Note what is wrong with an operation; returns where its results are."""
        if not mine:
            if plain and name not in ("alias", "detach"):
                self.spoils(f"{name} on the CPU, whose result would be a constant")
            return CPU if plain else self.homes[-1]
        if plain and name == "copy_":
            waits = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            (self.wait if waits else self.spoils)(f"copy to {args[0].device.type}")
            return args[0].device
        if name in READS:
            self.wait(f"{name}, which the host reads,")
        if name in INDEXING:
            self._look_at_indices(name, *args)
        elif plain and any(t.dim() > 0 for t in plain):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} has cuda:0 and cpu at {line()}")
        elif plain:
            self.spoils(f"{name} with a scalar on the CPU, which would be a constant,")
        if name in IN_ANY_ORDER and not whole(mine):
            self.spoils(f"{name}, which adds in any order,")
        return CUDA

    def _look_at_indices(self, name, target, indices, values=None, accumulate=False, *rest):
        """Note what is wrong with indexing by tensors."""
        foreign = isinstance(values, torch.Tensor) and not isinstance(values, OnGpu) and values.dim() > 0
        if foreign or not isinstance(target, OnGpu):
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} has cuda:0 and cpu at {line()}")
        for index in (i for i in indices if i is not None):
            if not isinstance(index, OnGpu):
                self.wait(f"{name} with indices on the CPU")
            elif index.dtype in (torch.bool, torch.uint8):
                self.wait(f"{name} by a mask, whose size the host reads,")
        if accumulate and not whole([target, values]):
            self.spoils(f"{name}, which adds in any order,")


class Places(TorchFunctionMode):
    """Answers whatever names a device: torch's C++ never hears of CUDA."""

    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "_parse_to":
            return func(*args, **kwargs)
        if name in MOVES and args and isinstance(args[0], torch.Tensor):
            return self.gpu.move(args[0], *destination(name, *args[1:], **kwargs))
        kwargs.pop("pin_memory", None)
        values = tree_leaves((args, kwargs))
        asked = any(is_cuda(value) for value in values)
        inside = name not in FACTORIES and any(isinstance(value, OnGpu) for value in values)
        self.gpu.homes.append(CUDA if inside else CPU)
        try:
            made = func(
                *(CPU if is_cuda(v) else v for v in args), **{k: CPU if is_cuda(v) else v for k, v in kwargs.items()}
            )
        finally:
            self.gpu.homes.pop()
        return tree_map_only(torch.Tensor, lambda t: t if isinstance(t, OnGpu) else OnGpu(t), made) if asked else made


def destination(name, *args, copy=False, **kwargs):
    """Device (None: stay), whether the host waits, dtype and layout that a call of `to`, `cpu` or `cuda` asks for."""
    if name != "to":
        return CPU if name == "cpu" else CUDA, not kwargs.get("non_blocking", False), {}
    like = [value for value in args if isinstance(value, torch.Tensor)]
    if like:
        return like[0].device, True, {"dtype": like[0].dtype}
    device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
    options = {"dtype": dtype, "memory_format": layout, "copy": copy or None}
    return device, not non_blocking, {name: value for name, value in options.items() if value is not None}


def is_cuda(value):
    """Whether a value names the GPU."""
    return str(value).startswith("cuda") if isinstance(value, (torch.device, str)) else False


def on_host(nest):
    """`nest` with the tensors that hold the values."""
    return tree_map_only(OnGpu, lambda t: t.host, nest)


def whole(tensors):
    """Whether tensors hold whole numbers alone, whose sums are exact in any order."""
    with _disable_current_modes():
        hosts = [on_host(t) for t in tensors if isinstance(t, torch.Tensor)]
        return all(not t.is_floating_point() or bool((t == t.round()).all()) for t in hosts)


def line():
    """Where the project's code is, innermost first."""
    frame, found = sys._getframe(1), []
    while frame is not None and len(found) < 3:
        path = Path(frame.f_code.co_filename)
        if ROOT in path.parents and path != Path(__file__):
            found.append(f"{path.relative_to(ROOT)}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


class Event:
    """An event of a stream on which nothing is ever done at once."""

    def __init__(self, enable_timing=False, blocking=False):
        self.blocking = blocking

    def record(self, *args): ...
    def synchronize(self): ...
    def query(self):
        return False


@contextmanager
def pretended() -> Iterator[Gpu]:
    """Give torch a GPU, as far as Python sees."""
    gpu, autocast, overwrite = Gpu(), torch.autocast, torch.__future__.get_overwrite_module_params_on_conversion()
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: "a GPU that is none",
        "get_device_properties": lambda device=None: SimpleNamespace(uuid="pretended"),
        "max_memory_allocated": lambda device=None: 0,
        "Event": Event,
    }
    # else a module moves by `parameter.data = wrapper`, which loses the wrapper
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            patch.multiple(torch.cuda, **answers),
            patch.object(torch, "autocast", lambda kind, **options: autocast("cpu", **options)),
            Places(gpu),
            gpu,
        ):
            yield gpu
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
