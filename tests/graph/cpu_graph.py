"""A CUDA graph's semantics on the CPU, to test what is recorded where there is no GPU.

Recording runs the work once, notes every operation with the very tensors it read and wrote, and undoes it. A replay does
those operations again, in the same order, on the same memory; Python, its numbers and its branches run no more. Whatever
a step computes on the host, or keeps in another place than before, then shows as other numbers than the plain loop's.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
HOST_READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.is_nonzero.default, aten.item.default}
UNDECLARED = {aten.native_batch_norm.default: (3, 4)}  # arguments written without saying so in the schema


class CpuGraphs:
    """Records work as operations; counts recordings and replays."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def warm(self, work):
        return work()

    def capture(self, work):
        self.recorded += 1
        tape = Tape()
        with tape:
            result = work()
        tape.undo()

        def replay():
            self.replayed += 1
            tape.replay()

        return replay, result


class Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations, self.overwritten = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func not in HOST_READS, f"{func} waits for the device inside a step"
        for tensor in written(func, args, kwargs):
            self.overwritten.append((tensor, tensor.clone()))
        out = func(*args, **kwargs)
        if not is_view(func):
            self.operations.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def undo(self):
        for tensor, before in reversed(self.overwritten):
            tensor.copy_(before)
        self.overwritten.clear()

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, out in self.operations:
            again = func(*args, **kwargs)
            if not returns_an_argument(func):
                for old, new in zip(tensors(out), tensors(again), strict=True):
                    old.copy_(new)


def tensors(nest):
    return [leaf for leaf in tree_leaves(nest) if isinstance(leaf, torch.Tensor)]


def written(func, args, kwargs):
    declared = func._schema.arguments
    values = list(args) + [kwargs.get(argument.name) for argument in declared[len(args) :]]
    marked = [v for a, v in zip(declared, values, strict=True) if a.alias_info is not None and a.alias_info.is_write]
    return tensors([*marked, *(args[i] for i in UNDECLARED.get(func, ()))])


def returns_an_argument(func):
    return any(r.alias_info is not None and r.alias_info.is_write for r in func._schema.returns)


def is_view(func):
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
