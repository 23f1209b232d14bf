"""Models drawn at random, as Python text: what users write, in the order in which they wouldn't.

A :class:`Program` is a class whose forward is a list of statements. Each statement is drawn from a template and tried
on real tensors while the program is drawn, so that most programs run; a branch that a real run does not take leaves a
mark that a wrong turn can't hide. Programs are text, so that one that shows a fault can be read, and cut down.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .templates import SHAPES, TEMPLATES, condition, region, wrapper

LARGEST = 3000
"""Elements of a tensor: larger ones are not worth the time."""
MARK = "torch.full((991,), 0.5).exp_().sqrt_().sum()"
"""What the branch does that a real run does not take."""


class Chooser(Protocol):
    """Where decisions come from: Hypothesis, or a random generator."""

    def choice(self, options: Sequence[Any]) -> Any:
        """One of these."""

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""


@dataclass(frozen=True)
class Statement:
    """Lines of a forward; what `block` holds stands indented under the first, what `others` holds under an else."""

    line: str
    block: tuple[Statement, ...] = ()
    otherwise: str = ""
    setup: tuple[str, ...] = ()

    def lines(self, indent: str) -> list[str]:
        """As Python text."""
        found = [indent + line for line in self.line.splitlines()]
        for inner in self.block:
            found += inner.lines(indent + "    ")
        if self.otherwise:
            found += [f"{indent}else:", f"{indent}    {self.otherwise}"]
        return found

    def all_setup(self) -> list[str]:
        """What it needs in the constructor."""
        return [*self.setup, *(line for inner in self.block for line in inner.all_setup())]


@dataclass(frozen=True)
class Program:
    """A model as text, with inputs; `after` are statements on the finished model."""

    inputs: tuple[str, ...]
    statements: tuple[Statement, ...]
    returned: str
    after: tuple[str, ...] = ()
    decorator: str = ""

    @property
    def source(self) -> str:
        """The whole text; running it defines `model` and `args`."""
        setup = [line for s in self.statements for line in s.all_setup()]
        names = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        body = [line for s in self.statements for line in s.lines("        ")]
        lines = [
            *(PREAMBLE.splitlines()),
            "class Model(nn.Module):",
            "    shared = {}",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in setup),
            *([f"    {self.decorator}"] if self.decorator else []),
            f"    def forward(self, {names}):",
            *body,
            f"        return {self.returned}",
            "torch.manual_seed(0)",
            "model = Model().eval()",
            *self.after,
            f"args = [{', '.join(self.inputs)}]",
        ]
        return "\n".join(lines) + "\n"

    @property
    def exact(self) -> bool:
        """False if it has autocast regions, which fxcost counts as on CUDA."""
        return "autocast(" not in self.source

    def build(self) -> tuple[nn.Module, list[Any]]:
        """A new model and new inputs."""
        scope: dict[str, Any] = {"__name__": "program"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(self.source, "<program>", "exec"), scope)
        return scope["model"], scope["args"]


PREAMBLE = """\
import contextlib, functools, math
import torch, torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
TABLE = {}
@functools.lru_cache
def positions(n): return torch.arange(n, dtype=torch.float32) * 0.1
def twice(f): return lambda *a: f(*a) * 2
"""


@dataclass
class _State:
    """A program in the making: its variables and their values in a real run."""

    chooser: Chooser
    model: nn.Module
    scope: dict[str, Any]
    count: int = 0
    depth: int = 0
    live: list[str] = field(default_factory=list)

    def fresh(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


class _Skip(Exception):  # noqa: N818
    """A template has nothing for these variables."""


class Pick:
    """What a template asks for."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self.setup: list[str] = []
        self.choice = state.chooser.choice
        self.number = state.chooser.number

    def tensor(self, fits: Callable[[Tensor], bool] = lambda _: True) -> str:
        """A variable whose value fits; the newest ones come first."""
        found = [n for n in reversed(self._state.live) if self._is(n) and fits(self.value(n))]
        if not found:
            raise _Skip
        return str(found[min(self.number(0, 3), len(found) - 1)])

    def value(self, name: str) -> Tensor:
        """A variable's value in a real run."""
        return self._state.scope[name]  # type: ignore[no-any-return]

    def new(self, kind: str = "v") -> str:
        """The name of a new variable or attribute."""
        return self._state.fresh(kind)

    def module(self, made: str) -> str:
        """A layer that the constructor makes."""
        name = self._state.fresh("m")
        self.setup.append(f"self.{name} = {made}")
        return f"self.{name}"

    def dim(self, x: str) -> int:
        """A dimension of a variable."""
        dims = self.value(x).dim()
        if not dims:
            raise _Skip
        return self.number(0, dims - 1) - (dims if self.number(0, 1) else 0)

    def _is(self, name: str) -> bool:
        return isinstance(self._state.scope.get(name), Tensor)


def draw(chooser: Chooser, length: int = 8) -> Program:
    """A program of about so many statements."""
    inputs, first = [], chooser.choice(SHAPES)
    for i in range(chooser.number(1, 2)):
        shape = first if i == 0 or chooser.number(0, 1) else chooser.choice(SHAPES)
        made = f"torch.randn{shape}"
        if len(shape) == 4 and chooser.number(0, 2) == 0:
            made += ".contiguous(memory_format=torch.channels_last)"
        elif chooser.number(0, 5) == 0:
            made += chooser.choice([".transpose(-1, -2)", "[..., 1:]", ".double()", ".bfloat16()", "[:0]"])
        inputs.append(made)
    scope: dict[str, Any] = {}
    exec(PREAMBLE, scope)
    torch.manual_seed(0)
    model = nn.Module()
    model.shared = {}  # type: ignore[assignment]
    scope["self"] = model.eval()
    state = _State(chooser, model, scope)
    for i, made in enumerate(inputs):
        exec(f"x{i} = {made}", scope)
        state.live.append(f"x{i}")
    with torch.no_grad():
        statements = _block(state, chooser.number(2, length))
    returned = _returned(state)
    after = _after(state, statements)
    decorator = chooser.choice(["", "", "", "", "", "", "@torch.no_grad()", "@torch.autocast('cpu', torch.bfloat16)"])
    return Program(tuple(inputs), tuple(statements), returned, tuple(after), decorator)


def _returned(state: _State) -> str:
    last = [name for name in state.live if isinstance(state.scope.get(name), Tensor)][-3:]
    kind = state.chooser.number(0, 4)
    if kind == 0 and len(last) > 1:
        return f"({', '.join(last)})"
    return f"{{'out': {last[-1]}}}" if kind == 1 else last[-1]


def _after(state: _State, statements: Sequence[Statement]) -> list[str]:
    """What is done to the finished model: modes, formats, hooks, frozen parameters, tied weights."""
    modules = [line.partition(" ")[0] for s in statements for line in s.all_setup() if line.startswith("self.m")]
    found = []
    for _ in range(state.chooser.number(0, 2)):
        kind = state.chooser.choice(["train", "last", "hook", "pre", "frozen", "root", "wrap", "double", "partial"])
        of = state.chooser.choice(modules).replace("self", "model") if modules else "model"
        found.append(
            {
                "train": "model.train()",
                "last": "model.to(memory_format=torch.channels_last)",
                "hook": f"{of}.register_forward_hook(lambda m, a, out: out * 2 if torch.is_tensor(out) else out)",
                "pre": f"{of}.register_forward_pre_hook(lambda m, a: (a[0] + 1, *a[1:]))",
                "frozen": f"{of}.requires_grad_(False)",
                "root": "model.register_forward_hook(lambda m, a, out: a[0].sum() if torch.is_tensor(out) else out)",
                "wrap": "model.forward = (lambda f: lambda *a: f(*[t * 1.5 for t in a]))(model.forward)",
                "double": "model.double()",
                "partial": "model.forward = functools.partial(model.forward)",
            }[kind]
        )
    return found


def _block(state: _State, count: int) -> list[Statement]:
    found: list[Statement] = []
    for _ in range(3 * count):
        if len(found) >= count:
            break
        statement = _nested(state) if state.depth < 2 and state.chooser.number(0, 4) == 0 else _plain(state)
        if statement is not None:
            found.append(statement)
    return found


def _plain(state: _State) -> Statement | None:
    """A statement from a template, if it runs."""
    pick = Pick(state)
    try:
        target, code = state.chooser.choice(TEMPLATES)(pick)
    except _Skip:
        return None
    line = f"{target} = {code}" if target else code
    statement = Statement(line, setup=tuple(pick.setup))
    return statement if _runs(state, statement, target) else None


def _runs(state: _State, statement: Statement, target: str) -> bool:
    before = dict(state.scope)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for line in statement.setup:
                exec(line, state.scope)
            state.model.eval()
            exec("\n".join(statement.lines("")), state.scope)
    except Exception:
        state.scope.clear()
        state.scope.update(before)
        return False
    value = state.scope.get(target) if target else None
    if isinstance(value, Tensor) and value.numel() > LARGEST:
        state.scope.clear()
        state.scope.update(before)
        return False
    if target and target not in state.live:
        state.live.append(target)
    elif target:
        state.live.remove(target)
        state.live.append(target)
    return True


def _nested(state: _State) -> Statement | None:
    """A region, a branch that is taken, a loop, or a function that is transformed."""
    pick, kind = Pick(state), state.chooser.choice(["region", "branch", "branch", "wrapper", "loop"])
    try:
        if kind == "wrapper":
            target, code = wrapper(pick)
            statement = Statement(code, setup=tuple(pick.setup))
            return statement if _runs(state, statement, target) else None
        if kind == "loop":
            x = pick.tensor(lambda t: bool(t.dim()) and 0 < t.shape[0] <= 4)
            line = state.chooser.choice([f"for i in range({x}.shape[0]):", f"for _ in {x}.unbind(0):"])
            body = _loop_body(state, pick, x)
            statement = Statement(line, (body,), setup=tuple(pick.setup))
            return statement if _runs(state, statement, "") else None
        line = region(pick) if kind == "region" else condition(pick)
    except _Skip:
        return None
    if kind == "branch":
        try:
            taken = bool(eval(line, dict(state.scope)))
        except Exception:
            return None
        line = f"if {line}:" if taken else f"if not ({line}):"
    depth = state.depth
    state.depth += 1
    context = contextmanager_of(line, state.scope) if kind == "region" else None
    block = _within(context, functools.partial(_block, state, state.chooser.number(1, 3)))
    state.depth = depth
    if not block:
        return None
    return Statement(line, tuple(block), MARK if kind == "branch" else "", tuple(pick.setup))


def _loop_body(state: _State, pick: Pick, x: str) -> Statement:
    """Something that keeps the shape of what it is done to."""
    code = state.chooser.choice(
        [f"{x} = {x} * 1.5", f"{x} = F.gelu({x})", f"{x} = {x} + {x}[:1]", f"{x} = {x}.roll(1, 0)"]
    )
    return Statement(code)


def contextmanager_of(line: str, scope: dict[str, Any]) -> Any:
    """The context manager of a `with` statement."""
    return eval(line.removeprefix("with ").removesuffix(":"), scope)


def _within(context: Any, run: Callable[[], Any]) -> Any:
    if context is None:
        return run()
    with context:
        return run()


def smaller(program: Program, fails: Callable[[Program], bool]) -> Program:
    """The program without whatever it fails without: statements, blocks around others, what is done to the model."""
    changed = True
    while changed:
        changed = False
        for candidate in _cut(program):
            if fails(candidate):
                program, changed = candidate, True
                break
    return program


def _cut(program: Program) -> list[Program]:
    found = [replace(program, statements=cut) for cut in _cut_statements(program.statements)]
    found += [replace(program, after=without) for without in _without_one(program.after)]
    if program.decorator:
        found.append(replace(program, decorator=""))
    return found


def _cut_statements(statements: tuple[Statement, ...]) -> list[tuple[Statement, ...]]:
    found = list(_without_one(statements))
    for i, statement in enumerate(statements):
        if not statement.block:
            continue
        before, after = statements[:i], statements[i + 1 :]
        kept = tuple(
            replace(s, setup=(*statement.setup, *s.setup) if j == 0 else s.setup) for j, s in enumerate(statement.block)
        )
        found.append((*before, *kept, *after))
        cuts = filter(None, _cut_statements(statement.block))
        found += [(*before, replace(statement, block=cut), *after) for cut in cuts]
    return found


def _without_one(items: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [(*items[:i], *items[i + 1 :]) for i in range(len(items))]
