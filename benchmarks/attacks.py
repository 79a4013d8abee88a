"""Scores of attacks from the outputs of all shadow models, beside loops over samples or models.

    python -m benchmarks.attacks [--rounds 5]

Outputs are made up. The loops are numpy written for one sample, or one model, at a time: what one writes down first from
the formulas. Of the loops over samples only some samples are timed, and scaled up; the rows say so.
"""

import numpy as np
from scipy.stats import norm

from benchmarks.harness import Row, compared, in_turn, rounds_asked, write
from memo_assets.measures.lira import log_lira, log_lira_loo, logit_gap
from memo_assets.measures.population import population

MODELS, SAMPLES, OPTIONS = 100, 15_000, 4
POOL = 30_000
VISION = (500, 64, 2)  # samples, models, queries
FEW = 150  # samples that loops are timed on


def outputs(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Option logits float32 [S, n, C], labels [n], and who was trained on what, bool [S, n]."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((MODELS, n, OPTIONS), dtype=np.float32)
    labels = rng.integers(0, OPTIONS, n)
    inside = rng.random((MODELS, n)) < 0.5
    logits[:, np.arange(n), labels] += 2 * inside
    inside[0] = True  # the target's training samples are all of them
    return logits, labels, inside


def local_labels(rounds: int) -> Row:
    """log-LiRA of one target model, from option logits."""
    logits, labels, inside = outputs(SAMPLES)

    def ours() -> np.ndarray:
        return log_lira(logit_gap(logits, labels), inside, 0)

    def loop() -> list[float]:
        found = []
        for sample in range(FEW):
            gaps = []
            for model in range(MODELS):
                own = logits[model, sample, labels[sample]]
                others = [
                    logits[model, sample, option] for option in range(OPTIONS) if option != labels[sample]
                ]
                gaps.append(float(own) - float(max(others)))
            with_it = [gaps[model] for model in range(1, MODELS) if inside[model, sample]]
            without = [gaps[model] for model in range(1, MODELS) if not inside[model, sample]]
            found.append(
                norm.logpdf(gaps[0], np.mean(with_it), np.std(with_it))
                - norm.logpdf(gaps[0], np.mean(without), np.std(without))
            )
        return found

    np.testing.assert_allclose(ours()[:FEW], loop(), rtol=1e-5)
    taken = in_turn({"ours": ours, "loop": loop}, rounds)
    return Row(
        "log-LiRA from logits",
        f"{MODELS} models x {SAMPLES} samples",
        "Python loop over samples",
        target=300,
        note=f"{FEW} samples of the loop timed, times {SAMPLES // FEW}",
        **compared(taken, "ours", "loop", scale=SAMPLES / FEW),
    )


def population_measures(rounds: int) -> Row:
    """All measures of population memorization."""
    logits, labels, inside = outputs(POOL)
    gaps = logit_gap(logits, labels).astype(np.float64)
    losses = np.log1p(np.exp(-gaps))

    def loop() -> list[tuple[float, ...]]:
        found = []
        for sample in range(FEW):
            with_it = [gaps[model, sample] for model in range(MODELS) if inside[model, sample]]
            without = [gaps[model, sample] for model in range(MODELS) if not inside[model, sample]]
            means, sds = (np.mean(with_it), np.mean(without)), (np.std(with_it), np.std(without))
            guessed = 0
            for model in range(MODELS):
                gap = gaps[model, sample]
                ratio = norm.logpdf(gap, means[0], sds[0]) - norm.logpdf(gap, means[1], sds[1])
                guessed += (ratio > 0) == inside[model, sample]
            of_all = [gaps[model, sample] for model in range(MODELS)]
            found.append(
                (
                    means[0] - means[1],
                    means[0] + means[1],
                    guessed / MODELS,
                    float(np.mean(of_all)),
                    float(np.std(of_all, ddof=1)),
                    float(np.mean([losses[model, sample] for model in range(MODELS)])),
                )
            )
        return found

    def ours() -> dict[str, np.ndarray]:
        return population(gaps, losses, inside)

    np.testing.assert_allclose(np.stack(list(ours().values()), axis=1)[:FEW], loop(), rtol=1e-9)
    taken = in_turn({"ours": ours, "loop": loop}, rounds)
    return Row(
        "all population measures in one pass",
        f"{MODELS} models x {POOL} samples",
        "Python loop over samples",
        target=500,
        note=f"{FEW} samples of the loop timed, times {POOL // FEW}",
        **compared(taken, "ours", "loop", scale=POOL / FEW),
    )


def leave_one_out(rounds: int) -> Row:
    """Log-LiRA of every model against all others, averaged over queries."""
    n, models, queries = VISION
    rng = np.random.default_rng(0)
    member = rng.random((n, models)) < 0.5
    scores = rng.standard_normal((n, models, queries)) + 2 * member[:, :, None]

    def loop() -> np.ndarray:
        found = np.empty((n, models))
        for model in range(models):
            rest = np.delete(np.arange(models), model)
            values, inside = scores[:, rest], member[:, rest, None]
            own = scores[:, model]
            with_it, without = (
                np.ma.array(values, mask=~np.broadcast_to(side, values.shape)) for side in (inside, ~inside)
            )
            ratio = norm.logpdf(
                own, with_it.mean(axis=1).filled(np.nan), with_it.std(axis=1, ddof=1).filled(np.nan)
            ) - norm.logpdf(
                own, without.mean(axis=1).filled(np.nan), without.std(axis=1, ddof=1).filled(np.nan)
            )
            found[:, model] = ratio.mean(axis=1)
        return found

    def ours() -> np.ndarray:
        return log_lira_loo(scores, member)

    np.testing.assert_allclose(ours(), loop(), rtol=1e-8)
    taken = in_turn({"ours": ours, "loop": loop}, rounds)
    return Row(
        "leave-one-out LiRA",
        f"{n} samples x {models} models x {queries} queries",
        "loop over models",
        target=25,
        **compared(taken, "ours", "loop"),
    )


def main() -> None:
    """All rows."""
    rounds = rounds_asked(__doc__, 5)
    write("attacks", [local_labels(rounds), population_measures(rounds), leave_one_out(rounds)])


if __name__ == "__main__":
    main()
