"""How numbers and names are written for people, and read from them; files. Knows nothing of models; without torch.

In: integers, seconds, names of the user's, amounts such as "4.2G". Out: texts that fit a terminal, and integers; files
that are whole; a line of progress.
May use `errors`.

`units` are units of measure here ("4.09 G", "97.5 MiB"), not the operators that meta/units.py records whole.
"""
