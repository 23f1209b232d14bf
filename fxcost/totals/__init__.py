"""What the nodes add up to: totals, sums by module, operator and family; parameters; experts; two trees aligned.

In: a `Recording` and its priced nodes (`NodeCost`). Out: `Sums`, the base of every report, with `ModuleCost`,
`OperatorCost` and `ParameterTotals`. May use `records`, and of `rules` the formulas.

A `likeness` is a number that modules share which are alike in all but their names. `touched` experts are those that a
batch is expected to reach.
"""
