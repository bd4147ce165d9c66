"""Hydra's compositions, each made once by all processes of the tests together.

A test composes the same options again and again: Hydra itself does so twice a command line. What is read from files that
nobody writes, and merged of the same options, is kept in a folder and taken from there; overrides of values are applied
each time.
"""

import atexit
import hashlib
import os
import pickle
import shutil
import tempfile
import warnings
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from hydra._internal import config_loader_impl as loader
from hydra._internal import defaults_list as lists
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.object_type import ObjectType

from tests.compose import CONF

FOLDER = "DASO_TESTS_COMPOSED"  # the environment's name of where compositions are kept

plainly_loaded = ConfigRepository.load_config
plainly_listed = loader.create_defaults_list
plainly_merged = loader.ConfigLoaderImpl._compose_config_from_defaults_list
plainly_mapped = lists._create_interpolation_map


def load_config(self, config_path):
    """Hydra's, but an option file is parsed once, for as long as nobody writes it."""
    source = self._find_object_source(config_path, ObjectType.CONFIG)
    if source is None or source.scheme() != "file":
        return plainly_loaded(self, config_path)
    path = os.path.abspath(os.path.join(source.path, source._normalize_file_name(config_path)))
    found = os.stat(path)
    edition = found.st_ino, found.st_size, found.st_mtime_ns
    return once(("file", path, source.provider, config_path, edition), partial(plainly_loaded, self, config_path))


def create_interpolation_map(overrides, defaults_list, self_added):
    """Hydra's, but made only where an option's name refers to another choice."""
    if any(default.is_interpolation() for default in defaults_list):
        return plainly_mapped(overrides, defaults_list, self_added)


def create_defaults_list(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    """Hydra's, but made once of the same choices."""
    values = Overrides(repo, overrides_list).config_overrides
    choices = [o for o in overrides_list if not o.is_sweep_override() and not any(o is value for value in values)]
    how = config_name, prepend_hydra, skip_missing, *(choice.input_line for choice in choices)
    make = partial(plainly_listed, repo, config_name, overrides_list, prepend_hydra, skip_missing)
    found = of_the_project(repo, ("list", how), make)
    return DefaultsList(found.defaults, found.defaults_tree, values, found.overrides)


def compose_config_from_defaults_list(self, defaults, repo):
    """Hydra's, but merged once of the same files."""
    how = tuple((d.config_path, d.package, d.parent, d.is_self, d.primary, d.override_key) for d in defaults)
    return of_the_project(repo, ("merged", how), partial(plainly_merged, self, defaults, repo))


def of_the_project(repo, how, make):
    """What `make` gives, made once where it is of the project's own files alone."""
    sources = tuple((source.provider, source.path) for source in repo.get_sources())
    if any(source.scheme() == "file" and source.path != CONF for source in repo.get_sources()):
        return make()
    return once((*how, sources), make)


@cache
def kept(path):
    return path.read_bytes()


def once(how, make):
    """What `make` gives, as it was made before where that was without a warning; to unpickle is quicker than to copy."""
    path = Path(os.environ[FOLDER], hashlib.sha256(repr(how).encode()).hexdigest())
    with suppress(FileNotFoundError):
        return pickle.loads(kept(path))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = make()
    for warning in said:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not said:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            pickle.dump(made, file, pickle.HIGHEST_PROTOCOL)
        os.replace(file.name, path)
    return made


def remove(folder, process):
    """Delete what `process` made, unless this is a fork of it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def patch():
    """Have Hydra compose this way, in this process and those that it starts."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="daso-composed-")
        atexit.register(remove, os.environ[FOLDER], os.getpid())
    ConfigRepository.load_config = load_config
    lists._create_interpolation_map = create_interpolation_map
    loader.create_defaults_list = create_defaults_list
    loader.ConfigLoaderImpl._compose_config_from_defaults_list = compose_config_from_defaults_list
