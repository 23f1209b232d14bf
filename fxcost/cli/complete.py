"""What the shell offers when the user presses Tab. It must be quick, so no library is imported: names are read from
source files: those of torchvision, timm and transformers, and our own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import click
from click.shell_completion import CompletionItem

BUILDER = re.compile(r'^@register_model(?:\((?:name="(\w+)")?.*\))?$[\s\S]*?^def (\w+)\(', re.M)
MODEL_TYPE = re.compile(r'^    model_type(?:: str)? = "([\w.-]+)"', re.M)
LISTED = re.compile(r'^ {4,8}\(?"([\w.-]+)"[,:] "\w+Config"', re.M)
"""How transformers' own tables have a model type, some of which no configuration has as its own."""
TASKS = re.compile(r'^        \("[\w.-]+", "(\w+)"\),', re.M)
"""How its tables of tasks have the class of a model."""
LIBRARIES = {
    "torchvision": ("torchvision", "models/**/*.py", BUILDER),
    "timm": ("timm", "models/*.py", BUILDER),
    "hf": ("transformers", "models/*/configuration_*.py", MODEL_TYPE),
}
"""For each prefix its package, the files that define models, and where a model's name stands in them."""
TABLES = {"hf": (("models/auto/*configuration_auto.py", LISTED), ("models/auto/auto_mappings.py", LISTED),
                 ("models/auto/modeling_auto.py", TASKS))}  # fmt: skip
"""Further files with names."""


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models that begin so: prefixes and files first, after a prefix the library's names."""
    prefix, colon, name = incomplete.partition(":")
    if colon and prefix in LIBRARIES:
        return [CompletionItem(f"{prefix}:{found}") for found in sorted(names(prefix)) if found.startswith(name)]
    if colon:
        return [CompletionItem(f"{prefix}:{found}") for found in defined(prefix) if found.startswith(name)]
    prefixes = [CompletionItem(f"{prefix}:") for prefix in LIBRARIES if prefix.startswith(incomplete)]
    return [*prefixes, *(CompletionItem(path) for path in _python_files(incomplete))]


def names(prefix: str) -> set[str]:
    """Names of a library's models; none if it is not installed."""
    package, pattern, definition = LIBRARIES[prefix]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return {
        next(filter(None, match.groups()))
        for where, what in ((pattern, definition), *TABLES.get(prefix, ()))
        for folder in folders
        for path in Path(folder).glob(where)
        for match in what.finditer(path.read_text(encoding="utf-8"))
    }


COLUMN = re.compile(r'^    "(\w+)": Column\(', re.M)
NAMES: dict[str, tuple[str, re.Pattern[str]]] = {
    "--as": (
        "conventions/*.py",
        re.compile(r'(?:onvention\(\s*(?:name=)?|^    (?="[^"]*": \((?:partial\()?_))"([\w.-]+)"', re.M),
    ),
    "--columns": ("views/as_table.py", COLUMN),
    "--sort": ("views/as_table.py", COLUMN),
    "--device": ("speed/device_table.py", re.compile(r'^    _device\(\s*"[^"]*",\s*"([^"]*)"', re.M)),
}
"""For each option the files of fxcost that have its values, and where they stand in them."""
VALUES: dict[str, tuple[str, ...]] = {
    "--optimizer": ("sgd", "momentum", "adam", "adamw", "lion", "adafactor"),
    "--dtype": ("float32", "float16", "bfloat16", "float64", "bf16", "fp16", "fp32", "fp64"),
    "--device": ("here",),
}
"""Further values, which a test compares with what the options take: to ask the library would import torch."""
LISTS = ("--as", "--columns")
"""Options that take several values with commas between them."""


def complete_value(args: list[str], incomplete: str) -> list[CompletionItem]:
    """Values of the option that stands before the word, or in it (`--by=`)."""
    option, equals, started = incomplete.partition("=")
    if not equals:
        option, started = args[-1] if args else "", incomplete
    values = formats() if option == "--format" else values_of(option)
    before, comma, last = started.rpartition(",") if option in LISTS else ("", "", started)
    taken = before.split(",")
    found = [value for value in values if value.startswith(last) and value not in taken]
    return [CompletionItem(f"{before}{comma}{value}") for value in found]


def values_of(option: str) -> list[str]:
    """The values that an option of ours takes; none where they are not known here."""
    pattern, name = NAMES.get(option, ("nothing", COLUMN))
    texts = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parents[1].glob(pattern)))
    return [
        *VALUES.get(option, ()),
        *(word for text in texts for found in name.findall(text) for word in found.split()),
    ]


def formats() -> Sequence[str]:
    """Every format of a table."""
    from tabulate import tabulate_formats

    return [*tabulate_formats, "markdown"]


def defined(path: str) -> list[str]:
    """Classes and functions at the top of a Python file; none if it can't be read."""
    try:
        tree = ast.parse(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return []
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def _python_files(incomplete: str) -> Iterator[str]:
    """Folders, and Python and JSON files, whose path begins so."""
    folder, _, start = incomplete.rpartition("/")
    place = Path(folder or ("/" if incomplete.startswith("/") else "."))
    before = incomplete[: len(incomplete) - len(start)]
    try:
        found = sorted(place.iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(start) and (start or not path.name.startswith(".")):
            if path.is_dir():
                yield f"{before}{path.name}/"
            elif path.suffix in (".py", ".json"):
                yield f"{before}{path.name}"
