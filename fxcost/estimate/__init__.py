"""How long a model takes on a device that is not at hand, with a known error.

In: an analysis, a device, a profile of its class. Out: :class:`~fxcost.estimate.estimate.Estimate`, rankings of models
and of devices. Profiles ship with their source and error; `benchmarks/estimates.py` fits them.
May use `errors`, `text`, `records`, `memory`, `speed`.
"""
