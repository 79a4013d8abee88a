"""How far weights have gone: norms of low-rank updates and of dense matrices, and their distances from a start.

Low-rank products are never multiplied out, but for the infinity norm, which needs every entry and takes a block of rows
at a time.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

_CELLS = 2**22  # entries of a product held at once: 32 MB of float64


class Norms(NamedTuple):
    """Norms of one matrix.

    frobenius: root of the sum of squares of all entries. nuclear: sum of the singular values. spectral: the largest
    singular value. infinity: the largest sum of absolute values of a row.
    """

    frobenius: float
    nuclear: float
    spectral: float
    infinity: float


def dense_norms(matrix: np.ndarray) -> Norms:
    """Norms of a matrix; of an array with more dimensions (a convolution's kernels), with all but the first as one.

    Args:
        matrix: [rows, ...], at least two dimensions; computed in float64.
    """
    flat = np.asarray(matrix, dtype=np.float64).reshape(len(matrix), -1)
    return _norms(np.linalg.svd(flat, compute_uv=False), float(np.abs(flat).sum(axis=1).max()))


def product_norms(b: np.ndarray, a: np.ndarray, scale: float = 1.0) -> Norms:
    """Norms of scale * b @ a: the update of an adapter.

    The singular values of b @ a are those of R_b @ R_a^T, of the QR decompositions of b and a^T: a matrix of r x r.

    Args:
        b: [d_out, r].
        a: [r, d_in].
        scale: alpha / r.

    Raises:
        ValueError: the factors do not fit together.
    """
    if b.ndim != 2 or a.ndim != 2 or b.shape[1] != a.shape[0]:
        raise ValueError(f"factors {b.shape} and {a.shape} given, expected [d_out, r] and [r, d_in]")
    b, a = np.asarray(b, dtype=np.float64) * scale, np.asarray(a, dtype=np.float64)
    core = np.asarray(np.linalg.qr(b, mode="r")) @ np.asarray(np.linalg.qr(a.T, mode="r")).T
    rows = max(1, _CELLS // a.shape[1])
    infinity = max(
        float(np.abs(b[start : start + rows] @ a).sum(axis=1).max()) for start in range(0, len(b), rows)
    )
    return _norms(np.linalg.svd(core, compute_uv=False), infinity)


def product_distance(
    now: tuple[np.ndarray, np.ndarray], start: tuple[np.ndarray, np.ndarray], scale: float = 1.0
) -> Norms:
    """Norms of scale * (b_now @ a_now - b_start @ a_start), by the stacked factors [b_now, -b_start], [a_now; a_start].

    Args:
        now: factors b [d_out, r] and a [r, d_in].
        start: those at the start.
        scale: alpha / r.
    """
    return product_norms(np.hstack([now[0], -start[0]]), np.vstack([now[1], start[1]]), scale)


def total(norms: Iterable[Norms]) -> Norms:
    """Norms of the block-diagonal matrix that holds several matrices.

    Args:
        norms: of each of them, at least one.
    """
    frobenius, nuclear, spectral, infinity = np.array(list(norms), dtype=np.float64).T
    return Norms(
        float(np.sqrt((frobenius**2).sum())),
        float(nuclear.sum()),
        float(spectral.max()),
        float(infinity.max()),
    )


def weight_norms(
    now: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], *, scale: float = 1.0
) -> list[dict[str, object]]:
    """Norms and distances of all weights of a model at a checkpoint.

    Of an adapter (weights `*.lora_A.weight` [r, d_in] and `*.lora_B.weight` [d_out, r]) the matrices are A, B and BA,
    the update scale * B A that is added to the frozen weight. Of other models they are W, all weights with two or more
    dimensions.

    Args:
        now: weights by name, as stored.
        start: those at step 0.
        scale: alpha / r of the adapters.

    Returns:
        One row a module, matrix and norm: module ('all' for all of them), matrix, norm, value, distance (from step 0).

    Raises:
        ValueError: the names differ, or there is no matrix.
    """
    if now.keys() != start.keys():
        raise ValueError(f"weights {sorted(now.keys() ^ start.keys())[:3]} are not in both checkpoints")
    found: dict[str, dict[str, tuple[Norms, Norms]]] = {}
    for name, matrix in now.items():
        if name.endswith(_LORA_B):
            module = name.removesuffix(_LORA_B)
            a = f"{module}{_LORA_A}"
            pairs = {
                "A": (dense_norms(now[a]), dense_norms(now[a] - start[a])),
                "B": (dense_norms(matrix), dense_norms(matrix - start[name])),
                "BA": (
                    product_norms(matrix, now[a], scale),
                    product_distance((matrix, now[a]), (start[name], start[a]), scale),
                ),
            }
        elif not name.endswith(_LORA_A) and matrix.ndim >= 2:
            module = name.removesuffix(".weight")
            pairs = {"W": (dense_norms(matrix), dense_norms(matrix - start[name]))}
        else:
            continue
        for kind, pair in pairs.items():
            found.setdefault(kind, {})[module] = pair
    if not found:
        raise ValueError(f"none of the {len(now)} weights has two dimensions")
    rows: list[dict[str, object]] = []
    for kind, modules in found.items():
        together = (total(norms for norms, _ in modules.values()), total(far for _, far in modules.values()))
        for module, (norms, distances) in {**modules, "all": together}.items():
            rows += [
                {"module": module, "matrix": kind, "norm": name, "value": value, "distance": distance}
                for name, value, distance in zip(Norms._fields, norms, distances, strict=True)
            ]
    return rows


_LORA_A, _LORA_B = ".lora_A.weight", ".lora_B.weight"


def _norms(singular_values: np.ndarray, infinity: float) -> Norms:
    return Norms(
        float(np.sqrt((singular_values**2).sum())),
        float(singular_values.sum()),
        float(singular_values.max()),
        infinity,
    )
