"""The plain data that all other rooms pass along: what ran (recording.py), what it costs (cost.py), as files have it.

In: nothing; records are made by other rooms. Out: frozen dataclasses that hold no tensors and no code of the user's:
`TensorSpec`, `OpRecord`, `NodeRecord`, `Recording`, `TrainingRecord`, `Cost`, `OpCost`, `NodeCost`. May use `errors`.

A `sketch` is a graph while it is captured, which becomes an `fx.Graph` when somebody asks for it. A `skeleton` is a
model's modules without weights and code, for a report that was read from a file; it is made from `bones`.
"""
