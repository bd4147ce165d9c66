"""What the words of the configuration mean on a device."""

import subprocess
from dataclasses import replace

import pytest
import torch

from daso.errors import UserError
from daso.machine import execution
from daso.machine.execution import effective_compile
from daso.schema import WORTH_COMPILING, Compile, Precision
from tests.compose import config_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
can_compile = execution.can_compile.__wrapped__  # without what it remembers
LONG = config_of("dataset=cifar10", "algorithm=fixmatch").train


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    monkeypatch.setattr(execution, "can_compile", lambda device: True)
    monkeypatch.setattr(execution, "find_spec", lambda name: name)


def test_a_long_run_on_a_gpu_is_recorded_without_asking():
    assert effective_compile(LONG, CUDA) is Compile.graph


def test_a_short_run_never_waits_for_a_compiler():
    assert effective_compile(replace(LONG, steps=WORTH_COMPILING - 1), CUDA) is Compile.none


def test_a_cpu_run_is_not_compiled_unless_it_is_asked_for():
    assert effective_compile(LONG, CPU) is Compile.none
    assert effective_compile(replace(LONG, compile=Compile.default), CPU) is Compile.default


def test_no_cast_weight_is_kept_from_a_pass_without_gradient():
    with execution.build_autocast(Precision.bf16, CPU)():
        assert torch.is_autocast_enabled("cpu")
        assert not torch.is_autocast_cache_enabled()


@pytest.mark.parametrize("missing", ["can_compile", "find_spec"])
def test_without_a_compiler_nothing_is_compiled(missing, monkeypatch):
    monkeypatch.setattr(execution, missing, lambda _: None)
    assert effective_compile(LONG, CUDA) is Compile.none


def test_a_graph_on_a_cpu_is_refused_in_a_sentence():
    with pytest.raises(
        UserError, match=r"train.compile=graph is not possible on a CPU: none, default or auto would be"
    ):
        effective_compile(replace(LONG, compile=Compile.graph), CPU)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "gcc"),
        subprocess.CalledProcessError(1, "gcc"),
        ImportError("libcuda.so"),
        AssertionError(),
        RuntimeError("no C compiler"),
    ],
)
def test_whatever_a_missing_compiler_or_header_raises_nothing_is_compiled(error, monkeypatch):
    def fail(*args):
        raise error

    monkeypatch.setattr(torch, "compile", lambda function: fail)
    assert not can_compile(CPU)
