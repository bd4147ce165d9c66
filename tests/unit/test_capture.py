"""A recorded function does its work once per call, in the order of the calls."""

import torch

from daso.train.capture import Captured
from daso.train.later import Later


class Notes:
    """Graphs that note what is asked of them."""

    def __init__(self):
        self.said = []

    def warm(self, work):
        self.said.append("warm")
        return work()

    def capture(self, work):
        self.said.append("capture")
        return work, "static"


def test_without_graphs_the_work_is_done_as_it_is():
    assert [Captured(lambda key: key + 1, None)(k) for k in range(5)] == [1, 2, 3, 4, 5]


def test_each_key_is_recorded_after_its_own_warm_up_and_every_call_works_once():
    graphs, done = Notes(), []
    captured = Captured(done.append, graphs, warmup=2)
    calls = ["a", "a", "b", "a", "b", "a", "b", "b"]
    for key in calls:
        captured(key)
    assert done == calls
    assert graphs.said == ["warm", "warm", "warm", "capture", "warm", "capture"]


def test_a_recorded_result_is_the_static_one():
    captured = Captured(lambda key: "fresh", Notes(), warmup=1)
    assert [captured(0) for _ in range(3)] == ["fresh", "static", "static"]


def test_a_later_result_is_of_the_moment_it_was_asked_for():
    counter = torch.ones(2)
    later = Later([counter], lambda host: host[0].sum().item()).then(lambda total: 10 * total)
    counter.zero_()
    assert later.ready()
    assert later.get() == 20
