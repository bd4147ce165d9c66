"""How fast a run is, and whether its steps wait for the disk."""

from types import SimpleNamespace

import pytest

from daso.train import pace
from daso.train.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(pace.time, "monotonic", lambda: now.time)
    return now


def test_speed_and_waiting_are_of_the_time_since_the_last_look(clock):
    pool = SimpleNamespace(far=True, waited=7.0)
    measure = Pace(pool, 10)
    clock.time, pool.waited = 104.0, 8.0
    assert measure.look(18) == {"time/steps_per_second": 2.0, "time/wait_share": 0.25}
    clock.time = 105.0
    assert measure.look(23) == {"time/steps_per_second": 5.0, "time/wait_share": 0.0}


def test_where_all_images_are_there_nothing_waits(clock):
    measure = Pace(SimpleNamespace(far=False, waited=0.0), 0)
    clock.time = 101.0
    assert measure.look(3) == {"time/steps_per_second": 3.0}


def test_a_slow_disk_is_told_of_once_and_not_for_the_first_files(clock):
    pool = SimpleNamespace(far=True, waited=0.0)
    measure, said = Pace(pool, 0), []
    for step in range(1, 5):
        clock.time, pool.waited = clock.time + 1, pool.waited + 0.42
        said.append(measure.remark(measure.look(step)))
    assert said[1].startswith("Steps wait for images for 42 % of the time, so the disk or the network is the limit")
    assert [bool(sentence) for sentence in said] == [False, True, False, False]
