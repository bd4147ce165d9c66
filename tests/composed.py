"""Hydra's compositions, each made once a process.

A test composes the same options again and again: Hydra itself does so twice a command line. What is read from files that
nobody writes, and merged of the same options, is kept and copied; overrides of values are applied each time.
"""

import copy
import os
import warnings
from functools import cache

from hydra._internal import config_loader_impl as loader
from hydra._internal import defaults_list as lists
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, Overrides

from tests.compose import CONF

LISTS, MERGED = {}, {}  # by what they are made of

plainly_loaded = FileConfigSource.load_config
plainly_listed = loader.create_defaults_list
plainly_merged = loader.ConfigLoaderImpl._compose_config_from_defaults_list
plainly_mapped = lists._create_interpolation_map


@cache
def loaded(folder, provider, config_path, edition):
    return plainly_loaded(FileConfigSource(provider, folder), config_path=config_path)


def load_config(self, config_path):
    """Hydra's, but an option file is parsed once, for as long as nobody writes it."""
    try:
        found = os.stat(os.path.join(self.path, self._normalize_file_name(config_path)))
    except OSError:
        return plainly_loaded(self, config_path=config_path)
    edition = found.st_ino, found.st_size, found.st_mtime_ns
    return copy.deepcopy(loaded(os.path.abspath(self.path), self.provider, config_path, edition))


def create_interpolation_map(overrides, defaults_list, self_added):
    """Hydra's, but made only where an option's name refers to another choice."""
    if any(default.is_interpolation() for default in defaults_list):
        return plainly_mapped(overrides, defaults_list, self_added)


def create_defaults_list(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    """Hydra's, but made once of the same choices."""
    values = Overrides(repo, overrides_list).config_overrides
    choices = [o for o in overrides_list if not o.is_sweep_override() and not any(o is value for value in values)]
    how = config_name, prepend_hydra, skip_missing, *(choice.input_line for choice in choices)
    make = lambda: plainly_listed(repo, config_name, overrides_list, prepend_hydra, skip_missing)  # noqa: E731
    found = once(LISTS, repo, how, make)
    return DefaultsList([*map(copy.copy, found.defaults)], found.defaults_tree, values, copy.deepcopy(found.overrides))


def compose_config_from_defaults_list(self, defaults, repo):
    """Hydra's, but merged once of the same files."""
    how = tuple((d.config_path, d.package, d.parent, d.is_self, d.primary, d.override_key) for d in defaults)
    return copy.deepcopy(once(MERGED, repo, how, lambda: plainly_merged(self, defaults, repo)))


def once(kept, repo, how, make):
    """What `make` gives, from `kept` where it was made before without a warning and of the project's files alone."""
    sources = tuple((source.provider, source.path) for source in repo.get_sources())
    if any(source.scheme() == "file" and source.path != CONF for source in repo.get_sources()):
        return make()
    if (sources, how) in kept:
        return kept[sources, how]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = make()
    for warning in said:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not said:
        kept[sources, how] = made
    return made


def patch():
    """Have Hydra compose this way."""
    FileConfigSource.load_config = load_config
    lists._create_interpolation_map = create_interpolation_map
    loader.create_defaults_list = create_defaults_list
    loader.ConfigLoaderImpl._compose_config_from_defaults_list = compose_config_from_defaults_list
