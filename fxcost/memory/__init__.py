"""What is alive when: in a forward pass and in a training step, with text and pictures of it.

In: a `Recording`, a `TrainingRecord` and rules. Out: `Memory`, `Training`, and `Analysis`, which has both beside the
sums. May use `totals`, `rules` and `records`.

A storage is `resident` that is there all the time (parameters, buffers, inputs). Time is counted in `ticks`: the
operators of a pass, one after the other.
"""
