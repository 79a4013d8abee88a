"""Norms of LoRA updates from their thin factors, beside numpy's norms of the products multiplied out.

    python -m benchmarks.norms [--rounds 3]

The size of an adapter on all linear layers of a 7B model: 7 modules in 32 layers, rank 8, width 4096, weights made up.
Singular values of a full matrix of 4096 x 4096 take tens of seconds: one pair is timed and scaled up.
"""

import numpy as np

from benchmarks.harness import Row, compared, in_turn, rounds_asked, write
from memo_assets.measures.weight_norms import product_norms

MODULES, LAYERS, RANK, WIDTH = 7, 32, 8, 4096
PAIRS = MODULES * LAYERS


def main() -> None:
    """One row."""
    rounds = rounds_asked(__doc__, 3)
    rng = np.random.default_rng(0)
    pairs = [
        (
            rng.standard_normal((WIDTH, RANK), dtype=np.float32),
            rng.standard_normal((RANK, WIDTH), dtype=np.float32),
        )
        for _ in range(PAIRS)
    ]

    def ours() -> list[tuple[float, ...]]:
        return [product_norms(b, a) for b, a in pairs]

    def dense() -> tuple[float, ...]:
        b, a = pairs[0]
        product = b.astype(np.float64) @ a.astype(np.float64)
        return tuple(float(np.linalg.norm(product, order)) for order in ("fro", "nuc", 2, np.inf))

    small = (pairs[0][0][:300], pairs[0][1][:, :200])
    full = small[0].astype(np.float64) @ small[1].astype(np.float64)
    by_numpy = [np.linalg.norm(full, order) for order in ("fro", "nuc", 2, np.inf)]
    np.testing.assert_allclose(product_norms(*small), by_numpy, rtol=1e-9)
    taken = in_turn({"ours": ours, "dense": dense}, rounds)
    row = Row(
        "LoRA weight norms",
        f"{MODULES} modules x {LAYERS} layers, r={RANK}, d={WIDTH}",
        "numpy norms of each full matrix",
        target=25,
        note=f"one full matrix timed, times {PAIRS}",
        **compared(taken, "ours", "dense", scale=PAIRS),
    )
    write("norms", [row])


if __name__ == "__main__":
    main()
