"""What ran before need not run again: purity, PyTorch as it is now, calls and prices that are remembered.

In: calls, and what decides what they do. Out: what they did. May use `model`, `meta` and `records`.
"""
