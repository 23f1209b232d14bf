"""Messages of the library in the language of the command line: `--optimizer`, where Python has `optimizer=`."""

from __future__ import annotations

import re
from collections.abc import Callable

DTYPES = r"(?:, *dtype='?([\w.]+)'?)?"


def _spec(found: re.Match[str]) -> str:
    """`fxcost.spec(1, 128, dtype='int64')` as an option."""
    shape = found[1].replace(" ", "").rstrip(",").replace("'", "").replace('"', "")
    return f"--input {shape}{f':{found[2]}' if found[2] else ''}"


PHRASES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (rf"fxcost\.spec\(((?:[^()=]|\.\.\.)*?){DTYPES}\)", _spec),
        (r"optimizer= and loss= are for training=True", "--optimizer is for --training"),
        (r"(?:analyse|analyze) with training=True", "analyse with --training"),
        (r"training=True", "--training"),
        (r"give device= too, a name such as '(\w+)'", r"give --device too: --device \1"),
        (r"give a limit such as max_macs='4\.2G'", "give a limit such as --max-macs 4.2G"),
        (r"give baseline=report, or the path of its JSON file", "give --baseline PATH"),
        (r"give a limit, such as peak_bytes='24GiB'", "give a limit: --memory 24GiB"),
        (
            r"; Device\(…\) describes another one, Device\.calibrate\(\) measures this machine",
            "; `here` is this machine",
        ),
        (r" Device\(…\) describes another one, Device\.calibrate\(\) measures this machine", " `here` is this machine"),
        (
            r"Cost the model in one of these \(analyze\(…, dtype=…\)\), or name the peak to reckon with "
            r"\(roofline\(…, dtype=…\)\)",
            "Cost the model in one of these (--dtype), or name the peak to reckon with (--peak)",
        ),
        (r"give one of ([\w, ]+), a torch\.optim optimizer, or bytes", r"give one of \1, or bytes"),
        (r", or give a torch\.optim optimizer, or bytes per parameter", ", or bytes per parameter"),
        (r" or give a torch\.optim optimizer, or bytes per parameter", " or bytes per parameter"),
        (r"by_module\(\) lists the modules", "`fxcost MODEL --by module` lists the modules, --by node the nodes"),
        (r"capture=['\"](\w+)['\"]", r"--capture \1"),
        (r"; to_dot\(\) gives the text without it", "; --dot writes the text without it"),
        (r"give \{'B': fxcost\.Dim\(1, 64\)\}", "give --dim B=1..64"),
        (
            r"write names into shapes, such as .*? and give analyze dims=\{'B': fxcost\.Dim\(1, 64\)[^}]*\}",
            "write a name into a shape: --input B,3,224,224 --dim B=1..64",
        ),
        (r"dims= names no dim", "--dim names no dim"),
        (r"(?:^|(?<=: ))k=(\d+): ", r"-k \1: "),
        (r"by='node' cuts anywhere", "--by node cuts anywhere"),
        (r"^dim '(\w+)': ", r"--dim \1: "),
        (r"low must be below high", "LOW must be below HIGH"),
        (r"write (\d+) into the shape instead", r"write \1 into --input instead"),
        (r"(?:^|(?<=: ))verify=(\S+) is no", r"--verify \1 is no"),
        (r"give fxcost\.Dim\(low, high\)", "give --dim NAME=LOW..HIGH"),
        (
            r"fxcost\.generation\(…\)\.bounds\(device\)\.largest_batch says how many requests fit",
            "`fxcost serve MODEL --batch max` says how many requests fit",
        ),
        (
            r"Name the nearest \(profile='\w+'\), fit one on your own measurements \(benchmarks/estimates\.py\), or "
            r"ask for the bound \(roofline\)",
            "Fit one on your own measurements (benchmarks/estimates.py), or ask for the bound (--device)",
        ),
        (r"memory='24GiB'", "--memory 24GiB"),
        (r"device='rtx4090'", "--device rtx4090"),
        (r"weights='([\w:]+)'", r"--weights \1"),
        (r"head='(\w+)'", r"--head \1"),
        (r"\(weights=\), or take more devices", "(--weights), or take more (--devices)"),
        (r"\(peak=…, --peak\)", "(--peak)"),
        (r"hf:CLASS or hf:FOLDER, or a module", "hf:CLASS or hf:FOLDER"),
        (r", or give fxcost\.Link\(bytes_per_s=…\)", ", or bytes a second (25GB)"),
        (
            r"links= are those between ranks: analyse the model with mesh= and parallelize=",
            "--links are those between ranks: analyse the model with --mesh and --parallel",
        ),
        (r"links has none for the dimension '(\w+)': give .* or the like", r"--links has none for \1: give \1=nvlink"),
        (r"links names", "--links names"),
        (
            r"as in fxcost\.analyze\(model, inputs, mesh=\{'dp': 8\}, parallelize=apply\)",
            "as in --mesh dp=8 --parallelize FILE.py:apply",
        ),
        (r"give by='module'", "give --by module"),
        (r"report\.nodes lists them", "--by node lists them"),
        (r"or analyse without strict", "or leave --strict out"),
        (r"\(1, 3, 224, 224\) for one image of \(3, 224, 224\)", "--input 1,3,224,224 for one image of 3,224,224"),
        (r"give loss=, a function", "it needs a loss (in Python: fxcost.analyze(…, loss=…)), a function"),
    )
)
"""What the library says, and what the command line says in its place."""


def in_options(message: str) -> str:
    """A message of the library's with options in place of arguments of Python functions.

    >>> in_options("fxcost.spec(1, 128, dtype='int64') makes integer ones")
    '--input 1,128:int64 makes integer ones'
    """
    for pattern, instead in PHRASES:
        message = pattern.sub(instead, message)
    return message
