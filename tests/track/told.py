"""What a run writes for its trackers, and a stand-in for W&B that writes down what it is told."""

import types

from daso.track.jsonl import Journal


def train(run, start, stop, shift=0.0):
    """What a run writes in the steps from `start` to `stop`, with an evaluation every 15."""
    journal = Journal(run.metrics)
    journal.truncate(start)
    for step in range(start + 5, stop + 1, 5):
        journal.append("train", step, {"train/loss_cls": 1 / step + shift})
        if step % 15 == 0:
            values = {"test/top1_median20": step + shift, "test/few": None, "test/class/0": 1.0, "test/class/1": 2.0}
            journal.append("eval", step, values)
    journal.close()


def picture(run):
    from PIL import Image

    run.figures.mkdir(exist_ok=True)
    Image.new("RGB", (7, 5)).save(run.figures / "confusion.png")


class Fake(types.ModuleType):
    """A stand-in for `wandb` that writes down what it is told, by W&B's documented names."""

    def __init__(self):
        super().__init__("wandb")
        self.inits, self.logged, self.finished, self.metrics = [], [], [], []

    def init(self, **given):
        self.inits.append(given)
        return self

    def Settings(self, **given):
        return given

    def Image(self, path):
        return path

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def log(self, values):
        self.logged.append(values)

    def finish(self, exit_code):
        self.finished.append(exit_code)
