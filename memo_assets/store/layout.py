"""Where files lie below the warehouse directory. Paths only: nothing is read or written here."""

import os
from dataclasses import dataclass
from pathlib import Path

WAREHOUSE_VARIABLE = "MEMO_WAREHOUSE"
DATABASE_NAME = "memo.duckdb"
TRIGGER_FOLDER = "trigger"  # of a checkpoint at a model's own trigger, whose epoch may be close to another's

SEED_IN_NAME = r"regexp_extract(filename, 'seed=(\d+)\.parquet$', 1)::INTEGER"
"""The split seed in the name of a file, in SQL; read_parquet takes `filename = true`."""


def warehouse_dir() -> Path:
    """The warehouse directory: MEMO_WAREHOUSE, else `warehouse/` beside the project's workspace.yaml or here.

    Raises:
        NotADirectoryError: MEMO_WAREHOUSE names a file.
    """
    given = os.environ.get(WAREHOUSE_VARIABLE)
    if given:
        path = Path(given).expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(
                f"{WAREHOUSE_VARIABLE}={given} is a file; name the directory that holds it"
            )
        return path
    return home_dir() / "warehouse"


def project_root() -> Path:
    """The folder that holds the package: the checkout, where the package is installed from one."""
    return Path(__file__).resolve().parents[2]


def home_dir() -> Path:
    """Where the user's own files lie unless said otherwise: beside the project's workspace.yaml, else here."""
    root = project_root()
    return root if (root / "workspace.yaml").is_file() else Path.cwd()


def dagster_home() -> Path:
    """Dagster's own storage: DAGSTER_HOME, else a folder of the warehouse."""
    given = os.environ.get("DAGSTER_HOME")
    return Path(given).expanduser().resolve() if given else warehouse_dir() / "dagster_home"


def database_path() -> Path:
    """The published DuckDB file."""
    return warehouse_dir() / DATABASE_NAME


@dataclass(frozen=True)
class Layout:
    """Paths of one study's artifacts.

    Attributes:
        warehouse: the warehouse directory.
        study: name of the study.
    """

    warehouse: Path
    study: str

    @classmethod
    def of(cls, study: str) -> "Layout":
        """Layout of a study in the current warehouse directory."""
        return cls(warehouse_dir(), study)

    @property
    def root(self) -> Path:
        """Folder of all artifacts of the study."""
        return self.warehouse / "artifacts" / self.study

    @property
    def items(self) -> Path:
        """The labelled items as they came from the source."""
        return self.root / "raw_dataset" / "items.parquet"

    @property
    def background(self) -> Path:
        """Labelled texts that are in neither pool nor test, for pretraining a base model."""
        return self.root / "raw_dataset" / "background.parquet"

    @property
    def samples(self) -> Path:
        """One row per sample: prompt, options, labels, part."""
        return self.root / "samples.parquet"

    @property
    def base_model(self) -> Path:
        """Small JSON file that says which directory or hub revision the base model is."""
        return self.root / "base_model.json"

    @property
    def protected(self) -> Path:
        """Samples of a protected variant that are trained otherwise, and how."""
        return self.root / "protected.parquet"

    @property
    def base_models(self) -> Path:
        """Cache of pretrained base models, one folder per hash of configuration, data and tokenizer."""
        return self.root / "base_models"

    def split_mask(self, seed: int) -> Path:
        """Sample ids of one model's training set, in the order of the draw."""
        return self.root / "split_masks" / f"seed={seed}.parquet"

    def adapters(self, seed: int) -> Path:
        """Folder of one model's checkpoints, with `training.json` beside them."""
        return self.root / "adapters" / f"seed={seed}"

    def adapter(self, seed: int, epoch: float) -> Path:
        """One model at one checkpoint."""
        return self.adapters(seed) / epoch_folder(epoch)

    def trigger_adapter(self, seed: int) -> Path:
        """One model at its own trigger, where that is at no checkpoint of the recipe."""
        return self.adapters(seed) / TRIGGER_FOLDER

    def training_log(self, seed: int) -> Path:
        """Facts of one training run, one entry per checkpoint."""
        return self.adapters(seed) / "training.json"

    def logits(self, seed: int) -> Path:
        """Per-epoch, per-sample logits of one model."""
        return self.root / "logits" / f"seed={seed}.parquet"

    def layer_scores(self, seed: int) -> Path:
        """Per-epoch, per-layer, per-sample scores of one audited model."""
        return self.root / "layer_scores" / f"seed={seed}.parquet"

    def layer_summary(self, seed: int) -> Path:
        """Per-epoch, per-layer figures of the whole data set: sliced mutual information."""
        return self.root / "layer_scores" / f"seed={seed}.summary.parquet"

    def weight_norms(self, seed: int) -> Path:
        """Per-epoch norms of the trained weights of one audited model."""
        return self.root / "layer_scores" / f"seed={seed}.norms.parquet"

    @property
    def audit_scores(self) -> Path:
        """Scores of every pool sample by the one model of the audit, at its prediction epoch."""
        return self.root / "audit" / "scores.parquet"

    @property
    def audit_run(self) -> Path:
        """Facts of the audit's training run."""
        return self.root / "audit" / "run.json"

    @property
    def audit_cost(self) -> Path:
        """What that run took."""
        return self.root / "audit" / "cost.json"

    @property
    def audit_report(self) -> Path:
        """Folder of the audit's page, its summary as JSON, and its table as CSV and Parquet."""
        return self.root / "audit" / "report"

    def answer_variation(self, seed: int) -> Path:
        """What one audited model answers to its training questions before and after they are varied."""
        return self.root / "answer_variation" / f"seed={seed}.parquet"

    def table(self, name: str) -> Path:
        """The study's rows of a warehouse table that an asset computes."""
        return self.root / "tables" / f"{name}.parquet"

    def figure(self, name: str, suffix: str) -> Path:
        """One figure; suffix is html, png or json."""
        return self.root / "figures" / f"{name}.{suffix}"

    @property
    def report(self) -> Path:
        """The study's report, one self-contained page."""
        return self.root / "report.html"

    def base_outputs(self, key: str) -> Path:
        """Logits of the base model on all samples, which every adapter gives before its first step."""
        return self.work / "base_outputs" / f"{key}.parquet"

    @property
    def work(self) -> Path:
        """Work items, their logs, results and unfinished training states."""
        return self.root / "work"

    def output(self, step: str, seed: int | None = None) -> Path:
        """The file whose absence means that a step's result is gone.

        Args:
            step: name of the asset.
            seed: split seed, for assets partitioned by seed.
        """
        by_seed = {
            "split_masks": self.split_mask,
            "adapters": self.training_log,
            "logits": self.logits,
            "layer_scores": self.layer_scores,
            "answer_variation": self.answer_variation,
        }
        if step in by_seed:
            assert seed is not None
            return by_seed[step](seed)
        if step.startswith("figure_"):
            return self.figure(step, "html")
        fixed = {
            "raw_dataset": self.items,
            "samples": self.samples,
            "base_model": self.base_model,
            "audit": self.audit_scores,
            "audit_report": self.audit_report / "audit.json",
            "protected": self.protected,
            "report": self.report,
        }
        return fixed.get(step, self.warehouse / DATABASE_NAME)


def epoch_folder(epoch: float) -> str:
    """Folder name of a checkpoint: `epoch=0.2`, `epoch=3`."""
    return f"epoch={epoch:g}"
