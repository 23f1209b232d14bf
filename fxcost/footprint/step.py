"""Lives of all storages in two training steps: the first makes the optimizer's state, the second is like the rest.

A step ends with the optimizer's own, whose temporaries are in it (`foreach`, the default on CUDA); then gradients and
results are let go, as by `zero_grad()` at the start of the next step.
"""

from __future__ import annotations

from ..errors import ReportFileError
from ..memory.optimizer_step import Life, optimizer_steps
from ..memory.optimizers import optimizer_name, state_bytes
from ..memory.training import Training

UNKNOWN = "what the optimizer's own step takes beside its state ({})"


def two_steps(training: Training) -> tuple[tuple[int, ...], list[Life], int, tuple[str, ...]]:
    """Bytes of what is there all the time, lives of all else, bytes that the optimizer's step takes for a moment, and
    what is not known.

    Raises:
        ReportFileError: the step was read from a file, which has no lives.
        TrainingError: the optimizer can't step on meta tensors.
    """
    step = training.storages
    if step is None:
        raise ReportFileError("a report that was read from a file has no lives of storages: analyse the model again")
    own = optimizer_steps(step.optimizer, step.trained)
    lives: list[Life] = []
    start = 0
    if own is None:  # all of the state is there from the start, as one piece
        state = state_bytes(step.optimizer, step.trained)
        return (*step.resident, state), list(step.lives), 0, (UNKNOWN.format(optimizer_name(step.optimizer)),)
    forever = 2 * step.ticks + own[0].ticks + own[1].ticks + 2
    for taken in own:
        end = start + step.ticks + taken.ticks
        lives += [(start + b, end if d > step.ticks else start + d, n) for b, d, n in step.lives]
        at = start + step.ticks
        lives += [(at + b, forever if d > taken.ticks else at + d, n) for b, d, n in taken.lives]
        start = end
    return step.resident, lives, own[1].peak_bytes, ()
