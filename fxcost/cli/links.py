"""The option that says how ranks of a sharded model are linked."""

from __future__ import annotations

import re
from typing import Any

import click

from ..communication.links import Link
from ..text.amounts import parse_bytes

OPTION = click.option(
    "--links",
    metavar="DIM=LINK,…",
    help="For --device and --mesh: bounds with what ranks send: tp=nvlink,dp=infiniband; bytes a second, dp=25GB, or "
    "one for all.",
)


def parse_links(text: str) -> Any:
    """A link for all dimensions of a mesh, or one for each: names, or bytes a second in one direction.

    >>> parse_links("tp=nvlink, dp=25GB")["dp"].bytes_per_s
    25000000000

    Raises:
        UsageError: it can't be read.
        DeviceError: there is no such link.
        InputError: a number of bytes can't be read.
    """
    if "=" not in text and "," not in text:
        return _link(text.strip())
    found: dict[str, Link] = {}
    for part in text.split(","):
        name, equals, link = (word.strip() for word in part.partition("="))
        if not equals or not name.isidentifier() or name in found:
            raise click.UsageError(f"--links {text!r}: give DIM=LINK,…, e.g. --links tp=nvlink,dp=infiniband")
        found[name] = _link(link)
    return found


def _link(text: str) -> Link:
    if re.match(r"[\d.]", text):
        return Link(bytes_per_s=parse_bytes(re.sub(r"/s$", "", text)))
    return Link.named(text)
