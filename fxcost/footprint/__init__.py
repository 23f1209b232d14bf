"""Memory of a forward pass or a training step as a device reports it, by a simulation of PyTorch's caching allocator.

In: an analysis and a device. Out: :class:`~fxcost.footprint.on_device.DeviceMemory`.
May use `errors`, `text`, `records`, `memory`, `speed`.
"""
