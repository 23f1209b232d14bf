"""Which module of one model is which module of another: by qualified name, then by structure.

A renamed or moved module has another name and the same structure, so it is found by a *fingerprint* of its subtree:
classes, shapes of parameters, costs, results and children in their order, but no names. Every step treats both models
alike, so aligning them the other way round gives the same pairs. No walk recurses.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping

from .module_tree import ModuleCost
from .sums import Sums

LIKE = 2
"""Modules of one class but other names may be one module renamed if neither has more than so many times the other's
parameters, nor MACs. The same holds for modules of one name but other classes, unless they stand in the same place."""

Key = Callable[["_Side", str], Hashable]


class _Side:
    """The modules of one model, with a fingerprint and the number of modules of each subtree."""

    def __init__(self, sums: Sums, kinds: dict[object, int]) -> None:
        self.modules: Mapping[str, ModuleCost] = sums.modules
        self.by_any_name = {alias: m.name for m in self.modules.values() for alias in (*m.aliases, m.name)}
        self.partner: dict[str, str] = {}
        self.fingerprint: dict[str, int] = {}
        self.size: dict[str, int] = {}
        shapes: defaultdict[str, list[object]] = defaultdict(list)
        for record in sums.parameters:
            owner = sums.canonical(record.name.rpartition(".")[0])
            shapes[owner].append((record.spec.shape, record.spec.dtype, record.is_buffer, record.trainable))
        for module in reversed(list(self.modules.values())):  # children before parents
            children = tuple(self.fingerprint[child] for child in module.children)
            results = tuple((spec.shape, spec.dtype) for spec in module.outputs)
            own = module.own, tuple(shapes[module.name])
            kind = (module.type_name, *own, module.calls, results, children)
            self.fingerprint[module.name] = kinds.setdefault(kind, len(kinds))
            self.size[module.name] = 1 + sum(self.size[child] for child in module.children)

    def free(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have no partner yet."""
        return [name for name in names if name not in self.partner]


class _Aligner:
    """Finds pairs step by step, surer ones first."""

    def __init__(self, before: Sums, after: Sums) -> None:
        kinds: dict[object, int] = {}
        self.before, self.after = _Side(before, kinds), _Side(after, kinds)

    def pair(self, a: str, b: str) -> None:
        """Make `a` and `b` partners."""
        self.before.partner[a], self.after.partner[b] = b, a

    def run(self) -> dict[str, str]:
        """All steps, in order."""
        self.pair("", "")
        self.same_names()
        self.below_pairs(_name_and_type, _fingerprint)
        self.same_structures()
        self.below_pairs(_name_and_type, _fingerprint, _local_name, _type_name, alike=self.alike)
        self.with_siblings()
        return self.before.partner

    def same_names(self) -> None:
        """Modules of one class that share a qualified name, the canonical ones first."""
        before, after = self.before, self.after
        for aliases in (False, True):
            for name in before.free(before.modules):
                module = before.modules[name]
                for known in (name, *module.aliases) if aliases else (name,):
                    other = after.by_any_name.get(known) if aliases else known
                    found = after.modules.get(other) if other is not None and other not in after.partner else None
                    if found is not None and found.type_name == module.type_name:
                        self.pair(name, found.name)
                        break

    def alike(self, a: str, b: str) -> bool:
        """True if `a` can have become `b`: they stand in one place, or are of like size."""
        before, after = self.before.modules[a], self.after.modules[b]
        sizes = ((before.parameters.params, after.parameters.params), (before.cost.macs, after.cost.macs))
        return a == b or all(max(pair) <= LIKE * min(pair) for pair in sizes)

    def below_pairs(self, *keys: Key, alike: Callable[[str, str], bool] | None = None) -> None:
        """Children of partners that agree in a key, the surest key first; then the children of these, and so on.

        `alike` is asked where they have neither name and class nor structure in common.
        """
        before, after = self.before, self.after
        waiting = deque(name for name in before.modules if name in before.partner)
        while waiting:
            name = waiting.popleft()
            mine, others = before.modules[name].children, after.modules[before.partner[name]].children
            for key in keys:
                doubtful = alike if key in (_local_name, _type_name) else None
                waiting.extend(self.in_order(before.free(mine), after.free(others), key, doubtful))

    def same_structures(self) -> None:
        """Equal subtrees wherever they stand, the largest first."""
        before, after = self.before, self.after
        sizes = sorted({before.size[name] for name in before.free(before.modules)}, reverse=True)
        by_size: dict[int, tuple[list[str], list[str]]] = {size: ([], []) for size in sizes}
        for side, i in ((before, 0), (after, 1)):
            for name in side.free(side.modules):
                if side.size[name] in by_size:
                    by_size[side.size[name]][i].append(name)
        for mine, others in by_size.values():
            self.in_order(before.free(mine), after.free(others), _fingerprint)

    def with_siblings(self) -> None:
        """Where children of one module all went to one other module, what is left of both, by name and class."""
        before, after = self.before, self.after
        went: defaultdict[str | None, set[str | None]] = defaultdict(set)
        came: defaultdict[str | None, set[str | None]] = defaultdict(set)
        for a, b in before.partner.items():
            old, new = before.modules[a].parent, after.modules[b].parent
            if old is not None and new is not None and before.partner.get(old) != new:
                went[old].add(new)
                came[new].add(old)
        for old, places in went.items():
            (new, *more) = places
            if old is not None and new is not None and not more and len(came[new]) == 1:
                mine, others = before.modules[old].children, after.modules[new].children
                self.in_order(before.free(mine), after.free(others), _name_and_type)

    def in_order(
        self, mine: Iterable[str], others: Iterable[str], key: Key, alike: Callable[[str, str], bool] | None = None
    ) -> list[str]:
        """Pair modules that agree in a key, the first with the first; with equal subtrees all that is below them.

        With `alike`, the first with the first that is alike.
        """
        found: defaultdict[Hashable, list[str]] = defaultdict(list)
        for other in others:
            found[key(self.after, other)].append(other)
        queues = {value: deque(names) for value, names in found.items()}
        paired = []
        for name in mine:
            queue = queues.get(key(self.before, name))
            found_one = next((o for o in queue or () if alike is None or alike(name, o)), None)
            if queue and found_one is not None:
                other = found_one
                queue.remove(other)
                self.pair(name, other)
                paired.append(name)
                if self.before.fingerprint[name] == self.after.fingerprint[other]:
                    self.pair_below(name, other)
        return paired

    def pair_below(self, a: str, b: str) -> None:
        """Pair the modules of two equal subtrees, place by place, but for those that are paired by name."""
        stack = [(a, b)]
        while stack:
            mine, other = stack.pop()
            if mine not in self.before.partner and other not in self.after.partner:
                self.pair(mine, other)
            stack.extend(zip(self.before.modules[mine].children, self.after.modules[other].children, strict=True))


def _fingerprint(side: _Side, name: str) -> Hashable:
    return side.fingerprint[name]


def _name_and_type(side: _Side, name: str) -> Hashable:
    return side.modules[name].local_name, side.modules[name].type_name


def _local_name(side: _Side, name: str) -> Hashable:
    return side.modules[name].local_name


def _type_name(side: _Side, name: str) -> Hashable:
    return side.modules[name].type_name


def align(before: Sums, after: Sums) -> dict[str, str]:
    """FQN of a module in `before` → FQN of the same module in `after`, for all that have a counterpart.

    First modules with the same qualified name and class; then, among the children of partners, equal subtrees; then
    equal subtrees anywhere; at last what is left among the children of partners, by name, then by class, if it is
    alike: in the same place, or with no more than `LIKE` times the parameters and MACs.
    """
    return _Aligner(before, after).run()
