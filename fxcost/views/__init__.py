"""A finished analysis as text, page, picture, table or file; and one read back from JSON.

In: an `Analysis`, or the `Sums` that it is. Out: text, bytes, and data of other libraries. Nothing here measures or
prices, and no room needs a view but those that show one. May use what it shows: `totals`, `memory`, `conventions`,
`explain`, `speed`. A view of one room's result lives in that room (`memory/as_memory.py`).

A picture has boxes inside `Cluster`s (blocks.py). `runs` of modules that are alike are folded into one row. The page's
`Store` has each text, tensor and cost once.
"""
