"""Laws that hold whatever the architecture is, so that no formula of ours is needed to check them."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest

import fxcost
from fxcost.rules.formulas import cached_pairs, causal_pairs, chunked_pairs
from fxcost.serving.generation import Generation

from .laws import row_of
from .small import causal_types, tiny

LENGTH = 9
DENSE = ("llama", "gemma3", "gpt_oss", "mixtral", "llama4", "gpt2")


def sampled(*kinds: str) -> list[Any]:
    """These families by default, all others with `-m zoo`."""
    return [*kinds, *(pytest.param(k, marks=pytest.mark.zoo) for k in DENSE if k not in kinds)]


@cache
def generation(kind: str) -> Generation:
    """A prompt of 9 tokens; windows and chunks are 8."""
    return fxcost.generation(tiny(kind), prompt=LENGTH, new_tokens=6)


def macs(gen: Generation, new: int, have: int, batch: int = 1) -> int:
    """MACs of a step that its masks leave."""
    return gen.step(new=new, have=have, batch=batch).cost.masked_macs


def head(gen: Generation) -> int:
    """MACs of one token's logits."""
    return 64 * 100


@pytest.mark.parametrize("kind", sampled("gemma3", "llama4", "mixtral"))
def test_a_prompt_is_the_sum_of_its_tokens_less_their_heads(kind: str) -> None:
    """prefill(L) = Σ decode(t), t < L, − (L − 1) · head; and so for chunks, of which each takes one head."""
    gen = generation(kind)
    whole = macs(gen, LENGTH, 0)
    assert whole == sum(macs(gen, 1, t) for t in range(LENGTH)) - (LENGTH - 1) * head(gen)
    assert whole == macs(gen, 5, 0) + macs(gen, 4, 5) - head(gen)


def test_the_law_does_not_hold_where_work_depends_on_the_step() -> None:
    """Latents that are expanded again in each step cost more than once in the prompt: a real difference."""
    gen = fxcost.generation(tiny("deepseek"), prompt=4, new_tokens=2, latents="expanded")
    assert macs(gen, 4, 0) < sum(macs(gen, 1, t) for t in range(4)) - 3 * head(gen)


@pytest.mark.parametrize("kind", sampled("gemma3", "deepseek", "falcon_h1"))
def test_a_step_is_linear_in_the_batch_and_what_is_kept_too(kind: str) -> None:
    """The analysis for a prime number of requests says what one for three is, and windows make the cache affine."""
    gen = generation(kind)
    work = gen.decode_work
    for batch, have in ((1, 5), (3, 10)):
        assert work.matmul_macs(batch) + work.attention_macs(batch, have) == macs(gen, 1, have, batch)
    sizes = [gen.cache.bytes(context=c) for c in (8, 12, 16)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 4 * gen.cache.bytes_per_token
    assert gen.cache.bytes(context=12, batch=7) == 7 * sizes[1]


@pytest.mark.parametrize("kind", ["gemma3"])
def test_the_total_is_the_sum_of_all_steps(kind: str) -> None:
    """Every number of the cost, across the place where the windows fill up."""
    gen = fxcost.generation(tiny(kind), prompt=4, new_tokens=9, batch=2)
    steps = [gen.prefill.cost, *(gen.step(have=4 + i).cost for i in range(8))]
    assert gen.total == fxcost.Cost.total(steps)


def test_pairs_against_masks() -> None:
    """Closed forms against masks that are written out, for all small sizes."""
    for l_q, l_k in product(range(1, 9), repeat=2):
        assert causal_pairs(l_q, l_k) == sum(j <= i for i in range(l_q) for j in range(l_k))
    for l_q, l_k, window in product(range(1, 9), range(1, 9), range(10)):
        if l_q <= l_k:
            first = l_k - l_q
            left = [(i, j) for i in range(l_q) for j in range(first + i + 1) if not window or j > first + i - window]
            assert cached_pairs(l_q, l_k, window) == len(left)
    for start, l_q, chunk in product(range(9), range(1, 9), range(1, 6)):
        places = range(start, start + l_q)
        assert chunked_pairs(start, l_q, chunk) == sum(p // chunk == j // chunk for p in places for j in range(p + 1))


def test_masks_of_transformers_leave_as_many_pairs() -> None:
    """What we count of a window and of chunks, against the masks that transformers itself makes."""
    from transformers.masking_utils import create_chunked_causal_mask, create_sliding_window_causal_mask

    for kind, make in (("gemma3", create_sliding_window_causal_mask), ("llama4", create_chunked_causal_mask)):
        import torch

        model = tiny(kind)
        model.config._attn_implementation = "eager"
        hidden = torch.zeros(1, LENGTH, 64)
        mask = make(model.config, hidden, None, None, torch.arange(LENGTH)[None])
        pairs = int((mask == 0).sum())
        counted = {a.window: a for a in generation(kind).work(LENGTH, 0).attends}[8]
        assert counted.macs(LENGTH, 0) == counted.heads * counted.width * pairs


ENCODERS = (
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert",
    "reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
)  # fmt: skip
NOT_DECODED = {
    "encoders, which keep no cache": ENCODERS,
    "no cache is taken": ("openai-gpt", "xlnet"),
    "drafts for another model, whose states they take": ("gemma4_assistant", "gemma4_unified_assistant"),
    "broken in transformers 5.24.0 on its default configuration": (
        "blenderbot", "blt", "musicgen", "musicgen_melody",
    ),
    "states are kept inside of the model, not in a cache": ("recurrent_gemma",),
    "the cache has entries of its own that can't be lengthened": ("deepseek_v4",),
}  # fmt: skip
"""Types that no generation can be made of, by reason; the last two are what is not covered here."""
STARTS_ANEW = ("tokens", "chunks")
OTHERWISE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sparse attention, as its code has it: an indexer, or latents that each step expands": (
        STARTS_ANEW, ("axk2", "deepseek_v32", "doge", "dots3_note", "dots3_note_text", "glm_moe_dsa", "hy_v4"),
    ),
    "an indexer reads blocks of 16 tokens": ((*STARTS_ANEW, "affine"), ("qwen4_exp", "qwen4_exp_text")),
    "each step begins with 32 tokens of its own": (STARTS_ANEW, ("cpmant",)),
    "two streams, each of which attends to both": (STARTS_ANEW, ("prophetnet",)),
    "a prompt attends to more than the cache keeps": (STARTS_ANEW, ("moshi",)),
    "experts that compute nothing: how many tokens go there is drawn": (
        (*STARTS_ANEW, "batch", "work"), ("longcat_flash",),
    ),
    "the code joins the states of all requests with each other": (("batch", "work"), ("rwkv",)),
}  # fmt: skip
"""Types for which laws do not hold, by reason: which laws, which types."""


@pytest.mark.zoo
@pytest.mark.parametrize("kind", causal_types())
def test_every_causal_lm_that_decodes(kind: str) -> None:
    """All laws for every type of transformers but those that are named, with the laws that do not hold for them.

    Recurrent layers run a prompt as a scan or in chunks, and a token as an update, which are different operators.
    """
    row = row_of(kind)
    if any(kind in kinds for kinds in NOT_DECODED.values()):
        assert row.error
        return
    assert row.error == ""
    assert row.uncosted == []
    excused = {law for laws, kinds in OTHERWISE.values() if kind in kinds for law in laws}
    assert set(row.failed) == excused or ("state" in row.layers and set(row.failed) <= set(STARTS_ANEW))
