"""Our errors for what a model raised while it ran: where, on which shapes, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..errors import MissingMetaKernelError, ModelRunError, UnknownValueError, said
from ..meta.nested import is_nested
from ..meta.user_code import raising_line
from ..records.recording import tensor_specs
from .inputs import Arguments

ASKED_FOR_VALUE = "Tensor.item() cannot be called on meta tensors"
"""What PyTorch says where a function in C++ asks a tensor for its value (`torch.allclose`)."""
LONGEST = 500
"""Characters of what PyTorch says: of an operator's overloads it lists all."""


def run_error(error: Exception, what: str, module: str, values: Any) -> ModelRunError:
    """The error of ours for an exception that the model raised on the way."""
    shapes = ", ".join(str(s) for s in tensor_specs(values)) or "no tensors"
    where = f"{what} in module {module!r}" if module else what
    text = said(error)
    if isinstance(error, NotImplementedError) and "meta" in text.lower():
        return MissingMetaKernelError(
            f"{where}: an operator has no meta kernel, so its result's shape is unknown (inputs: {shapes}): {text}. "
            "Register one with torch.library.register_fake"
        )
    return ModelRunError(f"{where} failed on inputs {shapes}: {type(error).__name__}: {text}")


def model_raised(error: Exception, module: str | None, arguments: Arguments) -> ModelRunError:
    """The error of ours for what the model raised: in which module, at which line of the user's code."""
    line = raising_line(error)
    where = f"module {module!r}" if module else "the model"
    text = said(error)
    dense = [t for t in arguments.tensors() if not is_nested(t)]
    shapes = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in dense)
    if isinstance(error, NotImplementedError) and "meta" in text.lower():
        return MissingMetaKernelError(
            f"{where}{line}: an operator has no meta kernel, so its result's shape is unknown: {text}. "
            "Register one with torch.library.register_fake"
        )
    if text == ASKED_FOR_VALUE:
        return UnknownValueError(
            f"{where}{line} needs the value of a tensor, which is not known without data. Pass real weights and real "
            "inputs (on the command line: --real), so that a real run can be recorded"
        )
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} …"
    return ModelRunError(
        f"{where} raised{line}: {type(error).__name__}: {text} (model inputs: {shapes or 'none'}). Check that the "
        f"inputs have the shapes and dtypes that the model takes{_hint(text, arguments, dense)}"
    )


def _hint(text: str, arguments: Arguments, dense: Sequence[Tensor]) -> str:
    """What is most often wrong with inputs of this kind."""
    lists = [value for value in arguments.args if isinstance(value, list) and len(value) == 1]
    if lists and isinstance(lists[0][0], Tensor):
        return "; one of them is a list of one tensor: for a tensor alone leave the brackets out"
    if any(t.dim() == 3 and t.is_floating_point() and t.shape[0] <= 4 for t in dense) or BATCHED.search(text):
        return ": shapes have the batch size in front, (1, 3, 224, 224) for one image of (3, 224, 224)"
    return "; fxcost.spec(1, 128, dtype='int64') makes integer ones"


BATCHED = re.compile(r"[Ee]xpected \d?D?.*(?:\dD|batch|unbatched).*(?:got|but)")
"""How PyTorch complains about a dimension that is missing."""
