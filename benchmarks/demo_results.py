"""`make results`: the demo studies on fresh data seeds, as the table in the README.

Every data seed draws other items and other label noise, in a warehouse of its own below `warehouse/results/`. What is
fresh there is not run again.
"""

import argparse
import os
import time
from pathlib import Path

from memo_assets.analysis.facts import Facts, facts, results
from memo_assets.analysis.frames import Subject
from memo_assets.config import Study
from memo_assets.definitions import build_defs
from memo_assets.instance import open_instance
from memo_assets.pipeline import bring_up_to_date
from memo_assets.store.layout import WAREHOUSE_VARIABLE, warehouse_dir
from memo_assets.store.tables import reading
from memo_assets.study import load_study

STUDIES = ["digits", "cities"]
MARKS = ("<!-- results:start -->", "<!-- results:end -->")


class Lines:
    """Prints a line as each asset starts."""

    def asset_started(self, study: Study, name: str, partitions: int) -> None:
        print(f"{time.strftime('%H:%M:%S')} {study.name} (data seed {study.data_seed}): {name}", flush=True)

    def partition_done(self, study: Study, name: str, partition: str | None) -> None:
        pass

    def check_warned(self, study: Study, name: str, sentence: str) -> None:
        print(f"warning: {study.name}/{name}: {sentence}", flush=True)

    def on_progress(self, item: object, progress: object) -> None:
        pass

    def on_log(self, item: object, text: str) -> None:
        pass

    def on_state(self, text: str) -> None:
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--readme", type=Path, help="write the table between its marks in this file")
    arguments = parser.parse_args()
    root = warehouse_dir() / "results"
    rows = []
    for seed in arguments.data_seeds:
        os.environ[WAREHOUSE_VARIABLE] = str(root / f"data_seed={seed}")
        os.environ.pop("DAGSTER_HOME", None)
        for name in STUDIES:
            study = load_study(name).model_copy(update={"data_seed": seed})
            watcher = Lines()
            with open_instance() as instance:
                bring_up_to_date(study, build_defs([study], {"observer": watcher}), instance, watcher)
            os.environ.pop("DAGSTER_HOME", None)
            with reading() as connection:
                rows.append((name, row(Subject(connection, study, study.shadows.audited[0]))))
    rows.sort(key=lambda pair: pair[0])
    table = "\n".join([HEAD, *(text for _, text in rows)])
    print(table)
    if arguments.readme:
        text = arguments.readme.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        arguments.readme.write_text(
            f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8"
        )


HEAD = """\
| study, data seed | accuracy train / test | noisy / wrong labels / canaries in the top 10 % | epoch | PSMI last layer | PSMI best layer | loss | logit gap | random |
|---|---|---|---|---|---|---|---|---|"""


def row(subject: Subject) -> str:
    """One row: AUC and, after the slash, FPR at TPR .75 of each predictor at the prediction epoch."""
    known: Facts = facts(subject)
    table = results(subject)

    def cell(predictor: str, layer: str) -> str:
        found = table[(table["predictor"] == predictor) & table[layer]].iloc[0]
        return f"{found['auc']:.3f} / {found['fpr_at_tpr']:.3f}"

    cells = [cell("psmi", "is_last_layer"), cell("psmi", "is_best_layer")]
    cells += [cell(name, "is_last_layer") for name in ("loss", "logit_gap", "random")]
    epoch = subject.prediction_epoch
    return (
        f"| {subject.study.name}, {subject.study.data_seed} "
        f"| {known.train_accuracy:.3f} / {known.test_accuracy:.3f} | {known.noisy_in_top:.0%} / {known.wrong_in_top:.0%} / "
        f"{'none' if known.canaries_in_top is None else f'{known.canaries_in_top:.0%}'} "
        f"| {'none' if epoch is None else f'{epoch:g}'} | {' | '.join(cells)} |"
    )


if __name__ == "__main__":
    main()
