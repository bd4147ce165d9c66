"""How steps are executed: as they are written, compiled, or each as one CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator

from daso.data.feed import Feed
from daso.errors import CannotCompile, RunFailed, UserError
from daso.machine.execution import short_of_disk, short_of_memory
from daso.schema import Compile
from daso.train.capture import Captured, Graphs
from daso.train.meters import Meters
from daso.train.optimizer import set_lr
from daso.train.packet import Packet
from daso.train.step import TrainStep
from daso.types import Clock, Draw, Flags, Given

NOISE = "noise/"


class Engine:
    """Takes whole steps: batch, optimisation, meters. On a GPU nothing in it waits.

    Args:
        feed: makes the batch.
        step: trains on it.
        meters: count what came out.
        draws: the noise streams of the step.
        generator: (stream, step) -> CPU generator.
        device: where everything is.
        mode: whether augmentation (in its static form) and forward pass are compiled.
        graphs: records steps; None executes them one operation after the other.
    """

    def __init__(
        self,
        feed: Feed,
        step: TrainStep,
        meters: Meters,
        draws: dict[str, Draw],
        generator: Callable[[str, int], Generator],
        device: torch.device,
        mode: Compile = Compile.none,
        graphs: Graphs | None = None,
    ) -> None:
        self.feed, self.step, self.meters, self.device, self.mode = feed, step, meters, device, mode
        self._draws, self._generator = draws, generator
        traced = mode is not Compile.none and feed.views.form == "static"
        self._batch = torch.compile(feed.batch, fullgraph=True, dynamic=False) if traced else feed.batch
        self._static = graphs is not None or device.type != "cpu"
        self._packet: Packet | None = None
        self._given: Given = {}
        self._take = Captured(self._take_as_written, graphs)

    def draw(self, step: int, phase_step: int, phase_steps: int, lr: float) -> Given:
        """Everything that a step reads anew, on the CPU: each random number from a generator of its own.

        Args:
            step: of the run; decides rows and random numbers.
            phase_step, phase_steps: position in the phase, and its length; they decide the clock.
            lr: learning rate.
        """
        noise = {NOISE + name: draw(self._generator(NOISE + name, step)) for name, draw in self._draws.items()}
        clock = make_clock(phase_step, phase_steps)
        return {
            **self.feed.draw(step),
            **noise,
            **{f"clock/{name}": value for name, value in clock._asdict().items()},
            "lr": torch.tensor(lr, dtype=torch.float64),
        }

    def __call__(self, given: Given, flags: Flags) -> None:
        """Take one step with what `draw` gave for it.

        Raises:
            CannotCompile: the step cannot be compiled or recorded.
        """
        if self._static and self._packet is None:
            self._packet = Packet(given, self.device)
        self._given = given if self._packet is None else self._packet.load(given)
        with explained(self.mode):
            self._take(flags)

    def _take_as_written(self, flags: Flags) -> None:
        given = self._given
        batch, truth = self._batch(given, flags)
        set_lr(self.step.optimizer, given["lr"])
        noise = {name.removeprefix(NOISE): value for name, value in given.items() if name.startswith(NOISE)}
        clock = Clock(*(given[f"clock/{name}"] for name in Clock._fields))
        outcome = self.step(batch, noise, clock, flags)
        self.meters.add(outcome, batch.y, truth)


@contextmanager
def explained(mode: Compile) -> Iterator[None]:
    """Turn what goes wrong in compiled or recorded work into a sentence, whatever it is: a compiler or a header that is
    missing shows as an error of the operating system, of a subprocess, of an import.

    Raises:
        CannotCompile: it cannot be compiled or recorded.
    """
    try:
        yield
    except (UserError, RunFailed):
        raise
    except Exception as error:
        if mode is Compile.none or short_of_memory(error) or short_of_disk(error):
            raise
        root: BaseException = error  # where recording breaks off, what is raised is that it has broken off
        while root.__cause__ or root.__context__:
            root = root.__cause__ or root.__context__ or root
        reason = _first_line(error) + ("" if root is error else f"; because of {_first_line(root)}")
        raise CannotCompile(
            f"train.compile={mode.value} does not work here ({reason}): train.compile=none would run."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def make_clock(step: int, steps: int) -> Clock:
    """The clock of `step`, as scalars on the CPU."""
    return Clock(torch.tensor(step, dtype=torch.int64), torch.tensor(step / steps, dtype=torch.float64))
