"""From a model and inputs to a `Recording`: the graph, and for each of its nodes the operators that ran.

In: a copy of the model and its `Arguments`. Out: a `Recording`, and a `TrainingRecord` of one training step. May use
`model`, `meta` and `records`.

`host` calls leave the world of meta tensors (`.tolist()`, `.cuda()`). A `drawing` is the graph of a run while it is
drawn, a `vocabulary` says how a call is written as a node of torch.fx, `spelling` how the user's code wrote the call,
`products` are products of sizes in Python, which no torch call shows.
"""
