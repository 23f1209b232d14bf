"""`fxcost completion SHELL`: the script by which a shell completes our commands, options, models and names."""

from __future__ import annotations

import os
import re

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from .commands import VARIABLE
from .complete import complete_value
from .group import fxcost
from .output import GOOD, emit


class OurCompletion(ShellComplete):
    """What all shells share: options whose values we know, wherever they are defined."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The values of an option by its name, or what click knows."""
        found = super().get_completions(args, incomplete)
        return found or complete_value(args, incomplete)


class Bash(OurCompletion, BashComplete):
    """Bash splits words at colons, as in timm:resnet50; this script puts them together again."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' item
    COMPREPLY=()
    for item in $(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
            %(complete_var)s=bash_complete "$1" 2>/dev/null); do
        COMPREPLY+=("$item")
    done
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/,] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """All words of the line before the cursor, and the one that it stands in."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        breaks = re.escape("".join(c for c in os.environ.get("COMP_WORDBREAKS", "") if c in ":="))
        kept = re.match(rf".*[{breaks}]", incomplete) if breaks else None
        self.cut = len(kept[0]) if kept is not None else 0
        self.option = incomplete.partition("=")[0] if incomplete.startswith("--") and "=" in incomplete else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """What stands after the last break of the word: that is what Bash replaces."""
        whole = f"{self.option}={item.value}" if self.option else str(item.value)
        return whole[self.cut :]


class Zsh(OurCompletion, ZshComplete):
    """As click does it."""


class Fish(OurCompletion, FishComplete):
    """As click does it; values may have commas."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


@fxcost.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(*, shell: str) -> int:
    """Print the script by which SHELL completes commands, options, models and names.

    \b
      eval "$(fxcost completion bash)"                      in ~/.bashrc
      eval "$(fxcost completion zsh)"                       in ~/.zshrc, after compinit
      fxcost completion fish | source                       in ~/.config/fish/config.fish
    """
    emit(SHELLS[shell](fxcost, {}, "fxcost", VARIABLE).source(), plain=True)
    return GOOD


def answer(instruction: str) -> int:
    """Answer a script that asks what could come next: `instruction` is what the variable says."""
    shell, _, what = instruction.partition("_")
    if shell not in SHELLS:
        return GOOD
    completer = SHELLS[shell](fxcost, {}, "fxcost", VARIABLE)
    emit(completer.source() if what == "source" else completer.complete(), plain=True)
    return GOOD
