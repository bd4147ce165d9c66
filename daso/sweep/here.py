"""What this machine lacks that jobs need, found out before any of them is started: data, and devices."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from daso.errors import UserError
from daso.schema import Config
from daso.sweep.supervise import Killed, isolated


def lacking(configs: Iterable[Config], stopping: Callable[[], bool] = lambda: False) -> dict[str, str]:
    """Why runs cannot be made here, by the keys of those that cannot; data that is not there is downloaded.

    Args:
        configs: the runs; those of one data set and device are looked at once.
        stopping: whether to look no further, for whoever asks is told to stop.
    """
    from daso.data.sources import SOURCES

    alike: dict[tuple[str, bool, str], list[Config]] = defaultdict(list)
    for config in configs:
        if config.dataset.name in SOURCES or config.device.startswith("cuda"):
            alike[repr(config.dataset), config.reads_unlabeled, config.device].append(config)
    if not alike:
        return {}
    asked = [members[0] for members in alike.values()]
    try:  # apart: this process forks, and has to leave the GPU alone until then
        told = isolated(lambda: [_lacks(config) for config in asked], stopping)
    except Killed:  # each of the runs says why
        return {}
    return {config.run_key: wrong for members, wrong in zip(alike.values(), told) if wrong for config in members}


def _lacks(config: Config) -> str:
    from daso.data.sources import obtain

    try:
        if config.device.startswith("cuda"):
            from daso.machine.execution import resolve_device

            resolve_device(config.device)
        obtain(config.dataset, config.reads_unlabeled)
    except UserError as error:
        return str(error)
    except Exception:  # the run itself ends in it, and says more
        return ""
    return ""
