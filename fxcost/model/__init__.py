"""The user's model and inputs, of which copies are made: the originals are never changed, on whatever path.

In: a module, a graph or a function, and inputs as the user gives them (tensors, shapes, `fxcost.spec`). Out: a copy on
meta (isolate.py) or on a device (real.py), `Arguments`, and records of modules and parameters. May use `meta` and
`records`.
"""
