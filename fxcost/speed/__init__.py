"""How fast a model could run on a device: devices, the roofline model, fusion, and what a machine really reaches.

In: `Sums` (or a `Training`) and a `Device`. Out: `Roofline`, with a `NodeTime` for each node. May use `totals`,
`memory` and `communication`. A `Kernel` is what a device is given to run at once: one operator, or several that
are fused.
"""
