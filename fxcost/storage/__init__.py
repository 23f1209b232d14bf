"""How weights and caches are stored, and what that changes: bytes in memory and bytes that are read.

In: an `Analysis`, and formats by name, by pattern, from a model's `quantization_config` or from the headers of its
files. Out: `Held` for each weight, and the same analysis with other bytes. No rule is touched: what an operator reads
of an input is the slope of its traffic in the item size of that input (reads.py). May use `rules`, `totals`, `memory`.
"""
