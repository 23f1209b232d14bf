"""Names that would break a page if they were taken for markup, script, a template or an attribute."""

from __future__ import annotations

import torch
from torch import nn

SCRIPT = "</title><script>window.pwned=1</script>"
NAMES = (
    SCRIPT,
    '"><img src=x onerror=window.pwned=1>',
    "</style><svg onload=window.pwned=1>",
    "a'b\"c\\d`e",
    "new\nline\r\t\0\u2028",
    "<!--<script>",
    "]]>&lt;&amp;",
    "${window.pwned=1}",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.pwned=1",
    "\u202egnp.exe",
    "\ud800",
)


def name_of_module(text: str) -> str:
    """The text without dots, which a module's name may not hold."""
    return text.replace(".", "·")


class Hostile(nn.Module):
    """A layer for each name, and a class whose own name is one."""

    def __init__(self) -> None:
        super().__init__()
        for text in NAMES:
            self.add_module(name_of_module(text), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def hostile_model() -> nn.Module:
    """The model; its class is called by the first name."""
    return type(SCRIPT, (Hostile,), {})()
