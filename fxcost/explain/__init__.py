"""How a number came about: for each operator its rule, its formula with the numbers put in, and where they are from.

In: `Sums`, and the rules that priced them. Out: `Explanation`, with an `Operation` for each operator and a `Term` for
each number. May use `totals` and `rules`. A rule is asked once more, with integers that remember (derivation.py).
"""
