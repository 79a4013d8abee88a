"""The page of an audit: from its summary and tables to one HTML text that needs no network.

What belongs here: what the page says and in which order. What does not: the page around it (`page`), figures (`audit`).
"""

from typing import Any

import pandas as pd

from memo_assets.figures import audit as figures
from memo_assets.figures.page import page_html
from memo_assets.figures.report import Tile
from memo_assets.figures.report_tables import NONE, Cell, Column, Table, fixed, number, percent, text_of

ROWS_SHOWN, ROWS_KEPT = 25, 500

CONTROLS = {
    "wrong_label": "planted: wrong label",
    "rare_string": "planted: random letters",
    "right_label": "planted: right label",
    "duplicate": "planted: copies",
}


def audit_html(summary: dict[str, Any], at_risk: pd.DataFrame, losses: pd.DataFrame) -> str:
    """The page, about 5 MB; the same content gives the same text.

    Args:
        summary: `audit.summary.AuditSummary` as JSON values.
        at_risk: one row a sample, most at risk first, as in `audit.result.AuditResult`.
        losses: epoch, median_loss of each forward pass.
    """
    return page_html(
        "audit.html.j2",
        figures=_figures(summary, at_risk, losses),
        kind="Memorization audit",
        title=summary["data"]["source"],
        note=summary["model"]["note"],
        headline=headline(summary),
        tiles=tiles(summary),
        message=summary["run"]["message"],
        reached=summary["run"]["reached"],
        at_risk=at_risk_table(at_risk),
        n_flagged=summary["risk"]["share"]["successes"],
        rows_shown=ROWS_SHOWN,
        rows_kept=min(ROWS_KEPT, len(at_risk)),
        n_rows=len(at_risk),
        controls=_controls_table(summary),
        controls_refused=summary["controls_refused"],
        calibration=_calibration_table(summary),
        calibration_note=None if summary["calibration"] is None else summary["calibration"]["note"],
        labels=summary["data"]["labels"],
        answers=summary["data"]["answers_in_words"],
        tested=summary["tested"],
        not_tested=summary["not_tested"],
        cost=_cost(summary),
        settings={name: text_of(value) for name, value in summary["settings"].items()},
        provenance=_provenance(summary),
    )


def headline(summary: dict[str, Any]) -> str:
    """The result in words a manager can read."""
    share, rows = summary["risk"]["share"], summary["data"]["rows"]
    flagged = share["successes"]
    found = (
        f"{flagged:,} of {rows:,} training samples ({percent(flagged / rows)}) are at risk of being memorized by a model fine-tuned "
        "on them: someone who can query the model may be able to tell that they were in the training set."
    )
    if not summary["run"]["reached"]:
        return f"{found} This is no early warning as studied: the loss never became low enough."
    return found


def tiles(summary: dict[str, Any]) -> list[Tile]:
    """The numbers at the top with their names, in reading order."""
    risk, run, cost = summary["risk"], summary["run"], summary["cost"]
    share, calibration = risk["share"], summary["calibration"]
    precision = None if calibration is None else calibration["precision"]
    trust = (
        "not measured: --shadows 8 or more"
        if precision is None
        else "of flagged samples are memorized, by few shadows"
    )
    return [
        Tile(
            "Samples at risk",
            number(share["successes"]),
            f"of {number(share['trials'])}, by the rule PSMI < 0",
        ),
        Tile("Share at risk", percent(share["value"]), _interval(share)),
        Tile("Precision", NONE if precision is None else _rate(precision), trust),
        Tile(
            "Suspected label errors",
            number(risk["suspected_label_errors"]),
            "labels that the model contradicts",
        ),
        Tile("Samples with copies", number(risk["exact_duplicates"]), "their text occurs more than once"),
        Tile(
            "Prediction epoch" if run["reached"] else "Never low enough",
            fixed(run["epoch"], 2),
            f"{number(run['steps'])} steps, {percent(cost['of_full_run'], 0)} of the run that is planned",
        ),
        Tile("Time", f"{number(cost['seconds'])} s", "wall time of the whole audit"),
        Tile(
            "Model",
            summary["model"]["name"].rsplit("/", 1)[-1],
            f"{number(summary['model']['parameters'])} weights",
        ),
    ]


def at_risk_table(table: pd.DataFrame) -> Table:
    """The riskiest samples, as many as ROWS_KEPT."""
    shows_text = "text" in table
    columns = [Column("Rank", True), Column("Sample")]
    columns += [Column("Text")] * shows_text
    columns += [
        Column("Label"),
        Column("Flagged", hint="PSMI of the last layer below 0"),
        Column(
            "PSMI",
            True,
            "Pointwise sliced mutual information of hidden state and label, in nats; low is at risk",
        ),
        Column("Loss", True),
        Column(
            "Suspected label",
            hint="What the model holds for the true label, where it contradicts the given one",
        ),
        Column("Most similar", hint="The other sample whose text is most alike, and how much: 1 is equal"),
    ]
    rows = []
    for row in table.head(ROWS_KEPT).to_dict("records"):
        similar = NONE if pd.isna(row["similarity"]) else f"{row['nearest']} ({row['similarity']:.2f})"
        cells = [Cell(number(row["rank"])), Cell(str(row["item_id"]))]
        if shows_text:
            cells.append(Cell(_shortened(str(row["text"])), kind="long"))
        cells += [
            Cell(text_of(row["label"])),
            Cell("at risk", kind="noisy") if row["flagged"] else Cell(NONE),
            Cell(fixed(row["psmi"])),
            Cell(number(row["loss"])),
            Cell(text_of(row["suspected_label"])),
            Cell(similar),
        ]
        rows.append(cells)
    return Table(columns, rows)


def _figures(summary: dict[str, Any], at_risk: pd.DataFrame, losses: pd.DataFrame) -> list:
    run = summary["run"]
    named = at_risk.assign(name=[_shortened(str(name), 40) for name in at_risk["item_id"]])
    drawn = [
        (
            "How the samples are spread",
            "Samples left of 0 are flagged: what the model has in mind when it answers speaks against their label.",
            figures.psmi_histogram(at_risk, title="PSMI of the samples"),
        ),
        (
            "PSMI beside the loss",
            "A flagged sample with a low loss is one that the loss alone would not show: it is learned already.",
            figures.psmi_against_loss(named, title="PSMI and loss"),
        ),
        (
            "How the loss fell",
            "The run stops where the median loss is low: most samples are learned, few are learned by heart yet.",
            figures.median_loss(
                losses,
                title="Median loss",
                objective=(1 - run["drop"]) * run["reference_loss"],
                reached=run["epoch"] if run["reached"] else None,
            ),
        ),
    ]
    if summary["controls"]:
        points = figures.control_points(summary["controls"], summary["risk"]["share"], CONTROLS)
        drawn.append(
            (
                "Controls",
                "Planted samples that can only be learned by heart should be flagged (blue, to the right); planted ordinary ones "
                "no more often than yours (red, to the left).",
                figures.rates(points, title="Flagged", subtitle="Share of each kind that the rule flags"),
            )
        )
    if summary["calibration"] is not None:
        kinds = {"precision": "good", "recall": "good", "false_positive_rate": "bad"}
        points = pd.DataFrame(
            [
                {
                    "name": name.replace("_", " "),
                    "kind": kind,
                    **figures.interval(summary["calibration"][name]),
                }
                for name, kind in kinds.items()
            ]
        )
        drawn.append(
            (
                "Calibration",
                "The rule judged by labels of the shadow models.",
                figures.rates(
                    points, title="The rule by shadow models", subtitle="Blue: more is better; red: less"
                ),
            )
        )
    return drawn


def _controls_table(summary: dict[str, Any]) -> Table | None:
    if not summary["controls"]:
        return None
    columns = [
        Column("Planted samples"),
        Column("What they are"),
        Column("Expected"),
        Column("Flagged", True, "Share flagged by the rule, with its 95 % interval"),
        Column("Label suspected", True, "Share whose label the model contradicts"),
    ]
    rows = [
        [
            Cell(_control(one["kind"]).removeprefix("planted: ")),
            Cell(one["meaning"], kind="long"),
            Cell(one["expected"]),
            Cell(f"{_rate(one['flagged'])} {_interval(one['flagged'])}"),
            Cell(_rate(one["suspected"])),
        ]
        for one in summary["controls"]
    ]
    return Table(columns, rows)


def _calibration_table(summary: dict[str, Any]) -> Table | None:
    found = summary["calibration"]
    if found is None:
        return None
    meanings = {
        "precision": "of the flagged samples, those that are memorized",
        "recall": "of the memorized samples, those that are flagged",
        "false_positive_rate": "of the samples not memorized, those that are flagged",
    }
    rows = [
        [Cell(name.replace("_", " ")), Cell(meaning), Cell(_rate(found[name])), Cell(_interval(found[name]))]
        for name, meaning in meanings.items()
    ]
    return Table(
        [Column("Rate"), Column("Meaning"), Column("Value", True), Column("95 % interval", True)], rows
    )


def _cost(summary: dict[str, Any]) -> dict[str, str]:
    cost = summary["cost"]
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in cost["seconds_by_part"].items())
    return {
        "wall time": f"{cost['seconds']:.1f} s: {parts}",
        "training": f"{number(cost['samples_trained'])} samples, {percent(cost['of_full_run'], 0)} of the steps of the planned run",
        "forward": f"{number(cost['samples_run_forward'])} samples",
        "largest memory": f"{cost['peak_memory_bytes'] / 1e9:.2f} GB",
    }


def _provenance(summary: dict[str, Any]) -> dict[str, str]:
    data, model = summary["data"], summary["model"]
    return {
        "created": summary["created"],
        "data": f"{data['source']}, {data['rows']:,} rows, SHA-256 {data['sha256']}",
        "model": f"{model['name']}, version {model['version']}",
        "prompt": data["template"],
        "prompts cut": f"{data['cut_prompts']:,}",
        **summary["versions"],
    }


def _control(kind: str) -> str:
    """Name of a kind of control: of a planted one its title, of a study's own what it is called there."""
    return CONTROLS.get(kind, kind)


def _rate(rate: dict[str, Any]) -> str:
    return "refused: too few" if rate["value"] is None else percent(rate["value"])


def _interval(rate: dict[str, Any]) -> str:
    return NONE if rate["low"] is None else f"{percent(rate['low'])} to {percent(rate['high'])}"


def _shortened(text: str, longest: int = 300) -> str:
    return text if len(text) <= longest else f"{text[:longest].rstrip()} ..."
