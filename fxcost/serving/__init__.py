"""Language models: what a token costs, to serve and to train, from the model's own graph.

In: a model that generates text (transformers', or one's own with a cache), how its weights and cache are stored, a
device. Out: `Generation` (a report for every step: a prompt, a chunk, a token), its cache and weights, `Bounds` that no
engine can beat, `Sweep` over batches and contexts; `PerToken`, FLOPs of packed batches in training.

How: attention is asked for by name (attention.py), caches of a short prompt are lengthened (caches.py), stored formats
re-price what operators read (reads.py, stored.py), and one analysis gives every batch and context (work.py).

May use nearly every room below it; nothing below knows it: it can be deleted with its command (cli/serve.py), its page
and its tests.
"""
