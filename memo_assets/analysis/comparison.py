"""What the studies of the warehouse have in common, study beside study."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import duckdb
import numpy as np
import pandas as pd

from memo_assets.analysis.evaluation import roc_curves
from memo_assets.analysis.frames import SHOWN
from memo_assets.analysis.published import PUBLISHED, PUBLISHED_MEAN_FPR
from memo_assets.config import Study

MAX_GRID_EPOCHS = 5


@dataclass(frozen=True)
class Comparison:
    """The studies that are compared.

    Attributes:
        connection: on the warehouse.
        there: studies whose first audited model has been evaluated.
        missing: the others.
    """

    connection: duckdb.DuckDBPyConnection
    there: tuple[Study, ...]
    missing: tuple[Study, ...]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, studies: Iterable[Study]) -> "Comparison":
        """Sort studies into those in the warehouse and those not.

        Args:
            connection: on the warehouse.
            studies: in the order in which they are to be shown.
        """
        rows = connection.execute("SELECT DISTINCT study, target_seed FROM predictor_evaluation").fetchall()
        studies, known = tuple(studies), set(rows)
        there = tuple(study for study in studies if (study.name, study.shadows.audited[0]) in known)
        return cls(connection, there, tuple(study for study in studies if study not in there))

    def judged(self, study: Study) -> pd.DataFrame:
        """Rows of `predictor_evaluation`, last layers, at the prediction epoch; at the last one if there is none."""
        table = self.judged_layers(study)
        return table[table["is_last_layer"]].reset_index(drop=True)

    def judged_layers(self, study: Study) -> pd.DataFrame:
        """The same rows of all layers."""
        query = """
            SELECT * FROM predictor_evaluation WHERE study = ? AND target_seed = ?
            QUALIFY epoch = coalesce(max(epoch) FILTER (is_prediction_epoch) OVER (), max(epoch) OVER ())
            ORDER BY predictor, layer
        """
        return self.connection.execute(query, [study.name, study.shadows.audited[0]]).df()


def predictors_over_studies(comparison: Comparison) -> pd.DataFrame:
    """Study (its title), predictor, fpr at TPR .75 of the shown predictors, in the order in which they are drawn."""
    frames = [pd.DataFrame(columns=["study", "predictor", "fpr"])]
    for study in comparison.there:
        fprs = comparison.judged(study).set_index("predictor")["fpr_at_tpr"].reindex(SHOWN)
        frames.append(pd.DataFrame({"study": study.title, "predictor": SHOWN, "fpr": fprs.to_numpy()}))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def mean_fprs(points: pd.DataFrame) -> pd.DataFrame:
    """Predictor, mean FPR over the studies of `predictors_over_studies`, published mean over the paper's studies.

    The mean is nan where a study lacks a value, for a mean over the others would mislead, or where there is but one.
    """
    studies = points["study"].nunique()
    means = [
        {
            "predictor": predictor,
            "mean": group["fpr"].mean(skipna=False) if studies > 1 else np.nan,
            "published": PUBLISHED_MEAN_FPR.get(str(predictor), np.nan),
        }
        for predictor, group in points.groupby("predictor", sort=False)
    ]
    return pd.DataFrame(means, columns=["predictor", "mean", "published"])


def best_layers(comparison: Comparison) -> pd.DataFrame:
    """The layer whose PSMI has the lowest FPR at TPR .75: name, study (its title), layers, best_layer, fpr.

    layers is the number of layers judged; published_best_layer is nan where nothing was published of a study.
    """
    rows = []
    for study in comparison.there:
        table = comparison.judged_layers(study)
        psmi = table[table["predictor"] == "psmi"]
        best = psmi.iloc[int(psmi["fpr_at_tpr"].to_numpy().argmin())]
        known = PUBLISHED.get(study.name)
        rows.append(
            {
                "name": study.name,
                "study": study.title,
                "layers": len(psmi),
                "best_layer": int(best["layer"]),
                "fpr": float(best["fpr_at_tpr"]),
                "published_best_layer": known.best_layer if known else np.nan,
            }
        )
    columns = ["name", "study", "layers", "best_layer", "fpr", "published_best_layer"]
    return pd.DataFrame(rows, columns=columns)


def default_rules(comparison: Comparison) -> pd.DataFrame:
    """The rule PSMI < 0 in the last layer: name, study (its title), epoch, fpr, tpr; then what was published.

    published_epoch, published_fpr and published_tpr are nan where nothing was published of a study.
    """
    rows = []
    for study in comparison.there:
        table = comparison.judged(study)
        psmi = table.loc[table["predictor"] == "psmi"].iloc[0]
        known = PUBLISHED.get(study.name)
        rows.append(
            {
                "name": study.name,
                "study": study.title,
                "epoch": psmi["epoch"],
                "fpr": psmi["rule_fpr"],
                "tpr": psmi["rule_tpr"],
                "published_epoch": known.prediction_epoch if known else np.nan,
                "published_fpr": known.rule_fpr if known else np.nan,
                "published_tpr": known.rule_tpr if known else np.nan,
            }
        )
    columns = ["name", "study", "epoch", "fpr", "tpr", "published_epoch", "published_fpr", "published_tpr"]
    return pd.DataFrame(rows, columns=columns)


def roc_grid(comparison: Comparison) -> pd.DataFrame:
    """Study (its title), epoch, predictor, fpr, tpr, auc at up to MAX_GRID_EPOCHS trained checkpoints of each study."""
    frames = [pd.DataFrame(columns=["study", "epoch", "predictor", "fpr", "tpr", "auc"])]
    for study in comparison.there:
        target = study.shadows.audited[0]
        query = "SELECT DISTINCT epoch FROM predictor_evaluation WHERE study = ? AND target_seed = ? AND epoch > 0 ORDER BY 1"
        epochs = [row[0] for row in comparison.connection.execute(query, [study.name, target]).fetchall()]
        places = np.linspace(0, len(epochs) - 1, min(MAX_GRID_EPOCHS, len(epochs))).round().astype(int)
        for place in places:
            epoch = cast("float", epochs[place])
            shown = ["psmi", "loss", "logit_gap", "mahalanobis"]
            curves = roc_curves(comparison.connection, study.name, target, epoch=epoch, predictors=shown)
            frames.append(curves.drop(columns="layer").assign(study=study.title, epoch=epoch))
    return pd.concat(frames[1:] or frames, ignore_index=True)
