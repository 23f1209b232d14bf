"""Two reports, or a report and a limit: what changed, what is over budget, and by which modules.

In: `Report`s, or paths of their JSON files; budgets in a pyproject.toml. Out: `Diff` and `Check`. May use `report`,
`totals` and `views`, and `analyze` for the models that budgets name.
"""
