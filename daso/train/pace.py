"""How fast a run is between two looks, and for how much of that time its steps waited for images from the disk."""

import time

from daso.data.pool import AnyPool

TOO_LONG = 0.2  # share of the time from which a run says that its disk is the limit


class Pace:
    """Measures from one look to the next.

    Args:
        pool: whose images the steps wait for.
        step: finished steps so far.
    """

    def __init__(self, pool: AnyPool, step: int) -> None:
        self._pool, self._told, self._looks = pool, False, 0
        self._begin(step, time.monotonic())

    def look(self, step: int) -> dict[str, float]:
        """Steps a second since the last look; where images are read from the disk, also the share of waiting."""
        now = time.monotonic()
        seconds = max(now - self._began, 1e-9)
        found = {"time/steps_per_second": (step - self._step) / seconds}
        if self._pool.far:
            found["time/wait_share"] = (self._pool.waited - self._waited) / seconds
        self._begin(step, now)
        self._looks += 1
        return found

    def remark(self, found: dict[str, float]) -> str | None:
        """A sentence, once, where steps waited too long; the first look is passed over, for its files are cold."""
        share = found.get("time/wait_share", 0.0)
        if self._told or self._looks < 2 or share < TOO_LONG:
            return None
        self._told = True
        return (
            f"Steps wait for images for {100 * share:.0f} % of the time, so the disk or the network is the limit: a "
            "store on a local disk (dataset.store=FOLDER) or of smaller images (dataset.store_side=256) would help."
        )

    def _begin(self, step: int, now: float) -> None:
        self._step, self._began, self._waited = step, now, self._pool.waited
