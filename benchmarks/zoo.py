"""Sweep over model libraries: what does fxcost make of every model that they have?

    python benchmarks/zoo.py torchvision timm hf --out zoo.jsonl --csv zoo.csv --processes 2

One line of JSON per model goes to `--out` as soon as the model is done; run the same command again and it goes on
where it stopped (`--retry` also repeats models that failed). Processes, file and bar are those of `fxcost.sweep`, so a
model that hangs or is killed for its memory costs only itself. `--agree captures` compares symbolic with concrete
capture instead, `--agree reality` an analysis with a run on the CPU, operator by operator, of models that are small
enough (`--macs`); transformers are made small. `--summary` prints the counts and every failure as Markdown tables:
those of docs/coverage.md.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fxcost.sweeps.as_sweep import to_csv
from fxcost.sweeps.journal import appending, read
from fxcost.sweeps.pool import outcomes
from fxcost.sweeps.run import own_pool, progress_bar

REAL_LIMIT = 2**32
"""Bytes of weights up to which a model is run where only data can tell: those of sam3_video are 3.4 GB."""
COST_FIELDS = ("macs", "flops", "params", "bytes_read", "bytes_written", "activations")


@dataclass
class Row:
    """What became of one model. Times in seconds; `peak_mb` is the worker's highest memory use so far in MB."""

    library: str
    model: str
    capture: str = ""
    nodes: int = 0
    build_s: float = 0.0
    time_s: float = 0.0
    macs: int = 0
    flops: int = 0
    params: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    activations: int = 0
    uncosted: dict[str, int] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)
    error: str = ""
    stage: str = ""
    """Where it failed: "build", "inputs" or "analyze"."""
    agree: str = ""
    """With `--agree`: "yes", why not, which capture does not work, or why there was no run."""
    eager: str = ""
    """Where the analysis failed: what plain PyTorch makes of the same call on meta tensors."""
    peak_mb: int = 0

    @property
    def key(self) -> str:
        return f"{self.library}:{self.model}"


# ------------------------------------------------------------------------------------------------------- in the worker


def analyse(task: tuple[str, str], agree: str, limit: int) -> Row:
    """Build one model, `(library, name)`, as the command line does, and analyse it. Never raises."""
    import zoo_sources

    import fxcost

    library, name = task
    row = Row(library, name)
    try:
        row.stage, started = "build", time.perf_counter()
        if agree == "reality":
            row.agree, row.stage = _reality(fxcost, library, name, limit), ""
            return row
        model, inputs = zoo_sources.load(library, name)
        row.stage, row.build_s = "inputs", round(time.perf_counter() - started, 3)
        given = inputs()
        row.stage = "analyze"
        if agree == "captures":
            row.agree = _agreement(fxcost, model, given)
        else:
            try:
                _fill(row, fxcost, model, given)
            except fxcost.UnknownValueError:  # only data can tell: build it with weights, and give it noise
                model, inputs = zoo_sources.load(library, name, real=True)
                _fill(row, fxcost, model, zoo_sources.with_data(inputs()), real_limit=REAL_LIMIT)
            except fxcost.FxcostError:
                row.eager = _eagerly(model, given)
                raise
        row.stage = ""
    except Exception as error:
        row.error = f"{type(error).__name__}: {' '.join(str(error).split())[:900]}"
    row.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def _fill(row: Row, fxcost: Any, model: Any, given: Any, **options: Any) -> None:
    started = time.perf_counter()
    report = fxcost.analyze(model, given.args, dict(given.kwargs), **options)
    row.time_s = round(time.perf_counter() - started, 3)
    row.capture, row.nodes = report.capture, len(report.nodes)
    for name in COST_FIELDS:
        setattr(row, name, getattr(report, name))
    row.uncosted = {str(op): n for op, n in report.uncosted.items()}
    row.assumptions = [text[:300] for text in report.assumptions]


def _eagerly(model: Any, given: Any) -> str:
    """What PyTorch says without fxcost: "runs", or its error."""
    import torch

    from fxcost.model.inputs import make_arguments, parameter_dtype
    from fxcost.model.isolate import MetaCopier

    copier = MetaCopier()
    copy = copier.model(model)
    arguments = make_arguments(given.args, dict(given.kwargs), copier, parameter_dtype(model, None))
    try:
        with torch.no_grad(), torch.device("meta"):
            copy(*arguments.args, **arguments.kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "runs"


def _agreement(fxcost: Any, model: Any, given: Any) -> str:
    found = {}
    for capture in ("symbolic", "concrete"):
        try:
            found[capture] = fxcost.analyze(model, given.args, dict(given.kwargs), capture=capture).cost
        except fxcost.FxcostError as error:
            return f"no {capture}: {type(error).__name__}: {str(error)[:200]}"
    if found["symbolic"] == found["concrete"]:
        return "yes"
    one, other = asdict(found["symbolic"]), asdict(found["concrete"])
    return "no: " + ", ".join(f"{k} {one[k]} ≠ {other[k]}" for k in one if one[k] != other[k])


def _reality(fxcost: Any, library: str, name: str, limit: int) -> str:
    """An analysis beside a run on the CPU, counted by an observer that knows nothing of fxcost's ways."""
    import zoo_sources

    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.differential.comparing import agreement
    from tests.differential.observer import forward

    model, inputs = zoo_sources.small(library, name)
    given = inputs()
    try:
        macs = fxcost.analyze(model, given.args, dict(given.kwargs)).macs
    except fxcost.UnknownValueError:
        macs = 0
    if macs > limit:
        return f"not run: {macs} MACs"
    model, inputs = zoo_sources.small(library, name, real=True)
    given = zoo_sources.with_data(inputs())
    report = fxcost.analyze(model, given.args, dict(given.kwargs), capture="concrete")
    return agreement(report, forward(model, given.args, given.kwargs, copied=False))


# --------------------------------------------------------------------------------------------------------- the results


def _brief(error: str) -> str:
    """An error without the paths of this machine, in one cell of a table."""
    text = re.sub(r"\S*/site-packages/", "", error).replace("|", "/").replace("<", "‹").replace("](", r"]\(")
    return text.partition(" (model inputs")[0][:200]


def summary(rows: Iterable[Row]) -> str:
    """Markdown: counts by library, then every model that failed or has uncosted operators."""
    libraries: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: r.key):
        libraries.setdefault(row.library, []).append(row)
    lines = [
        "| library | models | analysed | symbolic | concrete | real | with uncosted operators | mean time (s) "
        "| largest time (s) |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for library, found in libraries.items():
        good = [r for r in found if not r.error]
        used = Counter(r.capture for r in good)
        times = [r.time_s for r in good] or [0.0]
        lines.append(
            f"| {library} | {len(found)} | {len(good)} | {used['symbolic']} | {used['concrete']} | {used['real']} "
            f"| {sum(bool(r.uncosted) for r in good)} | {sum(times) / len(times):.2f} | {max(times):.1f} |"
        )
    lines += ["", "| model | what was wrong | the same call without fxcost |", "|---|---|---|"]
    for found in libraries.values():
        for row in found:
            if row.error:
                lines.append(f"| `{row.key}` | {row.stage}: {_brief(row.error)} | {_brief(row.eager)} |")
            elif row.uncosted:
                lines.append(f"| `{row.key}` | uncosted: {', '.join(row.uncosted)} | |")
            elif row.agree.startswith("no:"):
                lines.append(f"| `{row.key}` | {row.agree} | |")
    return "\n".join(lines)


def main() -> None:
    import zoo_sources

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("libraries", nargs="*", help=f"of {', '.join(zoo_sources.LIBRARIES)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("zoo.jsonl"), help="JSON lines, appended to")
    parser.add_argument("--csv", type=Path, help="write all rows as CSV in the end")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for a model")
    parser.add_argument("--memory", help="what a process may allocate, e.g. 8GiB")
    parser.add_argument("--every", type=int, default=1, help="only each N-th model of a library")
    parser.add_argument("--match", default="*", help="only models whose name matches this pattern")
    parser.add_argument("--agree", choices=["captures", "reality"], default="", help="compare instead of sweeping")
    parser.add_argument("--macs", type=int, default=2 * 10**9, help="of the largest model that is run")
    parser.add_argument("--retry", action="store_true", help="repeat what failed or has uncosted operators")
    parser.add_argument("--redo", action="store_true", help="repeat everything")
    parser.add_argument("--summary", action="store_true", help="only print the tables")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers are stopped too
    done = {row.key: row for row in read(options.out, Row)}
    if options.summary:
        print(summary(done.values()))
        return
    tasks = []
    for library in options.libraries or zoo_sources.LIBRARIES:
        names = fnmatch.filter(zoo_sources.names(library), options.match)[:: options.every]
        for name in names:
            old = done.get(f"{library}:{name}")
            if options.redo or old is None or (options.retry and (old.error or old.uncosted)):
                tasks.append((library, name))
    if tasks:
        done |= run(tasks, options)
    if options.csv:
        options.csv.write_text(to_csv(sorted(done.values(), key=lambda row: row.key), Row))


def run(tasks: list[tuple[str, str]], options: argparse.Namespace) -> dict[str, Row]:
    """Analyse all, and name what is not as it should be."""
    done = {}
    work = partial(analyse, agree=options.agree, limit=options.macs)
    with (
        own_pool(len(tasks), options.processes, options.timeout, options.memory) as pool,
        appending(options.out) as append,
        progress_bar(len(tasks)) as advance,
    ):
        for task, outcome in outcomes(pool, work, tasks):
            row = outcome if isinstance(outcome, Row) else Row(*task, error=str(outcome), stage="analyze")
            append(row)
            advance(row.key)
            done[row.key] = row
    for row in done.values():
        if row.error or row.uncosted or row.agree.startswith("no:"):
            print(f"{row.key}: {row.stage} {row.error or row.agree or list(row.uncosted)}"[:600])
    return done


if __name__ == "__main__":
    main()
