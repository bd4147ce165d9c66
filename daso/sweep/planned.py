"""What a person sees of a plan: how far each row is, what the rest costs, which command measures what nobody has."""

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from daso.credentials import mask
from daso.errors import UserError
from daso.outputs.naming import method_name, recipe_named
from daso.outputs.rundir import RunState
from daso.schema import Config, require
from daso.settings.identity import plain
from daso.settings.options import program
from daso.sweep.caution import cautions_of
from daso.sweep.cost import cards_here
from daso.sweep.graph import Job, said_of
from daso.sweep.grid import PREFIXES, labels
from daso.sweep.plan import Estimate, Item, Kind, Speed, disk_bytes, estimates, speeds, survey
from daso.sweep.probe import STEPS, probe
from daso.track.console import counted, duration
from daso.track.terminal import print_line, print_table

HOUR = 3600
STATES = (RunState.done, RunState.partial, RunState.running, RunState.failed, RunState.new)
ALWAYS = (RunState.done, RunState.partial, RunState.new)  # columns also where there is none
STAGES = "what others are built on"
SETTINGS = ("dataset", "imbalance", "imb")  # keys, or what they begin with, that make columns of a paper's table


def print_plan(jobs: Sequence[Job], plan: object, at_once: int = 1, doubles: str = "") -> int:
    """Print how far the rows of a sweep are and what the rest costs; the runs one by one where `plan` is `full`.

    Args:
        jobs: what was asked for, and its stages.
        plan: as the knob; `probe` first times some steps of each kind of run here.
        at_once: jobs that run at the same time.
        doubles: a sentence about what was asked for twice.

    Returns:
        The exit code: 0; 1 where a job is not possible; what a probe ends with.

    Raises:
        UserError: runs cannot lie where they would.
    """
    items = survey(jobs)
    for root in dict.fromkeys(Path(item.config.out_root) for item in items):
        there = next(place for place in (root, *root.absolute().parents) if place.exists())
        require(there.is_dir(), "out_root", root, f"{there} is a file; name a folder")
    refused = [job for job in jobs if job.config is None]
    code, probes = probe(items) if plan == "probe" else (0, {})
    known = speeds(items)
    for kind, speed in probes.items():  # what was timed just now is not outvoted by older runs on that device
        known[kind] = [speed, *(older for older in known.get(kind, ()) if older.device != speed.device)]
    guessed = estimates(items, known)
    if plan == "full":
        print_table(_runs(items, refused))
    print_table(_rows(items, known, guessed))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    states = Counter(item.state for item in items)
    facts.add_row("runs", f"{len(items)}: " + ", ".join(f"{states[s]} {s.value}" for s in STATES if states[s]))
    if doubles:
        facts.add_row("", doubles)
    for job in refused:
        facts.add_row("not possible", Text(said_of(job.label, job.reason)))
    facts.add_row("steps", f"{sum(i.left for i in items):,} to train, of {sum(i.steps for i in items):,}")
    facts.add_row("disk", _disk([item for item in items if item.state is RunState.new]))
    for fact in _downloads([item.config for item in items if item.left]):
        facts.add_row("data", Text(fact))
    for fact in _images([item.config for item in items]):
        facts.add_row("data", Text(fact))
    for fact in _stores([item for item in items if item.left]):
        facts.add_row("store", Text(fact))
    for fact in _weights([item.config for item in items if item.left]):
        facts.add_row("weights", Text(fact))
    for fact in _time(items, known, guessed, at_once):
        facts.add_row("time", Text(fact))
    for fact in cautions_of([(item.config, item.overrides * item.asked, item.left > 0) for item in items]):
        facts.add_row("warning", Text(fact))
    print_table(facts)
    if plan != "full" and len(items) > 1:
        print_line(f"Each run by itself: {_again('full')}")
    if plan != "probe" and any(not found for found in known.values()):
        print_line(f"Measured here, {STEPS} steps a kind of run: {_again('probe')}")
    return code or int(bool(refused))


def _again(plan: str) -> str:
    """This command line with another plan, to be copied."""
    words = [word for word in sys.argv[1:] if not word.lstrip("+").startswith("plan=")]
    return shlex.join([*program().split(), *map(mask, words), f"plan={plan}"])


def _runs(items: Sequence[Item], refused: Sequence[Job]) -> Table:
    table = Table("run", "setting", "state", "steps", title="Each run")
    for item in items:
        steps = f"{item.steps:,}" if not item.step else f"{item.step:,} of {item.steps:,}"
        table.add_row(item.config.run_key, Text(item.label), item.state.value, steps)
    for job in refused:
        table.add_row("", Text(job.label), Text("not possible", "red"), "")
    return table


def _rows(
    items: Sequence[Item], known: Mapping[Kind, Sequence[Speed]], guessed: Mapping[Kind, Sequence[Estimate]]
) -> Table:
    """How far each row is; its hours are those on the device that the runs would have here, if anything tells them."""
    device = _device(known, guessed)
    paces = {
        kind: pace.seconds_per_step
        for found in (guessed, known)
        for kind, all_ in found.items()
        for pace in all_
        if pace.device == device
    }
    states = [state for state in STATES if state in ALWAYS or any(item.state is state for item in items)]
    table = Table(title=f"Plan: {counted(len(items), 'run')}")
    table.add_column("row", overflow="fold")
    for name in ("runs", *(state.value for state in states), "steps left", *([f"on {device}"] if device else [])):
        table.add_column(name, justify="right", overflow="fold")
    for name, members in rows_of(items).items():
        counts = Counter(item.state for item in members)
        left = [item for item in members if item.left]
        whole = all(item.kind in paces for item in left)
        hours = _span(sum(item.left * paces[item.kind] for item in left)) if whole and left else ""
        guess = "about " * (hours != "" and not all(_is_timed(item, known, device) for item in left))
        cells = [str(len(members)), *(str(counts[state] or "") for state in states), f"{sum(i.left for i in left):,}"]
        table.add_row(Text(name), *cells, *([guess + hours] if device else []))
    return table


def rows_of(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Runs by row, as a paper's table has them: those that differ in seed, data set and imbalance are of one row,
    unless nothing else differs; what others are built on is a row of its own.
    """
    asked = [item for item in items if item.asked]
    names: list[str] = []
    for beside in (("seed", "plan", *SETTINGS), ("seed", "plan")):
        kept = [[part for part in item.overrides if not _of(part, beside)] for item in asked]
        if len({tuple(overrides) for overrides in kept}) > 1:
            names = labels(kept)
            break
    configs = [plain(item.config) for item in asked]
    names = names or [method_name(config) for config in configs]
    rows: dict[str, list[Item]] = {}
    for item, name, config in zip(asked, names, configs):
        words = [name or "as it is", *(word for word in recipe_named(config) if word not in name.split())]
        rows.setdefault(" ".join(words), []).append(item)
    stages = [item for item in items if not item.asked]
    return rows | ({STAGES: stages} if stages else {})


def _of(override: str, keys: Sequence[str]) -> bool:
    key = override.partition("=")[0].lstrip(PREFIXES)
    return key in keys or key.partition(".")[0] in keys


def _device(known: Mapping[Kind, Sequence[Speed]], guessed: Mapping[Kind, Sequence[Estimate]]) -> str:
    """The device of the hours: a GPU of this machine, else what most kinds of run were timed on, if any was."""
    found = [speed.device for timed in known.values() for speed in timed]
    found += [guess.device for guesses in guessed.values() for guess in guesses]
    here = [card for card in cards_here() if card in found]
    return (here or [name for name, _ in Counter(found).most_common(1)] or [""])[0]


def _is_timed(item: Item, known: Mapping[Kind, Sequence[Speed]], device: str) -> bool:
    return any(speed.device == device for speed in known.get(item.kind, ()))


def _time(
    items: Sequence[Item],
    known: Mapping[Kind, Sequence[Speed]],
    guessed: Mapping[Kind, Sequence[Estimate]],
    at_once: int,
) -> list[str]:
    """The hours that are left, for every device that a speed is known of, or can be estimated for."""
    if not any(item.left for item in items):
        return ["nothing to train"]
    facts = []
    for device in sorted({speed.device for found in known.values() for speed in found}):
        rates = {kind: speed for kind, found in known.items() for speed in found if speed.device == device}
        timed = [item for item in items if item.left and item.kind in rates]
        seconds = sum(item.left * rates[item.kind].seconds_per_step for item in timed)
        facts.append(_hours(device, seconds, len(timed), list(rates.values()), at_once))
    facts += _estimated(items, guessed, at_once)
    for how, among in (("only estimated", True), ("unknown", False)):
        # kinds may differ in what is not named, such as the size of images
        kinds = dict.fromkeys(kind.said for kind, found in known.items() if not found and (kind in guessed) is among)
        if kinds:
            facts.append(f"{how} for {', '.join(kinds)}: no such run was timed here yet")
    return list(dict.fromkeys(facts))


def _estimated(items: Sequence[Item], guessed: Mapping[Kind, Sequence[Estimate]], at_once: int) -> list[str]:
    """The hours on GPUs that nobody timed, by the rule that they follow from: one GPU a line, or all in one."""
    spans: dict[str, list[str]] = {}
    for device in dict.fromkeys(guess.device for found in guessed.values() for guess in found):
        rates = {kind: guess for kind, found in guessed.items() for guess in found if guess.device == device}
        left = [item for item in items if item.left and item.kind in rates]
        seconds = sum(item.left * rates[item.kind].seconds_per_step for item in left)
        at = f" ({_span(seconds / at_once)} with {at_once} at once)" if at_once > 1 else ""
        rules = "; ".join(dict.fromkeys(guess.rule for guess in rates.values()))
        spans.setdefault(f"{counted(len(left), 'run')}, one after another ({rules})", []).append(
            f"{_span(seconds)} on {device}{at}"
        )
    return [
        f"about {', '.join(found)} for {what}: an estimate, good to a factor of two, until a run is timed there"
        for what, found in spans.items()
    ]


def _hours(device: str, seconds: float, runs: int, rates: Sequence[Speed], at_once: int) -> str:
    samples = sum(rate.runs for rate in rates)
    text = f"{_span(seconds)} on {device} for {counted(runs, 'run')}, one after another"
    text += f", {_span(seconds / at_once)} with {at_once} at once" if at_once > 1 else ""
    paces = dict.fromkeys(f"{pace(rate.seconds_per_step for rate in rates):.3g}" for pace in (min, max))
    return f"{text} (by {counted(samples, 'run')} that took {' to '.join(paces)} s a step)"


def _span(seconds: float) -> str:
    return f"{seconds / HOUR:,.1f} h" if seconds >= HOUR else duration(seconds)


def _disk(new: Sequence[Item]) -> str:
    needed = sum(disk_bytes(item.config) for item in new)
    if not new:
        return "no more than is taken already"
    root = Path(new[0].config.out_root).absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    return f"about {_size(needed)} more in {root}, where {_size(shutil.disk_usage(there).free)} are free"


def _downloads(configs: Sequence[Config]) -> list[str]:
    """The published data sets that are not there yet; each may be part of what is there."""
    from daso.data.sources import to_download

    facts: dict[tuple[str, str], str] = {}
    for config in sorted(configs, key=lambda config: not config.reads_unlabeled):  # who reads more says it
        dataset = config.dataset
        try:
            wanted, octets = to_download(dataset, config.reads_unlabeled)
        except UserError as error:
            facts[dataset.name, dataset.root] = str(error)
            continue
        if wanted:
            how = f"the first start downloads it ({_size(octets)}), where there is a network"
            facts.setdefault((dataset.name, dataset.root), f"{wanted} is not in {dataset.root}: {how}")
    return list(facts.values())


def _images(configs: Sequence[Config]) -> list[str]:
    """What runs on the same image files will say of them; nothing of files that are not here yet."""
    from daso.data.images.source import census_ahead, index_of_dataset, sentences

    settings = {(repr(config.dataset), repr(config.imb)): config for config in configs if config.dataset.reader}
    if len(settings) != 1 or not all(config.dataset.reader for config in configs):
        return []
    (config,) = settings.values()
    try:
        unlabeled = any(other.reads_unlabeled for other in configs)
        counted = census_ahead(config.dataset, config.imb, config.seed, unlabeled)
        return sentences(index_of_dataset(config.dataset), counted)
    except UserError:
        return []


def _stores(items: Sequence[Item]) -> list[str]:
    """What the first run on each data set of image files decodes, where it goes, and what finds broken files before."""
    from daso.data.images.needs import needs
    from daso.data.images.source import store_folder

    reading = [item for item in items if item.config.dataset.reader]
    datasets = {repr(item.config.dataset): item.config.dataset for item in reading}
    options = {store_folder(item.config.dataset): item.overrides for item in reading}
    facts = []
    for need in needs(datasets.values()):
        there = next(folder for folder in (need.folder, *need.folder.absolute().parents) if folder.exists())
        free = _size(shutil.disk_usage(there).free)
        words = [mask(word) for word in options[need.folder] if _of(word, ("dataset", "experiment"))]
        build = f"their files have not been opened: {shlex.join(['python', '-m', 'daso.store', 'build', *words])}"
        decoded = f"{counted(need.images, 'image')} to be decoded once, about {_size(need.bytes)} in {need.folder}"
        facts += [f"{decoded}, where {free} are free", need.missing or f"{build} finds broken ones"]
    return facts


def _weights(configs: Sequence[Config]) -> list[str]:
    """The files of published weights that are not there yet."""
    from daso.machine import weights

    told: dict[str, None] = {}
    for model in {repr(config.model): config.model for config in configs if config.model.weights}.values():
        try:
            weights.find(model.weights, model.depth)
        except UserError as error:
            told[str(error)] = None
    return list(told)


def _size(octets: float) -> str:
    return f"{octets / 1e9:,.1f} GB" if octets >= 1e9 else f"{max(octets / 1e6, 1):.0f} MB"
