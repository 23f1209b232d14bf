"""Our errors for what a model raised while it ran: where, on which shapes, and what to do."""

from __future__ import annotations

from typing import Any

from ..errors import MissingMetaKernelError, ModelRunError
from ..meta.nested import is_nested
from ..meta.user_code import raising_line
from ..records.recording import tensor_specs
from .inputs import Arguments


def run_error(error: Exception, what: str, module: str, values: Any) -> ModelRunError:
    """The error of ours for an exception that the model raised on the way."""
    shapes = ", ".join(str(s) for s in tensor_specs(values)) or "no tensors"
    where = f"{what} in module {module!r}" if module else what
    text = " ".join(str(error).split())
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
    text = " ".join(str(error).split())
    dense = [t for t in arguments.tensors() if not is_nested(t)]
    shapes = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in dense)
    if isinstance(error, NotImplementedError) and "meta" in text.lower():
        return MissingMetaKernelError(
            f"{where}{line}: an operator has no meta kernel, so its result's shape is unknown: {text}. "
            "Register one with torch.library.register_fake"
        )
    return ModelRunError(
        f"{where} raised{line}: {type(error).__name__}: {text} (model inputs: {shapes or 'none'}). Check that the "
        "inputs have the shapes and dtypes that the model takes; fxcost.spec(1, 128, dtype='int64') makes integer ones"
    )
