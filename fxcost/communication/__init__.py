"""What a rank sends and receives: a view over the records of the collectives that ran, and how fast links are.

In: `OpRecord`s of family communication, with the `Rank` that was run. Out: `Collective`s, and `Communication`, which
adds them up. May use `errors`, `text`, `records` and `rules`.
"""
