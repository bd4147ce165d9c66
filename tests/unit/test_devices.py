"""Jobs share out GPUs and cores without collision, whoever started them, and dying frees a place."""

import multiprocessing
import os
import time
from contextlib import ExitStack, contextmanager

import pytest
import torch

from daso.machine import devices
from daso.machine.devices import Place, core_sets, gpus_asked, parallel_jobs, place, take

FORK = multiprocessing.get_context("fork")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "FOLDER", tmp_path / "places")
    monkeypatch.setattr(devices, "POLL", 0.05)
    monkeypatch.setattr(devices, "_last", [])
    return tmp_path / "places"


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(devices, "usable_cores", lambda: [0, 1, 2, 3])


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: object())
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(device.index))
    return chosen


@contextmanager
def jobs(places, count, limit=1):
    """The places of `count` jobs at once; None for one that would have to wait."""
    with ExitStack() as held:
        yield [take(places, limit, held) for _ in range(count)]


def named(*names):
    return [Place(CPU, [name], []) for name in names]


def units(places):
    return [place and place.units for place in places]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1, ["a", "b", "c", None, None]),
        (2, ["a", "b", "c", "a", "b"]),
        (0, ["a", "b", "c", "a", "b"]),
    ],
)
def test_each_job_goes_where_the_fewest_are(limit, expected):
    with jobs(named("a", "b", "c"), 5, limit) as taken:
        assert units(taken) == [name and [name] for name in expected]


def test_a_place_is_free_again_when_its_job_ends():
    with jobs(named("a"), 2) as taken:
        assert units(taken) == [["a"], None]
    with jobs(named("a"), 1) as taken:
        assert units(taken) == [["a"]]


def test_a_place_that_was_given_back_in_between_is_the_one_taken():
    with ExitStack() as first, jobs(named("a", "b", "c"), 0):
        take(named("a", "b", "c"), 1, first)
        with jobs(named("a", "b", "c"), 2) as others:
            assert units(others) == [["b"], ["c"]]
            first.close()
            with jobs(named("a", "b", "c"), 2) as late:
                assert units(late) == [["a"], None]


def test_among_equals_a_process_keeps_its_own(monkeypatch):
    monkeypatch.setattr(devices, "_last", ["b"])
    with jobs(named("a", "b"), 2) as taken:
        assert units(taken) == [["b"], ["a"]]


def test_core_sets_of_different_sizes_do_not_overlap(four_cores):
    with jobs(core_sets(1), 1) as one, jobs(core_sets(2), 2) as pairs:
        assert units(one) == [["core-0"]]
        assert units(pairs) == [["core-2", "core-3"], None]


@pytest.mark.parametrize(
    ("threads", "sets"), [(1, [[0], [1], [2], [3]]), (2, [[0, 1], [2, 3]]), (3, [[0, 1, 2]]), (9, [[0, 1, 2, 3]])]
)
def test_core_sets_have_as_many_cores_as_a_job_has_threads(four_cores, threads, sets):
    assert [place.cores for place in core_sets(threads)] == sets


def test_a_dead_job_holds_no_place():
    taken = FORK.Event()

    def hold():
        with jobs(named("a"), 1):
            taken.set()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    assert taken.wait(30)
    with jobs(named("a"), 1) as waiting:
        assert waiting == [None]
    process.kill()
    process.join()
    with jobs(named("a"), 1) as again:
        assert units(again) == [["a"]]


def test_two_gpu_jobs_compute_on_two_gpus(three_gpus):
    with place(CUDA, True, 0, 1, print) as first, place(CUDA, True, 0, 1, print) as second:
        assert (first, second) == (torch.device("cuda", 0), torch.device("cuda", 1))
    assert three_gpus == [0, 1]


def test_a_named_gpu_is_taken_at_its_word_and_avoided_by_others(three_gpus):
    with (
        place(torch.device("cuda", 0), False, 0, 1, print) as first,
        place(torch.device("cuda", 0), False, 0, 1, print) as second,
        place(CUDA, True, 0, 1, print) as third,
    ):
        assert [device.index for device in (first, second, third)] == [0, 0, 1]


def test_a_job_on_cores_is_kept_on_them_and_let_go_afterwards():
    before = os.sched_getaffinity(0)
    with place(CPU, False, 1, 1, print) as device:
        assert device == CPU
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_without_a_limit_the_cpu_is_left_to_the_operating_system(folder):
    before = os.sched_getaffinity(0)
    with place(CPU, False, 0, 1, print):
        assert os.sched_getaffinity(0) == before
    assert not folder.exists()


def test_a_job_that_has_to_wait_says_so_once_and_goes_on(monkeypatch, four_cores):
    said, held = [], ExitStack()
    take(core_sets(4), 1, held)
    looks = iter(range(100))

    def sleep(seconds):
        if next(looks) == 2:
            held.close()

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(devices, "_pin", lambda cores: None)
    with place(CPU, False, 1, 4, said.append):
        pass
    assert len(said) == 1
    assert "jobs_per_device=1" in said[0]


def test_processes_at_once_never_share_a_place(tmp_path):
    def work():
        for _ in range(10):
            with ExitStack() as held:
                while not (mine := take(named("a", "b", "c"), 1, held)):
                    time.sleep(0.002)
                (tmp_path / mine.units[0]).touch(exist_ok=False)
                time.sleep(0.002)
                (tmp_path / mine.units[0]).unlink()

    processes = [FORK.Process(target=work) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8


@pytest.mark.parametrize(
    ("device", "gpus", "limit", "threads", "expected"),
    [
        ("auto", 4, 0, 1, 4),
        ("auto", 4, 2, 1, 8),
        ("cuda", 4, 1, 1, 4),
        ("cuda:2", 4, 2, 1, 2),
        ("auto", 0, 0, 1, 4),
        ("cpu", 4, 0, 2, 2),
        ("cpu", 4, 3, 2, 6),
        ("cpu", 0, 0, 9, 1),
    ],
)
def test_a_machine_takes_as_many_jobs_as_it_has_places(monkeypatch, four_cores, device, gpus, limit, threads, expected):
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    assert parallel_jobs(device, limit, threads) == expected


def test_a_cluster_is_asked_for_a_gpu_unless_the_job_wants_none():
    assert [gpus_asked(device) for device in ("auto", "cuda", "cuda:0", "cpu")] == [1, 1, 1, None]


def test_place_files_that_cannot_be_written_stop_only_jobs_that_must_wait(monkeypatch, tmp_path, three_gpus):
    (tmp_path / "file").touch()
    monkeypatch.setattr(devices, "FOLDER", tmp_path / "file")
    with place(CUDA, True, 0, 1, print) as device:
        assert device.index == 0
    with pytest.raises(devices.UserError, match="jobs_per_device=1 is not possible"), place(CUDA, True, 1, 1, print):
        pass


def test_a_folder_that_others_can_lead_astray_is_not_used(folder, tmp_path, monkeypatch):
    def refused():
        with pytest.raises(OSError, match="no folder that only you can write"):
            take(named("a"), 1, ExitStack())
        with pytest.raises(devices.UserError, match=r"=1 is not possible: .*TMPDIR"), place(CPU, False, 1, 1, print):
            pass

    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    refused()
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o777)
    refused()
    folder.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)  # another user's
    refused()
    assert list(folder.iterdir()) == list((tmp_path / "elsewhere").iterdir()) == []


def test_where_jobs_cannot_share_out_devices_it_is_said_and_they_run(folder, three_gpus, tmp_path):
    folder.symlink_to(tmp_path)
    said = []
    with place(CUDA, True, 0, 1, said.append) as device:
        assert device.index == 0
    assert "cannot share out the devices" in said[0]
