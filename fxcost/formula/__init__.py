"""What does it cost at any size: the numbers of a report as formulas in batch, sequence, image size, width or depth.

In: `Dim`s and a way to run an `Analysis` (and a `TrainingRecord`) at a point. Out: plain data (`analyses.py`), which
`report.formula` makes into a `Formula` (`formula.py`, on top of `expressions.py` and `parts.py`). May use `errors`,
`text`, `records`, `meta`, `model`, `rules`, `totals` and `memory`.

A few analyses (`probing.py`, `search.py`) are taken apart (`observation.py`); each of their sizes is interpolated
exactly (`interpolation.py`), the ordinary rules price what was fitted (`symbolic.py`, `lift.py`), and the sums of that
(`ledger.py`, `numbers.py`) are the formulas, on a domain (`domain.py`). `fitting.py` is that road in one file,
`uneven.py` its detour for dims on which the number of operators hangs, `lines.py` finds the user's line at which a
formula ends. Not here: proofs. A domain is seen at points, and says at how many.
"""
