"""How many pairs of a query and a key the masks of attention leave.

Not here: masks that are given as tensors, whose values nobody knows; they count as dense.
"""

from __future__ import annotations


def causal_pairs(l_q: int, l_k: int) -> int:
    """Pairs that a causal mask leaves where query i sees the keys 0 … i, as `is_causal` of PyTorch has it.

    Source: definition in torch.nn.functional.scaled_dot_product_attention (`tril` from the top left corner).

    >>> causal_pairs(4, 4), causal_pairs(2, 4), causal_pairs(4, 2)
    (10, 3, 7)
    """
    if l_q <= l_k:
        return l_q * (l_q + 1) // 2
    return l_k * (l_k + 1) // 2 + (l_q - l_k) * l_k


def cached_pairs(l_q: int, l_k: int, window: int) -> int:
    """Pairs that a causal mask leaves for the last `l_q` of `l_k` places, of each at most the last `window` (0: all).

    Query i of l_q sees min(window, l_k − l_q + i + 1) keys: itself and those before it.
    Source: definition of sliding windows in the paper of Mistral 7B (arXiv 2310.06825), section 2.

    >>> cached_pairs(4, 4, 0), cached_pairs(1, 9, 0), cached_pairs(4, 4, 2), cached_pairs(1, 9, 4)
    (10, 9, 7, 4)
    """
    before = l_k - l_q
    if window <= 0 or window >= l_k:
        return l_q * before + l_q * (l_q + 1) // 2
    growing = max(0, min(l_q, window - before - 1))
    return growing * before + growing * (growing + 1) // 2 + (l_q - growing) * window


def chunked_pairs(start: int, l_q: int, chunk: int) -> int:
    """Pairs where the query at place p sees its own chunk alone, up to itself: the keys p // chunk · chunk … p.

    Source: chunked attention of Llama 4 (`create_chunked_causal_mask` in transformers).

    >>> chunked_pairs(0, 4, 2), chunked_pairs(4, 1, 4), chunked_pairs(3, 2, 4)
    (6, 1, 5)
    """

    def until(stop: int) -> int:
        whole, rest = stop // chunk, stop % chunk
        return whole * chunk * (chunk + 1) // 2 + rest * (rest + 1) // 2

    return until(start + l_q) - until(start)
