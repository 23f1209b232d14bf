"""One rank of a sharded model, run in this process: a fake world, and recorders that know collectives.

In: a model's copy and a recipe. Out: a `Sharding`, by which a capture runs the model as one rank of many. May use
`errors`, `records`, `meta`, `model` and `capture`.

PyTorch's own code for parallelism runs, on meta tensors and a process group that sends nothing (world.py). Collectives
give results of the right shape (collectives.py), and values as far as peers are alike (symmetry.py); what of PyTorch
has to be told so is in private.py, and looked for before anything is changed.

Not here: what a collective sends (communication/), its price (rules/communication.py).
"""
