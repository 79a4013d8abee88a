"""The command `memo compare`."""

from typing import Annotated

import typer

from memo_assets.cli_output import console, fail, writable


def compare(
    names: Annotated[
        list[str] | None, typer.Argument(help="Studies whose rule is printed; by default all.")
    ] = None,
) -> None:
    """Compare the studies of the warehouse: draw the figures over studies and print PSMI's default rule.

    Figures and page are of all studies, as in the web UI. A study that has not been evaluated yet is named, and left
    out.
    """
    from memo_assets.analysis.comparison import Comparison, default_rules
    from memo_assets.config.base import COMPARISON
    from memo_assets.console import comparison_table
    from memo_assets.definitions import build_defs
    from memo_assets.instance import open_instance
    from memo_assets.pipeline import RunFailed, run_comparison
    from memo_assets.store.layout import Layout
    from memo_assets.store.tables import WarehouseError, reading
    from memo_assets.study import StudyError, load_studies, load_study

    try:
        studies = load_studies()
        shown = [load_study(name) for name in names] if names else list(studies.values())
        with reading() as connection:
            compared = Comparison.of(connection, shown)
            missing = [study.name for study in compared.missing]
            table = comparison_table(default_rules(compared))
    except (StudyError, WarehouseError, OSError) as error:
        fail(str(error))
    # A study of another folder is drawn as well; else the definitions are those of the web UI, code versions and all.
    drawn = {**studies, **{study.name: study for study in shown}}
    with writable(), open_instance() as instance:
        try:
            run_comparison(build_defs(drawn.values()), instance)
        except RunFailed as error:
            fail(str(error))
    console.print(table)
    if missing:
        console.print(f"not there yet: {', '.join(missing)}; memo demo NAME runs a study")
    layout = Layout.of(COMPARISON)
    console.print(f"figures: {layout.root / 'figures'}", soft_wrap=True)
    console.print(f"page: {layout.report}", soft_wrap=True)
