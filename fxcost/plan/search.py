"""The search of a plan: steps are run, the cheapest choice is found in what they show, and a last step verifies it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..errors import PlanError, TrainingError
from ..text.units import byte_size, plural
from .candidates import levels
from .names import kind
from .outlook import Outlook, outlook
from .solve import Solver
from .steps import Step

POINTS = 16
"""Into so many parts the way from the highest peak to the lowest is cut, for the frontier."""
TRIES = 8
"""So many answers are verified; all but the first only if a step took more than was foreseen."""

Choice = tuple[int, int, tuple[str, ...]]
"""Peak (bytes), FLOPs that run again, and the names of the modules."""


class Search:
    """A search with steps that `run` makes; `called` are the names of the modules that the model runs.

    Raises:
        PlanError: the model has checkpoints already.
    """

    def __init__(self, run: Callable[[Sequence[str]], Step], called: Iterable[str]) -> None:
        self._run = run
        self.steps = 0
        self.notes: list[str] = []
        self.base = self._step(())
        """The step with nothing checkpointed."""
        if any(self.base.record.recomputed):
            raise PlanError(
                "the model checkpoints activations itself, and a plan starts from one that does not: switch that off "
                "first (in transformers: model.gradient_checkpointing_disable())"
            )
        self._tried = [tried for level in levels(self.base, called) if (tried := self._level(level))]

    def answer(self, limit: int) -> tuple[tuple[str, ...], Step, list[Choice]]:
        """The modules for a peak of at most `limit` bytes, the step that verifies them, and the frontier.

        Raises:
            PlanError: nothing fits, or nothing can be checkpointed.
        """
        peak = self.base.training.peak_bytes
        if not self._tried:
            if peak > limit:
                why = "; ".join(self.notes) or "no module keeps anything for the backward pass that it alone uses"
                raise PlanError(f"{_too_much(peak, limit)}. Nothing can be checkpointed: {why}")
            return (), self.base, [(peak, 0, ())]
        seen = outlook(self.base, self._tried)
        solver = Solver(seen)
        names, step = self._verified(seen, solver, limit) if peak > limit else ((), self.base)
        foreseen = [(seen.peak(c), seen.cost(c), _names(seen, c)) for c in solver.frontier(POINTS)]
        verified = step.training.peak_bytes, step.training.recomputed.flops, names
        return names, step, list(_unbeaten([verified, *foreseen]))

    def _step(self, names: Sequence[str]) -> Step:
        self.steps += 1
        return self._run(names)

    def _level(self, level: Sequence[str]) -> tuple[Sequence[str], Step] | None:
        """The modules of a level that can be checkpointed, and the step with all of them; None if none can."""
        try:
            return level, self._step(level)
        except TrainingError:
            kinds: dict[str, list[str]] = {}
            for name in level:
                kinds.setdefault(kind(name), []).append(name)
        good = [names for names in kinds.values() if self._works(names)]
        together = [name for names in good for name in names]
        return (together, self._step(together)) if together else None

    def _works(self, names: Sequence[str]) -> bool:
        try:
            self._step(names)
        except TrainingError as error:
            said = str(error.__cause__ or error).partition("\n")[0].removeprefix("torch.utils.checkpoint: ")
            self.notes.append(f"{kind(names[0])} can't be checkpointed, PyTorch says: {said}")
            return False
        return True

    def _verified(self, seen: Outlook, solver: Solver, limit: int) -> tuple[tuple[str, ...], Step]:
        """The cheapest choice that fits, and its step; where one took more than foreseen, the next with so much less.

        Raises:
            PlanError: nothing fits.
        """
        aim = limit
        for _ in range(TRIES):
            chosen = solver.cheapest(aim)
            if chosen is None:
                break
            names = _names(seen, chosen)
            step = self._step(names)
            if step.training.peak_bytes <= limit:
                return names, step
            aim = min(aim - 1, aim - (step.training.peak_bytes - seen.peak(chosen)))
        names = _names(seen, solver.smallest())
        least = self._step(names).training.peak_bytes
        raise PlanError(
            f"{_too_much(least, limit)}, with the {plural(len(names), 'module')} checkpointed that bring it lowest. A "
            "smaller batch takes less, and so do lower precision and an optimizer that keeps less"
        )


def _too_much(peak: int, limit: int) -> str:
    short = byte_size(peak - limit)
    return f"a training step needs {byte_size(peak)}, and there are {byte_size(max(limit, 0))}: {short} are missing"


def _names(seen: Outlook, chosen: Iterable[int]) -> tuple[str, ...]:
    return tuple(seen.names[i] for i in chosen)


def _unbeaten(choices: Iterable[Choice]) -> Iterable[Choice]:
    """From the cheapest to the smallest, without those that another one is as good as in both."""
    least: int | None = None
    for choice in sorted(choices, key=lambda c: (c[1], c[0])):
        if least is None or choice[0] < least:
            least = choice[0]
            yield choice
