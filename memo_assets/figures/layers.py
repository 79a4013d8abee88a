"""False positive rate of layer-wise predictors by layer."""

import pandas as pd
import plotly.graph_objects as go

from memo_assets.figures.frames import finite, require_columns
from memo_assets.figures.theme import legend_below, message_figure, predictor_color, predictor_label, style


def fpr_by_layer(points: pd.DataFrame, *, title: str, loss_fpr: float | None, tpr: float) -> go.Figure:
    """FPR at the TPR objective over layers, a line a predictor, its best layer ringed; the loss as a dashed line.

    Args:
        points: One row a predictor and layer: predictor, layer, fpr.
        title: Title of the figure.
        loss_fpr: FPR of the loss, which has no layer; None if unknown.
        tpr: The TPR objective, for the axis title.

    Raises:
        ValueError: A column is missing, or a row has no layer.
    """
    require_columns(points, ["predictor", "layer", "fpr"], "points")
    names = sorted(set(points.loc[points["layer"].isna(), "predictor"]))
    if names:
        raise ValueError(f"points of {', '.join(names)} have no layer; give only predictors that have one")
    kept = finite(points, ["layer", "fpr"])
    if kept.empty:
        return message_figure(title, "No layer has been evaluated yet.")
    figure = style(go.Figure(), title, "Lower is better · ring: the predictor's best layer")
    for name, rows in kept.groupby("predictor", sort=False):
        curve = rows.sort_values("layer")
        best = curve.iloc[int(curve["fpr"].to_numpy().argmin())]
        label, color = predictor_label(str(name)), predictor_color(str(name))
        figure.add_scatter(
            x=curve["layer"].to_numpy(), y=curve["fpr"].to_numpy(), mode="lines+markers", marker={"size": 7},
            line={"color": color, "width": 2.4}, name=f"{label} · best {best['fpr']:.3f} at layer {best['layer']:.0f}",
            hovertemplate=f"{label}, layer %{{x}}: FPR %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[best["layer"]], y=[best["fpr"]], mode="markers", showlegend=False, hoverinfo="skip", name=f"{label}, best",
            marker={"symbol": "circle-open", "size": 15, "color": color, "line": {"width": 2}},
        )  # fmt: skip
    layers = kept["layer"].to_numpy()
    first, last = float(layers.min()), float(layers.max())
    pad = max(0.3, 0.03 * (last - first))
    if loss_fpr is not None:
        figure.add_scatter(
            x=[first - pad, last + pad], y=[loss_fpr, loss_fpr], mode="lines", name=f"Loss · {loss_fpr:.3f}",
            line={"color": predictor_color("loss"), "width": 2, "dash": "dash"},
            hovertemplate="Loss: FPR %{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Layer", range=[first - pad, last + pad], tickformat="d")
    if last - first <= 16:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title_text=f"FPR at TPR {tpr:g}", rangemode="tozero", tickformat=".2f")
    legend_below(figure)
    return figure
