"""MLflow's SQLite file is whole or not there: after kills at any point, from several processes, of any version."""

import contextlib
import io
import itertools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing

import pytest

from daso.errors import UserError
from daso.track import mlflow, store
from daso.track.mlflow import connect, experiment_named, init_store

OLDER = "cc1f77228345"  # a revision of MLflow 1.x


@pytest.fixture(scope="module")
def older(tmp_path_factory, empty_store):
    """A store of an older MLflow with one run."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    path = tmp_path_factory.mktemp("older") / "mlflow.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'mine', 'active')")
        columns = "run_uuid, experiment_id, name, user_id, status, lifecycle_stage, source_type, start_time"
        values = f"'{'a' * 32}', 7, 'r', 'u', 'FINISHED', 'active', 'LOCAL', 1"
        database.execute(f"INSERT INTO runs ({columns}) VALUES ({values})")
    return path


def copied(path, tmp_path):
    return shutil.copy(path, tmp_path / "mlflow.db")


def usable(path):
    """Whether a run can be written to the store and read again."""
    client = connect(f"sqlite:///{path}")
    run = client.create_run(experiment_named(client, f"sqlite:///{path}", "daso"))
    return client.get_run(run.info.run_id).info.status == "RUNNING"


def in_a_child(task):
    """The exit code of a forked process that does `task`."""
    child = multiprocessing.get_context("fork").Process(target=task)
    child.start()
    child.join()
    return child.exitcode


def killed_at(statement, task):
    """Do `task` in a child that is killed before its SQL statement number `statement`; False if it has no more."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def child():
        numbers = itertools.count()

        def kill(*args):
            if next(numbers) == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", kill)
        task()

    return in_a_child(child) == -signal.SIGKILL


@pytest.mark.parametrize("statement", [26, 51, 60])
def test_a_kill_while_the_store_is_made_leaves_none_that_is_half_made(tmp_path, empty_store, statement):
    path = tmp_path / "mlflow.db"
    assert killed_at(statement, lambda: init_store(f"sqlite:///{path}"))
    assert not path.exists()
    assert usable(path)
    assert {file.name for file in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlruns"}


def test_a_kill_while_a_store_is_upgraded_leaves_it_as_it_was(tmp_path, older):
    path = copied(older, tmp_path)
    before = path.read_bytes()
    assert killed_at(40, lambda: init_store(f"sqlite:///{path}"))
    assert path.read_bytes() == before
    assert usable(path)


@pytest.mark.parametrize("statement", [3, 60])
def test_a_store_that_was_left_half_made_by_others_is_made_anew(tmp_path, empty_store, statement):
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    path = tmp_path / "mlflow.db"
    assert killed_at(statement, lambda: _initialize_tables(create_engine(f"sqlite:///{path}")))
    assert usable(path)


def test_processes_at_once_upgrade_an_older_store_once_and_keep_it(tmp_path, older, empty_store):
    path = copied(older, tmp_path)
    context = multiprocessing.get_context("fork")

    def child():
        sys.exit(0 if usable(path) else 1)

    children = [context.Process(target=child) for _ in range(4)]
    for one in children:
        one.start()
    for one in children:
        one.join()
    assert [one.exitcode for one in children] == [0] * 4
    assert connect(f"sqlite:///{path}").get_run("a" * 32).info.status == "FINISHED"
    kept = tmp_path / f"mlflow.db.{OLDER}.old"
    assert sorted(file.name for file in tmp_path.glob("*db*")) == ["mlflow.db", kept.name, "mlflow.db.lock"]
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(OLDER,)]
        assert not database.execute("SELECT name FROM sqlite_master WHERE name LIKE '_alembic_tmp%'").fetchall()


def test_an_upgrade_is_told_in_one_sentence(tmp_path, older):
    path, said = copied(older, tmp_path), []
    path.chmod(0o660)
    connect(f"sqlite:///{path}?timeout=60", said.append)
    connect(f"sqlite:///{path}", said.append)
    assert [f"kept as mlflow.db.{OLDER}.old" in sentence for sentence in said] == [True]
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_store_behind_a_link_is_upgraded_where_it_is(tmp_path, older):
    (tmp_path / "far").mkdir()
    far = copied(older, tmp_path / "far")
    (tmp_path / "mlflow.db").symlink_to(far)
    connect(f"sqlite:///{tmp_path}/mlflow.db", lambda sentence: None)
    assert (tmp_path / "mlflow.db").is_symlink()
    assert far.with_name(f"mlflow.db.{OLDER}.old").exists()


def test_an_upgrade_that_fails_leaves_the_runs_and_says_so(tmp_path, older):
    path = copied(older, tmp_path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE _alembic_tmp_latest_metrics (x)")  # as an upgrade by several processes leaves it
        database.execute("CREATE TABLE trace_info (x)")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"cannot be upgraded and is left as it was .* mirror all"):
        init_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2  # and the lock


def test_the_file_of_another_program_is_not_touched(tmp_path, empty_store):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="holds the tables of another program: choose another file"):
        init_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_the_store_of_a_newer_version_is_not_touched(tmp_path, empty_store):
    path = copied(empty_store, tmp_path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'fffffffffff'")
    before = path.read_bytes()
    with pytest.raises(UserError, match="was made by a newer version"):
        init_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b""])
def test_a_new_store_takes_the_place_of_nothing(tmp_path, empty_store, content):
    path = tmp_path / "sub" / "mlflow.db"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    assert usable(path)


def test_a_lock_that_nobody_lets_go_of_is_named(tmp_path, monkeypatch, empty_store):
    from filelock import FileLock

    monkeypatch.setattr(store, "PATIENCE", 0.1)
    with (
        FileLock(tmp_path / "mlflow.db.lock"),
        pytest.raises(UserError, match=r"has held .*mlflow\.db\.lock for 0\.1 s"),
    ):
        init_store(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("form", ["sqlite:///{}?timeout=60", "sqlite+pysqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_each_form_of_the_url_of_a_file_makes_the_same_store(tmp_path, empty_store, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = mlflow.resolve_uri(form.format(tmp_path / "x.db"))
    client = connect(uri)
    experiment = client.get_experiment(experiment_named(client, uri, "daso"))
    assert experiment.artifact_location == (tmp_path / "mlruns" / "daso").as_uri()
    assert {file.name for file in tmp_path.iterdir()} == {"x.db", "x.db.lock"}


def test_mlflow_says_nothing_of_errors_that_are_told_in_a_sentence(tmp_path, empty_store, monkeypatch):
    path = copied(empty_store, tmp_path)
    client = connect(f"sqlite:///{path}")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        path.write_bytes(b"")  # replaced
        with pytest.raises(Exception, match="no such table"):
            client.search_experiments()
    assert said.getvalue() == ""
