"""Settings of Slurm: what is refused, and that a study file that has them loads or says where it is wrong."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memo_assets.config import Compute, Slurm
from memo_assets.config.compute import time_limit_seconds
from memo_assets.study_file import StudyError, read_study
from memo_assets_tests.studies import DIGITS, changed, line_of, write_study

FIELDS = (
    "account, constraint, cpus, environment, gres, memory, notice_seconds, parallel, partition, python, qos, requeues, "
    "sbatch, setup, srun, time"
)
ASSETS = "adapters, answer_variation, audit, base_model, layer_scores, logits"


def refused(**settings: Any) -> str:
    """The one message of settings that are refused."""
    with pytest.raises(ValidationError) as caught:
        Slurm.model_validate(settings)
    (problem,) = caught.value.errors()
    return problem["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * 60),
        ("1:30", 90),
        ("0:01", 1),
        ("20:00:00", 72_000),
        ("100:00:00", 360_000),
        ("01:02:03", 3_723),
        ("2-0", 172_800),
        ("0-1", 3_600),
        ("2-12", 216_000),
        ("2-12:30", 217_800),
        ("2-12:30:15", 217_815),
    ],
)
def test_time_limits_as_sbatch_reads_them(text: str, seconds: int) -> None:
    assert time_limit_seconds(text) == seconds
    assert Slurm(time=text).time == text


@pytest.mark.parametrize(
    "text", ["", "20h", "1:2:3:4", "2-", "-5", "2-1:2:3:4", "1.5", " 90", "90\n", "two", ":30", "1:", "1--2"]
)
def test_what_is_no_time_limit_is_refused_with_examples(text: str) -> None:
    assert refused(time=text) == (
        f"given {text!r}; expected a time limit such as 90 (minutes), 20:00:00 or 2-12:00:00"
    )


@pytest.mark.parametrize("text", ["0", "0:00", "00:00:00", "0-0", "0-0:0:0"])
def test_a_time_limit_of_nothing_is_refused(text: str) -> None:
    assert refused(time=text) == f"given {text!r}, which is no time at all"


@pytest.mark.parametrize("memory", ["4000", "40G", "512M", "1T", "900K"])
def test_memory_as_sbatch_reads_it(memory: str) -> None:
    assert Slurm(memory=memory).memory == memory


@pytest.mark.parametrize("memory", ["40GB", "40 G", "4.5G", "40g", "G", "", "-1", "40G\n"])
def test_other_memory_is_refused(memory: str) -> None:
    assert refused(memory=memory) == r"String should match pattern '^\d+[KMGT]?$'"


@pytest.mark.parametrize("name", ["HF_HOME", "_", "x1"])
def test_names_of_environment_variables(name: str) -> None:
    assert Slurm(environment={name: "/a b"}).environment == {name: "/a b"}


@pytest.mark.parametrize("name", ["1A", "HF-HOME", "A B", "", "A=1", "Ä", "A\n"])
def test_what_is_no_environment_variable_is_refused(name: str) -> None:
    assert refused(environment={name: "x"}) == f"{name!r} is not a name of an environment variable"


@pytest.mark.parametrize(
    "flag",
    [
        "array",
        "error",
        "job-name",
        "job_name",
        "open-mode",
        "output",
        "requeue",
        "signal",
        "wait",
        "wrap",
    ],
)
def test_flags_that_the_platform_sets_are_refused(flag: str) -> None:
    assert refused(sbatch={flag: "x"}) == f"--{flag} is set by the platform itself: remove it"


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("partition", "partition"),
        ("account", "account"),
        ("qos", "qos"),
        ("constraint", "constraint"),
        ("gres", "gres"),
        ("time", "time"),
        ("cpus-per-task", "cpus"),
        ("cpus_per_task", "cpus"),
        ("mem", "memory"),
    ],
)
def test_flags_with_a_field_of_their_own_are_refused_with_its_name(flag: str, field: str) -> None:
    assert refused(sbatch={flag: "x"}) == f"--{flag} has a field of its own: give it as {field}"
    assert field in Slurm.model_fields


@pytest.mark.parametrize("flag", ["--hint", "-c", "Hint", "", "hint=x", "hint x", "4way", "hint\n"])
def test_what_is_no_flag_is_refused(flag: str) -> None:
    assert (
        refused(sbatch={flag: "x"})
        == f"{flag!r} is not a flag of sbatch: give its long name without the dashes"
    )


def test_a_flag_is_left_out_rather_than_false() -> None:
    assert (
        refused(sbatch={"exclusive": False})
        == "--exclusive: false means nothing to sbatch: leave the flag out"
    )
    flags = {"exclusive": True, "nodes": 1, "mem-per-gpu": "40G", "time-min": "10:00:00"}
    assert Slurm(sbatch=flags).sbatch == flags


@pytest.mark.parametrize(
    "settings",
    [
        {"partition": "gpu\n#SBATCH --wrap=x"},
        {"account": "a\n"},
        {"gres": "gpu:1\n"},
        {"python": "python\nrm"},
        {"srun": ["--mpi=none", "a\nb"]},
        {"sbatch": {"comment": "a\nb"}},
        {"environment": {"A": "a\nb"}},
    ],
)
def test_line_breaks_are_refused(settings: dict[str, Any]) -> None:
    (field,) = settings
    assert refused(**settings) == f"{field} holds a line break, which would end its line of the batch script"


def test_setup_may_hold_several_lines() -> None:
    setup = ["module load cuda", "if true; then\n  echo yes\nfi"]
    assert Slurm(setup=setup).setup == setup


@pytest.mark.parametrize(
    ("field", "least"), [("cpus", 1), ("parallel", 1), ("requeues", 0), ("notice_seconds", 1)]
)
def test_numbers_have_a_least_value(field: str, least: int) -> None:
    assert getattr(Slurm.model_validate({field: least}), field) == least
    assert refused(**{field: least - 1}) == f"Input should be greater than or equal to {least}"


def test_nothing_is_asked_of_slurm_by_default() -> None:
    assert Compute().slurm.model_dump(exclude_none=True) == {}
    assert Compute().slurm_by_asset == {}


def test_a_study_file_with_settings_of_slurm_loads(tmp_path: Path) -> None:
    slurm = {
        "partition": "gpu,long",
        "gres": "gpu:1",
        "cpus": 4,
        "memory": "40G",
        "time": "20:00:00",
        "requeues": 3,
        "setup": ["module load cuda"],
        "environment": {"HF_HOME": "/data/hf"},
        "sbatch": {"hint": "nomultithread", "exclusive": True, "nice": 100},
    }
    by_asset = {"adapters": {"gres": "gpu:a100:1", "time": "2-00:00:00"}, "logits": {"cpus": 8}}
    attributes = changed(DIGITS, {"compute.slurm": slurm, "compute.slurm_by_asset": by_asset})
    compute = read_study(write_study(tmp_path, attributes)).compute
    assert compute.slurm.model_dump(exclude_none=True) == slurm
    assert {
        name: given.model_dump(exclude_none=True) for name, given in compute.slurm_by_asset.items()
    } == by_asset


# changes below compute, start of the line that the message must name, what follows `file:line: compute.`
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": (
        {"slurm.partitions": "gpu"},
        "partitions:",
        f"slurm.partitions: unknown field; allowed here: {FIELDS}",
    ),
    "text for the block": (
        {"slurm": "gpu"},
        "slurm:",
        f"slurm: given 'gpu'; expected a block with fields among {FIELDS}",
    ),
    "no time": (
        {"slurm.time": "20h"},
        "time:",
        "slurm.time: given '20h'; expected a time limit such as 90 (minutes), 20:00:00 or 2-12:00:00",
    ),
    "a number for a time": (
        {"slurm.time": 90},
        "time:",
        "slurm.time: given 90; input should be a valid string; write it in quotes: '90'",
    ),
    "reserved flag": (
        {"slurm.sbatch": {"array": "0-3"}},
        "sbatch:",
        "slurm.sbatch: --array is set by the platform itself: remove it",
    ),
    "line break": (
        {"slurm.python": "a\nb"},
        "slurm:",
        "slurm: python holds a line break, which would end its line of the batch script",
    ),
    "list for a flag": (
        {"slurm.sbatch": {"hint": ["a"]}},
        "hint:",
        "slurm.sbatch.hint: given a list; input should be a valid string, integer or boolean",
    ),
    "nothing for a flag named like a type": (
        {"slurm.sbatch": {"str": None}},
        "str:",
        "slurm.sbatch.str: given nothing; input should be a valid string, integer or boolean",
    ),
    "fraction for a flag": (
        {"slurm.sbatch": {"nice": 1.5}},
        "nice:",
        "slurm.sbatch.nice: given 1.5; input should be a valid string, integer or boolean; write it in quotes: '1.5'",
    ),
    "text for flags": (
        {"slurm.sbatch": "--hint"},
        "sbatch:",
        "slurm.sbatch: given '--hint'; expected a block",
    ),
    "number for a variable": (
        {"slurm.environment": {"OMP_PLACES": 4}},
        "OMP_PLACES:",
        "slurm.environment.OMP_PLACES: given 4; input should be a valid string; write it in quotes: '4'",
    ),
    "number for the name of a variable": (
        {"slurm.environment": {4: "x"}},
        "4:",
        "slurm.environment.4: given 4; input should be a valid string; write it in quotes",
    ),
    "text for commands": (
        {"slurm.setup": "module load cuda"},
        "setup:",
        "slurm.setup: given 'module load cuda'; input should be a valid list",
    ),
    "unknown asset": (
        {"slurm_by_asset": {"adaptors": {"cpus": 2}}},
        "adaptors:",
        f"slurm_by_asset.adaptors: unknown field; allowed here: {ASSETS}",
    ),
    "asset that Slurm does not compute": (
        {"slurm_by_asset": {"samples": {}}},
        "samples:",
        f"slurm_by_asset.samples: unknown field; allowed here: {ASSETS}",
    ),
    "unknown field of an asset": (
        {"slurm_by_asset": {"adapters": {"mem": "40G"}}},
        "mem:",
        f"slurm_by_asset.adapters.mem: unknown field; allowed here: {FIELDS}",
    ),
    "wrong type below an asset": (
        {"slurm_by_asset": {"adapters": {"cpus": "two"}}},
        "cpus:",
        "slurm_by_asset.adapters.cpus: given 'two'; input should be a valid integer",
    ),
    "wrong flag below an asset": (
        {"slurm_by_asset": {"adapters": {"sbatch": {"hint": ["a"]}}}},
        "hint:",
        "slurm_by_asset.adapters.sbatch.hint: given a list; input should be a valid string, integer or boolean",
    ),
    "text for an asset": (
        {"slurm_by_asset": {"adapters": "gpu"}},
        "adapters:",
        f"slurm_by_asset.adapters: given 'gpu'; expected a block with fields among {FIELDS}",
    ),
    "nothing for an asset": (
        {"slurm_by_asset": {"adapters": None}},
        "adapters:",
        f"slurm_by_asset.adapters: given nothing; expected a block with fields among {FIELDS}",
    ),
    "list for assets": (
        {"slurm_by_asset": ["adapters"]},
        "slurm_by_asset:",
        f"slurm_by_asset: given a list; expected a block with fields among {ASSETS}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_setting_is_named_with_file_line_given_and_allowed(tmp_path: Path, case: str) -> None:
    changes, line, message = BAD[case]
    path = write_study(
        tmp_path, changed(DIGITS, {f"compute.{field}": value for field, value in changes.items()})
    )
    with pytest.raises(StudyError) as caught:
        read_study(path)
    assert str(caught.value) == f"{path}:{line_of(path, line)}: compute.{message}"


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("slurm: {time: 20:00:00}", "slurm.time"),
        ("slurm_by_asset: {adapters: {time: 20:00:00}}", "slurm_by_asset.adapters.time"),
        ("slurm: {sbatch: {time-min: 20:00:00}}", "slurm.sbatch.time-min"),  # sbatch takes 72000 for minutes
        ("slurm: {srun: [20:00:00]}", "slurm.srun.0"),
    ],
)
def test_a_time_without_quotes_is_refused_before_it_becomes_a_number(
    tmp_path: Path, block: str, field: str
) -> None:
    path = write_study(tmp_path, changed(DIGITS, {"compute.pack": 3}))
    path.write_text(path.read_text(encoding="utf-8").replace("pack: 3", block), encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        read_study(path)
    line = line_of(path, "slurm")
    assert str(caught.value) == (
        f"{path}:{line}: compute.{field}: YAML reads 20:00:00 as a number; write it in quotes: '20:00:00'"
    )
    path.write_text(path.read_text(encoding="utf-8").replace("20:00:00", "'20:00:00'"), encoding="utf-8")
    read_study(path)
