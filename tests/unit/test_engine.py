"""How a step is executed: what it is given, and what happens when it cannot be."""

import errno
import subprocess

import pytest
import torch

from daso.errors import CannotCompile, RunFailed, UserError
from daso.run.build import build, data_of
from daso.schema import Compile
from tests.compose import tiny
from tests.graph.cpu_graph import CpuGraphs

CPU = torch.device("cpu")


def engine_of(mode=Compile.none, graphs=None):
    config = tiny("algorithm=fixmatch_abc_daso")
    parts = build(config, CPU, *data_of(config), graphs=graphs)
    parts.engine.mode = mode
    return parts.engine, parts.slots


def test_a_step_is_given_the_same_again():
    engine, _ = engine_of()
    one, two = engine.draw(7, 3, 60, 0.1), engine.draw(7, 3, 60, 0.1)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_position_in_the_phase_changes_the_clock_alone():
    engine, _ = engine_of()
    one, two = engine.draw(7, 7, 60, 0.1), engine.draw(7, 3, 20, 0.1)
    assert {name for name in one if not torch.equal(one[name], two[name])} == {"clock/step", "clock/progress"}
    assert (two["clock/step"], two["clock/progress"]) == (3, 0.15)


def test_every_step_is_given_the_same_shapes():
    engine, _ = engine_of()
    shapes = [{name: (t.shape, t.dtype) for name, t in engine.draw(s, s, 60, 0.1).items()} for s in range(5)]
    assert all(s == shapes[0] for s in shapes)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no C compiler\nat all"), "no C compiler"),
        (FileNotFoundError(2, "No such file or directory", "gcc"), r"\[Errno 2\] No such file or directory: 'gcc'"),
        (subprocess.CalledProcessError(1, "gcc"), "Command 'gcc' returned non-zero exit status 1."),
        (ImportError("Python.h"), "Python.h"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_step_that_cannot_be_compiled_says_what_would_run(error, reason, monkeypatch):
    engine, slots = engine_of(Compile.default)
    monkeypatch.setattr(engine, "_batch", raising(error))
    sentence = rf"^train.compile=default does not work here \({reason}\): train.compile=none would run.$"
    with pytest.raises(CannotCompile, match=sentence):
        engine(engine.draw(0, 0, 60, 0.1), slots.flags(0))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("x"),
        OSError(errno.ENOSPC, "full"),
        RunFailed("The loss is not finite."),
        UserError("a=1"),
    ],
)
def test_what_the_compiler_is_not_to_blame_for_is_left_alone(error, monkeypatch):
    engine, slots = engine_of(Compile.default)
    monkeypatch.setattr(engine, "_batch", raising(error))
    with pytest.raises(type(error)) as caught:
        engine(engine.draw(0, 0, 60, 0.1), slots.flags(0))
    assert caught.value is error


def raising(error):
    def fail(*args):
        raise error

    return fail


def test_a_plain_step_s_own_errors_are_left_alone(monkeypatch):
    engine, slots = engine_of()
    monkeypatch.setattr(engine, "_batch", lambda given, flags: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine(engine.draw(0, 0, 60, 0.1), slots.flags(0))


def test_a_host_read_inside_a_recorded_step_is_found(monkeypatch):
    engine, slots = engine_of(graphs=CpuGraphs())
    plain = engine.feed.batch
    monkeypatch.setattr(engine, "_batch", lambda given, flags: (given["lr"].item(), plain(given))[1])

    def take():
        for step in range(5):
            engine(engine.draw(step, step, 60, 0.1), slots.flags(step))

    with pytest.raises(AssertionError, match="waits for the device"):
        take()
