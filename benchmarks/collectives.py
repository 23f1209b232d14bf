"""How far above their bound collectives are that others have measured: `python benchmarks/collectives.py --data DIR`.

DIR holds `h100_sxm-nccl_perf.parquet` and `a100_sxm-nccl_perf.parquet` of ai-dynamo/aiconfigurator
(systems/data/…/nccl), latencies in milliseconds of NCCL within a node; reading them takes pandas and pyarrow. Sizes are
in elements: of what is reduced, of the result of a gather, of the input of a reduce-scatter or an all-to-all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from fxcost.communication.links import Link, seconds
from fxcost.records.communication import Collective, Group

KINDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
ITEM = {"half": 2, "int8": 1}
LARGE = 16 * 2**20
FILES = {"h100_sxm-nccl_perf.parquet": "nvlink", "a100_sxm-nccl_perf.parquet": "nvlink3"}


def collective(kind: str, nbytes: int, ranks: int) -> Collective:
    """A collective of so many bytes over so many ranks."""
    factor = 2 if kind == "all_reduce" else 1
    sent = factor * nbytes * (ranks - 1) // ranks
    return Collective(
        kind=kind,
        op=kind,
        dtype="",
        payload_bytes=nbytes,
        sent_bytes=sent,
        received_bytes=sent,
        group=Group(tuple(range(ranks))),
        module="",
        phase="forward",
        node="",
        position=0,
    )


def ratios(rows: Any, link: Link) -> dict[tuple[str, int], list[tuple[int, float]]]:
    """For each kind and number of ranks: bytes, and measured time over the bound."""
    found: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for row in rows.itertuples():
        kind, nbytes = KINDS[row.op_name], int(row.message_size) * ITEM[row.nccl_dtype]
        bound = seconds(collective(kind, nbytes, int(row.num_gpus)), link)
        found.setdefault((kind, int(row.num_gpus)), []).append((nbytes, row.latency / 1e3 / bound))
    return found


def main() -> None:
    """Print a table for each file."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    for name, link in FILES.items():
        rows = pd.read_parquet(folder / name)
        print(f"{rows.device.iloc[0]}, NCCL {rows.version.iloc[0]}, link {link}: measured / bound")
        print(f"{'collective':15} {'ranks':>5} {'rows':>5} {'least':>7} {'median from 16 MiB':>19}")
        every = []
        for (kind, ranks), found in sorted(ratios(rows, Link.named(link)).items()):
            large = [ratio for nbytes, ratio in found if nbytes >= LARGE]
            every += large
            print(f"{kind:15} {ranks:5} {len(found):5} {min(r for _, r in found):7.2f} {median(large):19.2f}")
        print(f"{'all':15} {'':5} {'':5} {'':7} {median(every):19.2f}")


if __name__ == "__main__":
    main()
