"""Runs on real tensors, timed beside what the roofline predicts.

In: a model with weights, inputs, a device. Out: `Measurement`. May use `analyze`, `speed`, `capture` and `model`. Here
alone the user's operators compute anything; a copy of the model does.
"""
