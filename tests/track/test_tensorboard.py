"""TensorBoard's mirror of a journal, read by TensorBoard's own reader."""

from daso.outputs.files import write_json
from daso.track.tensorboard import Board
from tests.track.told import picture, train


def shown(run):
    """What TensorBoard reads: scalars by tag as (step, value), and the other tags."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (run.root / "tensorboard").iterdir()
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    tags = read.Tags()
    return {tag: [(e.step, round(e.value, 4)) for e in read.Scalars(tag)] for tag in tags["scalars"]}, read


def board(run, config):
    return Board(run, config, "command")


def test_tensorboard_reads_what_the_journal_holds(run, config):
    train(run, 0, 60)
    picture(run)
    one = board(run, config)
    one.send()
    one.close("FINISHED", [run.figures])
    scalars, read = shown(run)
    assert scalars["test/top1_median20"] == [(15, 15.0), (30, 30.0), (45, 45.0), (60, 60.0)]
    assert scalars["headline/top1_median20"] == scalars["test/top1_median20"]
    assert scalars["train/loss_cls"] == [(step, round(1 / step, 4)) for step in range(5, 61, 5)]
    assert not any("class/" in tag for tag in scalars)
    (image,) = read.Images("figures/confusion")
    assert (image.width, image.height, image.step) == (7, 5, 60)
    text = read.Tensors("configuration")
    assert b"run_key" in text[0].tensor_proto.string_val[0]


def test_a_folder_is_named_by_what_was_typed_as_well_and_stays_whatever_is_typed_later(run, config):
    for typed in ("lr=0.1 steps=60", "steps=60"):
        write_json(run.card, run.about() | {"typed": typed})
        folder = board(run, config).folder
        folder.mkdir(parents=True, exist_ok=True)
        assert folder.name.endswith(f"_s1_lr=0.1_steps=60_{run.key}")


def test_values_per_class_are_metrics_where_they_are_asked_for(run, config):
    train(run, 0, 60)
    one = board(run, config | {"track": config["track"] | {"per_class": True}})
    one.send()
    one.close("FINISHED")
    assert shown(run)[0]["test/class/1"] == [(60, 2.0)]


def test_rows_computed_again_after_a_kill_are_neither_doubled_nor_stale(run, config):
    train(run, 0, 45)
    board(run, config).send()  # killed here
    train(run, 15, 60, shift=0.5)
    one = board(run, config)
    one.send()
    one.close("FINISHED")
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0), (30, 30.5), (45, 45.5), (60, 60.5)]


def test_a_row_arrives_while_the_run_goes_on_and_an_outage_is_made_good(run, config):
    train(run, 0, 15)
    one = board(run, config)
    one.send()
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0)]
    one.reopen()
    train(run, 15, 30)
    one.send()
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0), (30, 30.0)]


def test_no_password_reaches_an_event_file(run, config):
    one = board(run, config | {"track": {"uri": "http://ann:s3cret@host", "name": "tensorboard"}})
    one.send()
    (file,) = (run.root / "tensorboard").glob("*/events*")
    assert b"***@host" in file.read_bytes()
    assert b"s3cret" not in file.read_bytes()
