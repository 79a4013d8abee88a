"""PSMI, sliced mutual information and Mahalanobis distance at the sizes of the paper's studies.

    python -m benchmarks.sliced [--rounds 3]

Hidden states are made up: float32, four classes whose means differ. PSMI, whose directions need no matrix product, is timed
beside the product that directions drawn one by one would need, in the same precision and on the same threads, and beside the
authors' package `psmi`; also on such directions given to it. How its scores scatter over seeds is set beside theirs. Sliced mutual
information beside scikit-learn's estimator of one direction at a time; the Mahalanobis distance beside scikit-learn's
PCA followed by the product of all samples with all samples. Where the other side would take minutes, a part of it is
timed and scaled up, and the row says so.
"""

import numpy as np
import torch
from psmi import PSMI
from sklearn.decomposition import PCA
from sklearn.feature_selection import mutual_info_classif

from benchmarks.harness import Row, compared, in_turn, peak_megabytes, rounds_asked, write
from memo_assets.measures.directions import unit_directions
from memo_assets.measures.mahalanobis import mahalanobis
from memo_assets.measures.psmi import psmi, psmi_of_layers
from memo_assets.measures.smi import smi

CLASSES, DIRECTIONS, COMPONENTS = 4, 2000, 100
LARGE, ARC, LAYERS = (15_000, 4096), (1000, 4096), (32, 2000, 576)
SEEDS = 50
ESTIMATOR_DIRECTIONS = 20  # of scikit-learn's estimator, which takes seconds for them


def states(n: int, width: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states float32 [n, width] with a spectrum that falls off, and labels [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    scale = (np.arange(1, width + 1) ** -0.5).astype(np.float32)
    hidden = rng.standard_normal((n, width), dtype=np.float32) * scale
    hidden += (rng.standard_normal((CLASSES, width), dtype=np.float32) * scale * 0.5)[labels]
    return hidden, labels


def by_package(hidden: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """PSMI by the package of the paper's authors."""
    return PSMI(n_estimators=DIRECTIONS).fit_transform(hidden, labels)[0]


def one_layer(
    rounds: int, *, name: str, n: int, width: int, targets: tuple[float | None, float]
) -> list[Row]:
    """PSMI of one layer beside the bare product and the package."""
    hidden, labels = states(n, width)
    thetas = unit_directions(DIRECTIONS, width).astype(np.float32)
    out = np.empty((n, DIRECTIONS), np.float32)
    taken = in_turn(
        {
            "ours": lambda: psmi(hidden, labels, n_directions=DIRECTIONS),
            "product": lambda: np.matmul(hidden, thetas.T, out=out),
            "ours, directions given": lambda: psmi(hidden, labels, directions=thetas),
            "package psmi": lambda: by_package(hidden, labels),
        },
        rounds,
    )
    size = f"N={n}, d={width}, {DIRECTIONS} directions, {CLASSES} classes"
    against, factor = targets
    memory = peak_megabytes(lambda: psmi(hidden, labels, n_directions=DIRECTIONS))
    exact = psmi(hidden.astype(np.float64), labels, n_directions=DIRECTIONS).mean
    off = np.abs(psmi(hidden, labels, n_directions=DIRECTIONS).mean - exact).max()
    product = "bare matrix product with as many directions, float32 (times its time)"
    return [
        Row(f"PSMI, {name}: largest difference", size, "the same in float64 (nats)", float(off)),
        Row(
            f"PSMI, {name}",
            size,
            product,
            target=against,
            at_least=False,
            **compared(taken, "ours", "product", faster=False),
        ),
        Row(
            f"PSMI, {name}, directions given",
            size,
            product,
            at_least=False,
            **compared(taken, "ours, directions given", "product", faster=False),
        ),
        Row(
            f"PSMI, {name}",
            size,
            "package `psmi`",
            target=factor,
            **compared(taken, "ours", "package psmi"),
        ),
        Row(
            f"PSMI, {name}: peak memory",
            size,
            "its inputs (MB above them)",
            memory,
            target=250 if against else None,
            at_least=False,
        ),
    ]


def scatter(width: int) -> Row:
    """Variance of PSMI over seeds beside that with directions drawn one by one."""
    hidden, labels = states(300, width)

    def one_by_one(seed: int) -> np.ndarray:
        return psmi(hidden, labels, directions=unit_directions(DIRECTIONS, width, seed)).mean

    def ours(seed: int) -> np.ndarray:
        return psmi(hidden, labels, n_directions=DIRECTIONS, seed=seed).mean

    drawn, independent = (
        np.array([score(seed) for seed in range(SEEDS)]).var(axis=0).sum() for score in (ours, one_by_one)
    )
    return Row(
        "PSMI: variance of a score over seeds",
        f"N=300, d={width}, {DIRECTIONS} directions, {SEEDS} seeds",
        "that with directions drawn one by one (times it)",
        float(drawn / independent),
        at_least=False,
    )


def all_layers(rounds: int) -> list[Row]:
    """PSMI of all layers of a model in one call."""
    n_layers, n, width = LAYERS
    layers = [states(n, width, seed=layer)[0] for layer in range(n_layers)]
    labels = states(n, width)[1]
    few = 4
    thetas = unit_directions(DIRECTIONS, width).astype(np.float32)
    taken = in_turn(
        {
            "one call": lambda: list(psmi_of_layers(layers, labels, n_directions=DIRECTIONS)),
            "layer by layer": lambda: [psmi(hidden, labels, n_directions=DIRECTIONS) for hidden in layers],
            "package psmi": lambda: [by_package(hidden, labels) for hidden in layers[:few]],
            "products": lambda: [hidden @ thetas.T for hidden in layers],
        },
        rounds,
    )
    size = f"{n_layers} layers, N={n}, d={width}, {DIRECTIONS} directions"
    return [
        Row(
            "PSMI, all layers of a model",
            size,
            "package `psmi`",
            target=10,
            note=f"{few} layers timed, times {n_layers // few}",
            **compared(taken, "one call", "package psmi", scale=n_layers / few),
        ),
        Row(
            "PSMI, all layers of a model",
            size,
            "bare matrix products with as many directions, float32 (times their time)",
            **compared(taken, "one call", "products", faster=False),
        ),
        Row(
            "PSMI, all layers of a model",
            size,
            "one call a layer",
            **compared(taken, "one call", "layer by layer"),
        ),
    ]


def mutual_information(rounds: int) -> list[Row]:
    """Sliced mutual information beside scikit-learn, whose values must be the same."""
    n, width = LARGE[0], 576
    hidden, labels = states(n, width)
    thetas = unit_directions(DIRECTIONS, width)
    few = (
        (torch.from_numpy(thetas[:ESTIMATOR_DIRECTIONS]).float() @ torch.from_numpy(hidden).T)
        .double()
        .numpy()
    )

    def estimator() -> np.ndarray:
        return np.array(
            [mutual_info_classif(x[:, None], labels, n_neighbors=3, random_state=0)[0] for x in few]
        )

    taken = in_turn(
        {
            "ours": lambda: smi(hidden, labels, directions=thetas, n_neighbors=3),
            "scikit-learn": estimator,
        },
        rounds,
    )
    ours = smi(hidden, labels, directions=thetas[:ESTIMATOR_DIRECTIONS], n_neighbors=3).per_direction
    size = f"N={n}, d={width}, {DIRECTIONS} directions, k=3"
    return [
        Row(
            "SMI",
            size,
            "scikit-learn `mutual_info_classif`",
            target=10,
            note=f"{ESTIMATOR_DIRECTIONS} directions of scikit-learn timed without their projection, "
            f"times {DIRECTIONS // ESTIMATOR_DIRECTIONS}",
            **compared(taken, "ours", "scikit-learn", scale=DIRECTIONS / ESTIMATOR_DIRECTIONS),
        ),
        Row(
            "SMI: largest difference",
            size,
            "scikit-learn (nats)",
            float(np.abs(ours - estimator()).max()),
            target=1e-9,
            at_least=False,
        ),
    ]


def distances(rounds: int) -> list[Row]:
    """Mahalanobis distance beside PCA and the product of all samples with all samples."""
    n, width = LARGE
    hidden, _ = states(n, width)

    def plain() -> np.ndarray:
        projected = PCA(COMPONENTS, svd_solver="full").fit_transform(hidden.astype(np.float64))
        precision = np.linalg.inv(np.cov(projected.T, bias=True))
        return np.sqrt(np.diag(projected @ precision @ projected.T))

    taken = in_turn({"ours": lambda: mahalanobis(hidden, n_components=COMPONENTS), "plain": plain}, rounds)
    exact, first, again = plain(), *(mahalanobis(hidden, n_components=COMPONENTS) for _ in range(2))
    size = f"N={n}, d={width}, {COMPONENTS} components"
    return [
        Row(
            "Mahalanobis",
            size,
            "full PCA, then the N x N product",
            target=4,
            **compared(taken, "ours", "plain"),
        ),
        Row(
            "Mahalanobis: largest relative error",
            size,
            "the same, exact",
            float(np.abs(first / exact - 1).max()),
            target=1e-3,
            at_least=False,
            note=f"twice the same bits: {bool((first == again).all())}",
        ),
        Row(
            "Mahalanobis: peak memory",
            size,
            "its inputs (MB above them; an N x N matrix has 1800)",
            peak_megabytes(lambda: mahalanobis(hidden, n_components=COMPONENTS)),
        ),
    ]


def main() -> None:
    """All rows, largest first."""
    rounds = rounds_asked(__doc__, 3)
    rows = one_layer(rounds, name="one layer", n=LARGE[0], width=LARGE[1], targets=(1.3, 4))
    rows += one_layer(rounds, name="ARC size", n=ARC[0], width=ARC[1], targets=(None, 4))
    rows += [
        scatter(LAYERS[2]),
        scatter(LARGE[1]),
        *all_layers(rounds),
        *mutual_information(rounds),
        *distances(rounds),
    ]
    write("sliced", rows)


if __name__ == "__main__":
    main()
