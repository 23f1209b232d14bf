"""Higher-order operators (torch.cond, while_loop, scan, map, flex_attention, checkpoint …) on meta tensors.

Their bodies are run, so that the operators in them are recorded like all others. What can't be known is assumed, and
said so: the branch of a `cond` whose predicate has no value, the steps of a loop whose condition has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import UnknownValueError
from ..records.recording import Operator

MAX_STEPS = 100_000
"""A while_loop that runs longer on known values is taken to be endless."""


class Runner(Protocol):
    """What a handler needs of the recorder."""

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """The tensor's value if it is known without sampling."""

    def need(self, why: str) -> None:
        """Ask for a real run, where one is possible, as it alone knows the value."""

    def assume(self, text: str) -> None:
        """Say what was taken for granted."""


def cond(run: Runner, pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any) -> Any:
    """`torch.cond`: the branch that a known predicate takes; the true branch if nobody knows."""
    if isinstance(pred, Tensor):
        value = run.value_of(pred)
        if value is None:
            run.need("torch.cond")
            run.assume("torch.cond on an unknown predicate: the true branch was taken")
            return true_fn(*operands)
        pred = bool(value)
    return (true_fn if pred else false_fn)(*operands)


def while_loop(run: Runner, cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried: Any, more: Any) -> Any:
    """`torch.while_loop`: as many steps as known values say; one step if the condition is not known."""
    for _ in range(MAX_STEPS):
        going = cond_fn(*carried, *more)
        if isinstance(going, Tensor):
            value = run.value_of(going)
            if value is None:
                run.need("torch.while_loop")
                run.assume("torch.while_loop on an unknown condition: one step was taken")
                return tuple(body_fn(*carried, *more))
            going = bool(value)
        if not going:
            return tuple(carried)
        carried = tuple(body_fn(*carried, *more))
    raise UnknownValueError(f"torch.while_loop ran {MAX_STEPS:,} steps and did not end; its condition may never fail")


def scan(run: Runner, combine_fn: Callable[..., Any], init: Any, xs: Any, additional_inputs: Any = ()) -> Any:
    """`torch.scan` over dim 0: final carries, then the outputs of all steps stacked."""
    carried, steps = list(init), []
    length = xs[0].shape[0]
    for i in range(length):
        results = list(combine_fn(*carried, *[x[i] for x in xs], *additional_inputs))
        carried = results[: len(init)]
        steps.append(results[len(init) :])
    return (*carried, *[torch.stack(column) for column in zip(*steps, strict=True)])


def associative_scan(run: Runner, combine_fn: Callable[..., Any], xs: Any, additional_inputs: Any = ()) -> Any:
    """`torch.associative_scan` along dim 0, as PyTorch runs it without a compiler: halves of the sequence combined.

    Source: Blelloch 1990, in torch._higher_order_ops.associative_scan; about 2n combinations of single steps.
    """
    from torch._higher_order_ops.associative_scan import generic_associative_scan

    return generic_associative_scan(combine_fn, list(xs), additional_inputs=tuple(additional_inputs))


def map_over(run: Runner, function: Callable[..., Any], xs: Any, additional: Any = (), **_: Any) -> Any:
    """`torch._higher_order_ops.map`: the function on every slice along dim 0, results stacked."""
    results = [function(*[x[i] for x in xs], *additional) for i in range(xs[0].shape[0])]
    if isinstance(results[0], Tensor):
        return torch.stack(results)
    return [torch.stack(column) for column in zip(*results, strict=True)]


def flex_attention(
    run: Runner, query: Tensor, key: Tensor, value: Tensor, score_mod: Any, block_mask: Any = (), *_: Any, **__: Any
) -> tuple[Tensor, ...]:
    """Shapes of flex attention: output (B, Hq, Lq, dv), log-sum-exp and maximum (B, Hq, Lq)."""
    batch, heads, length, _dim = query.shape
    mask_mod = block_mask[-1] if block_mask else None
    if mask_mod is not None and getattr(mask_mod, "__name__", "") != "noop_mask":
        run.assume(
            f"flex_attention: all {length:,} × {key.shape[2]:,} scores are counted; its block mask lets a kernel skip "
            "some of them"
        )
    rows = query.new_empty((batch, heads, length), dtype=torch.float32)
    return query.new_empty((batch, heads, length, value.shape[-1])), rows, torch.empty_like(rows)


def run_on_one_score(score_mod: Callable[..., Any], query: Tensor, *captured: Any) -> None:
    """Call the `score_mod` of flex attention on meta: one score of the query's dtype, and batch, head, row, column."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    indices = [torch.empty((), dtype=torch.int32, device="meta") for _ in range(4)]
    with TransformGetItemToIndex():
        score_mod(query.new_empty(()), *indices, *captured)


def out_dtype(run: Runner, op: Operator, dtype: torch.dtype, *args: Any) -> Tensor:
    """`out_dtype` of an operator, as torchao's int8 layers call it: int8 products summed in int32, else a cast."""
    result: Tensor
    if op is torch.ops.aten.mm.default and dtype == torch.int32 and args[0].dtype == torch.int8:
        result = torch.ops.aten._int_mm.default(*args)
    else:
        result = op(*args).to(dtype)
    return result


def call_body(run: Runner, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Operators that only wrap a function: its body, once."""
    return body(*args, **kwargs)


def _by_name() -> dict[str, Callable[..., Any]]:
    wrappers = ("wrap", "tag_activation_checkpoint", "wrap_activation_checkpoint", "wrap_with_set_grad_enabled")
    known: dict[str, Callable[..., Any]] = {"cond": cond, "while_loop": while_loop, "scan": scan, "map_impl": map_over}
    known["associative_scan"] = associative_scan
    known["out_dtype"] = out_dtype
    return {**known, **dict.fromkeys(wrappers, call_body)}


_HANDLERS = _by_name()


def handler(func: Operator) -> Callable[..., Any] | None:
    """How to run the body of a higher-order operator; None for those that are recorded whole."""
    return _HANDLERS.get(func.name()) if isinstance(func, torch._ops.HigherOrderOperator) else None
