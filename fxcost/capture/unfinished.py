"""What a model returns that has not run yet: generators, other iterators, coroutines. A caller runs them.

A generator's body runs when it is asked for its items, a coroutine's when it is awaited: when forward has returned,
nothing of it has happened. So it is run here, to its end, and the assumptions say so.
"""

from __future__ import annotations

import asyncio
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
        return finished(_awaited(_items(out), assume), assume)
    if not issubclass(kind, Iterator):
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


def is_unfinished(out: Any) -> bool:
    """True for a coroutine or an iterator, which is closed: nobody will run it."""
    unfinished = issubclass(type(out), (Iterator, types.CoroutineType, types.AsyncGeneratorType))
    if unfinished and hasattr(out, "close"):
        out.close()
    return unfinished


def _awaited(coroutine: Coroutine[Any, Any, Any], assume: Callable[[str], None]) -> Any:
    """What a coroutine returns; it runs in a loop of its own, unless one runs already (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        assume("the model returns a coroutine, which was run to its end")
        return asyncio.run(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as end:
        assume("the model returns a coroutine, which was run to its end")
        return end.value
    coroutine.close()
    assume("the model returns a coroutine that waits for something: what it runs afterwards is not counted")
    return None


async def _items(generator: AsyncGenerator[Any, Any]) -> list[Any]:
    items: list[Any] = []
    async for item in generator:
        items.append(item)
        if len(items) == MOST:
            break
    return items
