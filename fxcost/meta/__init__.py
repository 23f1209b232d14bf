"""Running operators without data: on meta tensors, which have a shape and no memory, each recorded as it runs.

In: operators that PyTorch dispatches, whoever calls them. Out: `OpRecord`s in the `Segment` that is open (one for each
node of the graph), and meta tensors for results. May use `records`.

Operators that PyTorch would decompose are recorded whole: the `units`, attention and recurrent layers. A `cell` is what
is known of the contents of one storage (cells.py), so that models which read values can run (values.py). A `twin` is
the meta tensor that stands for a real one. An `orphan` is an operator that ran while no segment was open.
"""
