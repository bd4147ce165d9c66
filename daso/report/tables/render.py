"""A table as Markdown, LaTeX or CSV."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from textwrap import fill

from daso.report.stats import Sample
from daso.report.tables.table import ASIDES, DIFFERENCE, EXTERNAL, OWN, PUBLISHED, USB, Column, Entry, Number, Table

MISSING = "—"
FIELDS = (
    *("table", "dataset", "setting", "method", "configuration", "metric"),
    *("mean", "std", "n", "seeds", "steps", "goal_steps", "marks", "rank", "p", "pairs"),
    *("published_mean", "published_std", "difference", "usb_mean", "usb_std", "source", "remarks"),
    *("protocol", "venue", "rule"),
    *("external", "external_n"),
    "evaluations",
)
TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "γl": r"$\gamma_l$",
    "γu": r"$\gamma_u$",
    "γ": r"$\gamma$",
    "N1": "$N_1$",
    "M1": "$M_1$",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    "–": "--",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "—": "---",
    "−": "$-$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
}
SPECIAL = re.compile("|".join(re.escape(sign) for sign in sorted(TEX, key=len, reverse=True)) + r"|[^\x00-\x7f]")
CAPITALS = ["gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"]
GREEK = [*CAPITALS, *["alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu", "rho", "tau", "chi"]]
PAGE = 45  # rows
LONG = "take some (rows=, n1=, gamma_l=, recipe=), or \\input it outside of any float, where pages break between tables"
HEADS = {OWN: "own", PUBLISHED: "paper", USB: "USB", DIFFERENCE: r"$\Delta$"}


def markdown(table: Table, width: int | None = None) -> str:
    """The table, readable in a terminal as it stands.

    Args:
        table: the table.
        width: columns of the terminal: what is wider continues below. None: nothing is broken.
    """
    parts = [_filled(f"## {table.title}", width)]
    for heading, columns in table.pieces:
        parts += [_filled(f"### {heading}", width)] * bool(heading and heading not in table.title)
        rows = table.rows_of(columns)
        filled = [[table.head(c, not heading), *(_markdown_cell(table, row, c) for row in rows)] for c in columns]
        label, *facts = _leading(table, rows)
        parts += map(_grid, map(_told, _fitting(label, [*facts, *filled], width)))
    shown = table.shown(table.columns)
    if len(shown) > 1:
        parts.append(_filled(f"Cells: {' / '.join(shown).replace(DIFFERENCE, 'own minus published')}.", width))
    lists = (("Warnings", table.warnings), ("Notes", table.notes))
    parts += [f"{name}\n" + "\n".join(_filled(f"- {text}", width) for text in texts) for name, texts in lists if texts]
    footnotes = [_filled(f"[{number}] {text}", width) for number, text in enumerate(table.footnotes, 1)]
    parts += ["\n".join(footnotes)] * bool(footnotes)
    return "\n\n".join(parts) + "\n"


def latex(*tables: Table) -> str:
    """Tables for a paper, at most as wide as its text; needs booktabs and graphicx."""
    rows = sum(len(table.rows_of(columns)) for table in tables for _, columns in table.pieces)
    advice = ["% wider than a column of the paper? \\begin{table*} \\input{...} \\end{table*}"]
    advice += [f"% {rows} rows, longer than a page: {LONG}"] * (rows > PAGE)
    return "\n".join(_latex(table, () if i else advice) for i, table in enumerate(tables))


def _latex(table: Table, advice: Sequence[str]) -> str:
    out = [f"% {table.title}; needs \\usepackage{{booktabs,graphicx}}", *advice]
    out += [f"% {note}" for note in table.notes if note.startswith(ASIDES)]
    for heading, columns in table.pieces:
        shown = table.shown(columns)
        names = [HEADS[name] for name in shown]
        width = len(shown)
        out.append(r"\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
        facts = table.fact_names
        out.append(f"\\begin{{tabular}}{{l{'l' * len(facts)}{'c' * (width * len(columns))}}}\n\\toprule")
        heads = [f"\\multicolumn{{{width}}}{{c}}{{{_tex(table.head(c, not heading))}}}" for c in columns]
        out.append(" & ".join([_tex(heading or "method"), *facts, *heads]) + r" \\")
        if width > 1:
            out.append(" & ".join(["", *[""] * len(facts), *names * len(columns)]) + r" \\")
        out.append(r"\midrule")
        for row in table.rows_of(columns):
            cells = [part for c in columns for part in _latex_cell(table, row, c, shown)]
            lead = [table.label(row), *table.facts.get(row, ())]
            out.append(" & ".join([*map(_tex, lead), *cells]) + r" \\")
        out.append("\\bottomrule\n\\end{tabular}}\n\n\\medskip")
    told = [note for note in table.notes if not note.startswith(ASIDES)]
    texts = [*(f"Warning: {text}" for text in table.warnings), *told]
    lines = [_tex(text) for text in texts]
    lines += [f"{_raised(str(number))} {_tex(text)}" for number, text in enumerate(table.footnotes, 1)]
    if lines:
        out.append("{\\footnotesize\\noindent\n" + "\\newline\n".join(lines) + "\\par}")
    return "\n".join(out) + "\n"


def as_csv(*tables: Table) -> str:
    """One line a cell, with everything that is known about it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for table in tables:
        for (row, column), entry in sorted(table.entries.items(), key=lambda item: _place(table, *item[0])):
            writer.writerow([table.title, column.group, column.label, table.label(row), *_fields(table, entry)])
    return stream.getvalue()


def own_text(sample: Sample, decimals: int) -> str:
    """An own number, e.g. `76.1 ± 0.42`."""
    return number_text(Number(sample.mean, sample.std), decimals)


def number_text(number: Number | None, decimals: int) -> str:
    """A mean and its deviation; a dash for none."""
    if number is None:
        return MISSING
    if number.printed:
        return number.printed
    return f"{number.mean:.{decimals}f}" + (f" ± {number.std:.2f}" if number.std is not None else "")


def difference_text(entry: Entry, decimals: int) -> str:
    """Own minus published, with its sign; a dash where there is none."""
    if entry.difference is None:
        return MISSING
    return f"{round(entry.difference, decimals) + 0.0:+.{decimals}f}"  # never -0.0


def count_text(table: Table, entry: Entry) -> str:
    """Number of seeds, steps where they are not those asked for, evaluations where they are fewer than the rule's, p
    against the baseline and of how many pairs if of fewer: `(3, p=0.012 of 2 pairs)`."""
    sample = entry.sample
    if sample is None:
        return ""
    facts = [str(sample.n)]
    facts += [f"{sample.steps} of {sample.goal} steps"] * (sample.steps != sample.goal)
    facts += [entry.short] * bool(entry.short and table.names_evaluations)
    if entry.p is not None:
        of = f" of {entry.pairs} pairs" * (entry.pairs != sample.n)
        facts.append(("p<0.001" if entry.p < 0.001 else f"p={entry.p:.3f}") + of)
    return f"({', '.join(facts)}){entry.marks(table.options.min_seeds)}"


def external_text(entry: Entry, decimals: int) -> str:
    """The result of other code, with its number of seeds and the sign that it is one."""
    seeds = f" ({entry.external_n})" if entry.external_n else ""
    return f"{number_text(entry.external, decimals)}{seeds}{EXTERNAL}"


def _markdown_cell(table: Table, row: str, column: Column) -> str:
    entry = table.entries.get((row, column))
    if entry is None:
        return ""
    own = MISSING
    if entry.sample is not None:
        value = own_text(entry.sample, table.decimals)
        value = {1: f"**{value}**", 2: f"<u>{value}</u>"}.get(entry.rank, value)
        own = f"{value} {count_text(table, entry)}"
    notes = "".join(f" [{number}]" for number in entry.footnotes)
    shown = table.shown([column])
    if entry.external is not None:
        return external_text(entry, table.decimals) + notes
    if entry.published is None and PUBLISHED in shown and OWN in shown:
        return own
    texts = {
        OWN: own,
        PUBLISHED: number_text(entry.published, table.decimals) + notes,
        USB: number_text(entry.usb, table.decimals),
        DIFFERENCE: difference_text(entry, table.decimals),
    }
    return " / ".join(texts[name] for name in shown)


def _latex_cell(table: Table, row: str, column: Column, shown: Sequence[str]) -> list[str]:
    entry = table.entries.get((row, column))
    if entry is None:
        return [""] * len(shown)
    own = _tex(MISSING)
    if entry.sample is not None:
        value = _tex(own_text(entry.sample, table.decimals))
        value = {1: f"\\textbf{{{value}}}", 2: f"\\underline{{{value}}}"}.get(entry.rank, value)
        marks = entry.marks(table.options.min_seeds)
        own = f"{value} {_tex(count_text(table, entry).removesuffix(marks))}{_raised(marks)}"
    notes = ",".join(map(str, entry.footnotes))
    cells = {
        OWN: own,
        PUBLISHED: _tex(number_text(entry.published, table.decimals)) + _raised(notes),
        USB: _tex(number_text(entry.usb, table.decimals)),
        DIFFERENCE: _tex(difference_text(entry, table.decimals).replace("-", "−")),
    }
    if entry.external is not None:
        cells[external_place(shown)] = _tex(external_text(entry, table.decimals).removesuffix(EXTERNAL)) + _raised(
            f"{EXTERNAL}{notes}"
        )
    return [cells[name] for name in shown]


def external_place(shown: Sequence[str]) -> str:
    """Where the result of other code stands: among the published numbers, or among the only ones that there are."""
    return PUBLISHED if PUBLISHED in shown else OWN


def _fields(table: Table, entry: Entry) -> list[object]:
    sample, published = entry.sample, entry.published
    own: list[object] = [""] * 7
    remarks = [table.footnotes[number - 1] for number in entry.footnotes]
    if sample is not None:
        std = "" if sample.std is None else round(sample.std, 4)
        seeds = " ".join(map(str, sample.values))
        own = [round(sample.mean, 4), std, sample.n, seeds, sample.steps, sample.goal]
        own.append(entry.marks(table.options.min_seeds))
        remarks += sample.remarks
    return [
        entry.configuration,
        entry.metric,
        *own,
        entry.rank or "",
        *(["", ""] if entry.p is None else [round(entry.p, 6), entry.pairs]),
        *_pair(published or entry.external),
        "" if entry.difference is None else round(entry.difference, 4),
        *_pair(entry.usb),
        entry.source,
        "; ".join(remarks),
        *(entry.protocol, entry.venue, entry.rule if published else ""),
        *("" if entry.external is None else "true", entry.external_n or ""),
        "" if sample is None else sample.evaluations,
    ]


def _place(table: Table, row: str, column: Column) -> tuple[int, int]:
    return table.rows.index(row), table.columns.index(column)


def _pair(number: Number | None) -> list[object]:
    return ["", ""] if number is None else [number.mean, "" if number.std is None else number.std]


def _leading(table: Table, rows: Sequence[str]) -> list[Sequence[str]]:
    """The columns in front of the numbers: the method, and what a table says about each of some rows."""
    lead: list[Sequence[str]] = [["method", *map(table.label, rows)]]
    for i, name in enumerate(table.fact_names):
        lead.append([name, *(table.facts[row][i] for row in rows)])
    return lead


def _fitting(
    label: Sequence[str], columns: Sequence[Sequence[str]], width: int | None
) -> Iterator[list[Sequence[str]]]:
    """The columns, behind the rows' names, in as many portions as the width makes necessary."""
    portion = [label]
    for column in columns:
        if width is not None and len(portion) > 1 and _width([*portion, column]) > width:
            yield portion
            portion = [label]
        portion.append(column)
    yield portion


def _told(columns: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """A portion without the rows in which nothing stands, which another portion has; all of them where all are so."""
    rows = [row for row in zip(*columns, strict=True) if any(cell not in ("", MISSING) for cell in row[1:])]
    return [*zip(*(rows if len(rows) > 1 else zip(*columns, strict=True)), strict=True)]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 3 for column in columns) + 1


def _filled(text: str, width: int | None) -> str:
    indent = " " * (text.index(" ") + 1)
    return text if width is None else fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _grid(columns: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _raised(text: str) -> str:
    return f"\\textsuperscript{{{_tex(text)}}}" if text else ""


def _tex(text: str) -> str:
    return SPECIAL.sub(lambda sign: TEX.get(sign[0]) or _foreign_sign(sign[0]), text)


def _foreign_sign(sign: str) -> str:
    """A sign that is not ASCII: Latin letters, which LaTeX reads, as they are, Greek ones by name, others by number."""
    name = unicodedata.name(sign, "")
    if name.startswith("LATIN") and ord(sign) < 0x180:
        return sign
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name)
    word = greek[2].lower().replace("lamda", "lambda") if greek else ""
    if greek and word in (GREEK if greek[1] == "SMALL" else CAPITALS):
        return f"$\\{word if greek[1] == 'SMALL' else word.capitalize()}$"
    return f"\\texttt{{U+{ord(sign):04X}}}"
