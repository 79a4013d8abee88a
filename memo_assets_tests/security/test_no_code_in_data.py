"""Files are data: no pickle is read, no code of a model is run, no shell is asked."""

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import memo_assets
from memo_assets.fetch import FetchError, fetch_study
from memo_assets.models.base import load_base
from memo_assets_tests.studies import TABLE, study

PACKAGE = Path(memo_assets.__file__).parent
# Modules that make objects out of bytes, and calls that do; numpy's load does only with allow_pickle.
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {
    "torch.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "os.system",
    "os.popen",
    "eval",
    "exec",
    "yaml.load",
}
CALLS |= {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "torch.hub.load", "np.fromregex"}
LOADERS = {"yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader", "yaml.CLoader"}
TRUE = {"allow_pickle", "trust_remote_code", "shell"}


def findings(source: str) -> Iterator[str]:
    """What in a module's text could run what a file holds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in MODULES:
            yield node.module
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in LOADERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in CALLS:
                yield ast.unparse(node.func)
            for keyword in node.keywords:
                never = isinstance(keyword.value, ast.Constant) and not keyword.value.value
                if keyword.arg in TRUE and not never:
                    yield f"{keyword.arg}={ast.unparse(keyword.value)}"
                if keyword.arg == "use_safetensors" and never:
                    yield "use_safetensors=False"


def test_no_module_of_the_package_makes_objects_out_of_files() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 100
    assert {
        str(path.relative_to(PACKAGE)): found
        for path in modules
        if (found := list(findings(path.read_text("utf-8"))))
    } == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "import dill as d", "torch.load(path)", "np.load(p, allow_pickle=True)",
        "AutoModel.from_pretrained(n, trust_remote_code=True)", "f(trust_remote_code=given)", "run(c, shell=True)",
        "yaml.load(text)", "yaml.Loader(text)", "pd.read_pickle(p)", "eval(text)", "f(use_safetensors=False)",
    ],
)  # fmt: skip
def test_the_search_would_find_it(line: str) -> None:
    assert list(findings(f"def f():\n    {line}\n"))


def test_every_model_is_loaded_as_safetensors_and_without_its_code() -> None:
    calls = [
        call
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".from_pretrained")
    ]
    assert len(calls) >= 5
    for call in calls:
        named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert named.get("trust_remote_code") == "False", ast.unparse(call)
        if "AutoModel" in ast.unparse(call.func) and "gguf_file" not in named:
            assert named.get("use_safetensors") == "True", ast.unparse(call)


class _Bomb:
    """What a pickle can do when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.fixture
def pickled_model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "code.Model"}}'
    )
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(tmp_path / "ran")))
    return folder


def test_a_model_of_pickles_only_is_refused_in_one_sentence(pickled_model: Path, tmp_path: Path) -> None:
    own = study(TABLE, {"model.name": str(pickled_model), "data.path": str(pickled_model / "config.json")})
    with pytest.raises(
        FetchError, match=r"lacks weights \(model.safetensors.*for pickled weights and code are never read"
    ):
        fetch_study(own)
    with pytest.raises(
        FileNotFoundError, match=r"needs config.json, \*.safetensors and the tokenizer's files; it has"
    ):
        load_base(pickled_model, "fp32")
    assert not (tmp_path / "ran").exists()
    pickle.loads((pickled_model / "pytorch_model.bin").read_bytes())
    assert (tmp_path / "ran").exists()  # what would have happened
