"""What a model returns that has not run yet: generators, other iterators, coroutines. Whoever calls the model runs them.

A generator's body runs when it is asked for its items, a coroutine's when it is awaited: when forward has returned,
nothing of it has happened. So it is run here, to its end, and the assumptions say so.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any

MOST = 10_000
"""Items that are asked for: there are iterators without an end."""
_MADE_IN_C = frozenset({"builtins", "itertools"})


def finished(out: Any, assume: Callable[[str], None]) -> Any:
    """What a model returned, with lists in the place of iterators, and what coroutines return in theirs.

    `assume` is told what was taken for granted.
    """
    kind = type(out)
    if kind is list or kind is tuple:
        return kind([finished(item, assume) for item in out])
    if kind is dict:
        return {key: finished(item, assume) for key, item in out.items()}
    if kind is types.CoroutineType:
        return finished(_awaited(out, assume), assume)
    if kind is types.AsyncGeneratorType:
        return finished(_all_awaited(out, assume), assume)
    if not isinstance(out, Iterator):
        return out
    if kind is not types.GeneratorType and kind.__module__ not in _MADE_IN_C:
        assume(f"the model returns a {kind.__module__}.{kind.__qualname__}, an iterator: what it runs is not counted")
        return out
    items = list(itertools.islice(out, MOST))
    if len(items) == MOST:
        assume(f"the model returns an iterator, of which {MOST} items were asked for")
    else:
        assume("the model returns an iterator, which was run to its end")
    return finished(items, assume)


def _awaited(coroutine: Coroutine[Any, Any, Any], assume: Callable[[str], None]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        assume("the model returns a coroutine, which was run to its end")
        return end.value
    coroutine.close()
    assume("the model returns a coroutine that waits for something: what it runs afterwards is not counted")
    return None


def _all_awaited(generator: AsyncGenerator[Any, Any], assume: Callable[[str], None]) -> list[Any]:
    items: list[Any] = []
    while len(items) < MOST:
        try:
            generator.__anext__().__await__().send(None)  # type: ignore[attr-defined]
        except StopIteration as item:
            items.append(item.value)
            continue
        except StopAsyncIteration:
            assume("the model returns an iterator, which was run to its end")
            return items
        break
    assume("the model returns an asynchronous iterator that was not run to its end: what it runs then is not counted")
    return items
