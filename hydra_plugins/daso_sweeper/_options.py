"""Hydra's option files, read once for all jobs of a sweep."""

import copy

from hydra._internal.config_repository import ConfigRepository
from hydra.plugins.config_source import ConfigResult


class Options(ConfigRepository):
    """A repository that reads and parses each option file once. Hydra does so for every composition, and changes what
    it loads, so each composition gets copies.

    Args:
        repository: where the files are.
    """

    def __init__(self, repository: ConfigRepository) -> None:
        self.sources = repository.sources
        self._loaded: dict[str, ConfigResult | None] = {}

    def __deepcopy__(self, memo: object) -> "Options":
        return self

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of an option file's content, or None if there is no such file."""
        if config_path not in self._loaded:
            self._loaded[config_path] = super().load_config(config_path)
        return copy.deepcopy(self._loaded[config_path])
