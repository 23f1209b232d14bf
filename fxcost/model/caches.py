"""What stands in the cache of a function under `functools.lru_cache`, by what the garbage collector can see of it.

Python has no other way to read such a cache, and none to take out one entry.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

CachedFunction: Any = type(functools.lru_cache(lambda: None))


def _seen(cached: Any) -> tuple[dict[Any, Any], list[Any], object] | None:
    """Its table, its links (key, result, and a type, of each) and what marks keywords in keys; None if it looks new."""
    held = gc.get_referents(cached)
    if len(held) < 7:
        return None
    *links, table, _, mark, _, _, _ = held[1:]
    known = type(table) is dict and type(mark) is object and len(table) == cached.cache_info().currsize
    return (table, links, mark) if known else None


def entries(cached: Any) -> dict[Any, Any]:
    """Results by key, the oldest first; empty where they can't be seen."""
    seen = _seen(cached)
    if seen is None:
        return {}
    table, links, _ = seen
    pairs = zip(links[::3], links[1::3], strict=True) if links else table.items()
    return {key: result for key, result in pairs if key in table}  # a link may outlive its key


def forget(cached: Any, known: frozenset[int]) -> None:
    """Take out all entries but those whose keys have these ids; all of them where they can't be seen."""
    seen = _seen(cached)
    if seen is None or not known:
        if cached.cache_info().currsize:
            cached.cache_clear()
        return
    for key in [key for key in seen[0] if id(key) not in known]:
        del seen[0][key]


def copied(cached: Any, function: Callable[..., Any], copy: Callable[[Any], Any]) -> Any:
    """The same cache round another function, with copies of what is in it."""
    known = entries(cached)
    answers = [copy(result) for result in known.values()]

    def answer(*args: Any, **kwargs: Any) -> Any:
        return answers.pop(0) if answers else function(*args, **kwargs)

    settings = cached.cache_parameters()
    made = functools.lru_cache(**settings)(answer)
    for key in known:
        args, kwargs = _arguments(key, (_seen(cached) or ({}, [], None))[2], settings["typed"])
        made(*map(copy, args), **{name: copy(value) for name, value in kwargs.items()})
    answers.clear()
    made.__dict__.update({**cached.__dict__, "__wrapped__": function})
    return made


def _arguments(key: Any, mark: object, typed: bool) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a key was made of: `functools._make_key`, backwards."""
    if not isinstance(key, tuple):
        return [key], {}
    parts = list(key)
    named = next((i for i, part in enumerate(parts) if part is mark), None)
    if named is None:
        return parts[: len(parts) // 2] if typed else parts, {}
    after = parts[named + 1 :]
    if typed:  # pairs, then a type for each argument of both kinds
        after = after[: 2 * (len(after) - named) // 3]
    return parts[:named], dict(zip(after[::2], after[1::2], strict=True))
