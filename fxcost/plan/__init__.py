"""Which modules to checkpoint so that a training step fits into memory, at the least recomputation.

In: a model and a limit. Out: :class:`~fxcost.plan.plan.Plan`, verified by a step of the wrapped copy.
May use `errors`, `text`, `records`, `meta`, `model`, `capture`, `rules`, `memory`, `analyze`.
"""
