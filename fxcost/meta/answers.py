"""What operators answer on meta tensors, remembered: what an ATen operator makes of given specs never changes.

Half of PyTorch's meta kernels are Python code that takes up to half a millisecond, and deep models ask the same
question over and over. A question is an operator and the metadata of all that it is given; its :class:`Answer` has the
results' metadata and the record that was made of it, so that a second time neither a kernel runs nor a tensor is
described.

Nothing of Python code is remembered: not what a function, a module or a rule does, which may read anything. Operators
of PyTorch, torchvision and fxcost are remembered for the whole process, those of other libraries, whose kernels may be
registered anew, for one analysis. Not here: values (an operator of whose arguments values are followed is not asked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..records.recording import Operator, OpRecord
from .cells import tensors

LIMIT = 20_000
"""Answers that are remembered in all, some 2 kB each; with more, all are forgotten."""

Made = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]
"""Shape, stride and dtype of each result in fresh memory; None where an operator returned none."""
_NAMESPACES = frozenset({"aten", "prims", "torchvision", "fxcost"})
_VALUE_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.inplace_view)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do when an operator is asked the same again: make these results, or run this, and note this record."""

    made: Made | None
    single: bool
    kernel: Callable[..., Any]
    record: OpRecord

    def results(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the operator returns."""
        return self.kernel(*args, **kwargs) if self.made is None else fresh(self.made, self.single)


class Answers:
    """Answers by questions: those of this analysis, and those that hold for the process."""

    def __init__(self) -> None:
        self._here: dict[Any, Answer] = {}

    def get(self, question: Any) -> Answer | None:
        """The answer to a question that was asked before."""
        found = _PROCESS.get(question)
        return self._here.get(question) if found is None and self._here else found

    def put(self, question: Any, answer: Answer) -> None:
        """Remember an answer."""
        if getattr(answer.record.op, "namespace", "") not in _NAMESPACES:
            self._here[question] = answer
            return
        if len(_PROCESS) >= LIMIT:
            _PROCESS.clear()
        _PROCESS[question] = answer  # the record keeps its operator alive, whose id is in the question


_PROCESS: dict[Any, Answer] = {}


@contextmanager
def forgotten() -> Iterator[None]:
    """As in a new process: nothing is remembered at first, and nothing of what is met meanwhile afterwards."""
    before = dict(_PROCESS)
    _PROCESS.clear()
    try:
        yield
    finally:
        _PROCESS.clear()
        _PROCESS.update(before)


@lru_cache(maxsize=4096)
def returns_fresh(op: Any) -> bool:
    """True if an operator writes nothing, aliases nothing and returns only tensors, by its schema."""
    if not isinstance(op, torch._ops.OpOverload) or any(tag in op.tags for tag in _VALUE_TAGS):
        return False
    schema = op._schema
    plain = all(str(r.type) == "Tensor" and r.alias_info is None for r in schema.returns)
    return plain and bool(schema.returns) and not schema.is_mutable


def answers_by_metadata(op: Operator) -> bool:
    """True if what an operator does follows from its arguments' metadata alone, so far as its schema tells."""
    if not isinstance(op, torch._ops.OpOverload) or torch.Tag.inplace_view in op.tags:
        return False
    return bool(op._schema.returns) and all(str(r.type) in ("Tensor", "List[Tensor]") for r in op._schema.returns)


def fresh(made: Made, single: bool) -> Any:
    """New meta tensors as described; without a tuple around it if there is a `single` one."""
    results = [m and torch.empty_strided(m[0], m[1], dtype=m[2], device="meta") for m in made]
    return results[0] if single else tuple(results)


def describe(out: Any, args: Any) -> Made | None:
    """What an operator returned, if all of it is dense and in fresh memory."""
    given = {t.untyped_storage()._cdata for t in tensors(args)}
    made: list[Any] = []
    for tensor in out if isinstance(out, (tuple, list)) else (out,):
        if tensor is None:
            made.append(None)
            continue
        if type(tensor) is not Tensor or tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage()
        dense = storage.nbytes() == tensor.numel() * tensor.element_size()
        if storage._cdata in given or not dense or tensor.storage_offset():
            return None
        made.append((tensor.shape, tensor.stride(), tensor.dtype))
    return tuple(made)
