"""Where to cut a model into the stages of a pipeline: balanced in cost, with little to send.

In: an `Analysis`. Out: `Stages`, which says where to cut, what crosses, and what each stage costs and holds. May use
`errors`, `text`, `records` and `memory`.

Works on any captured graph, in the order in which it ran: a stage is a run of its nodes (units.py). The cuts are found
exactly (cutting.py).
"""
