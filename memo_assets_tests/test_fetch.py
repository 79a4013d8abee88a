"""Fetching models ahead, from a hub on this machine; the cache and its errors as a node without internet meets them."""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from memo_assets.config import TinyLlama
from memo_assets.fetch import FetchError, fetch_study
from memo_assets.models.base import hub_commit, load_base
from memo_assets.models.tiny_llama import pretrain_tiny_llama
from memo_assets_tests.data.pictures import colours, picture_rows, settings
from memo_assets_tests.studies import CITIES, DIGITS, TABLE, changed, study, write_study

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
TOKEN = "hf_notForAnybodysEyes"
# Beside what transformers needs: pickles, code, formats of others, another precision.
UNWANTED = (
    *("pytorch_model.bin", "modeling_x.py", "consolidated.safetensors", "onnx/config.json", "README.md"),
    "model.fp16.safetensors",
)
CARD = """---
configs:
- config_name: even
  data_files:
  - {split: train, path: even/train.jsonl}
  - {split: test, path: even/test.jsonl}
---
"""
# In the form of CIFAR-10's.
PICTURES_CARD = """---
dataset_info:
  config_name: plain_text
  features:
  - name: img
    dtype: image
  - name: label
    dtype:
      class_label:
        names: {'0': red, '1': green, '2': blue}
  splits:
  - {name: train, num_bytes: 3000, num_examples: 30}
  - {name: test, num_bytes: 600, num_examples: 6}
configs:
- config_name: plain_text
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: test, path: plain_text/test-*}
  default: true
---
"""
ROWS = {
    "source": "hub",
    "name": "lab/rows",
    "config": "even",
    "splits": ["train[:20]", "test"],
    "text": "question",
    "label": "answer",
    "options": ["no", "yes"],
}
LOAD = """
import sys
from memo_assets.models.base import hub_commit, load_base
for model in sys.argv[1:]:
    name, _, revision = model.partition("@")
    loaded, tokenizer = load_base(name, "fp32", revision or None)
    print(hub_commit(name, revision or None), loaded.num_parameters(), len(tokenizer))
"""


@dataclass
class Hub:
    """A hub of four models, one open, one gated, one private, one that holds pickles only, and of two data sets."""

    endpoint: str
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama and its tokenizer, as transformers saves them."""
    settings = {"kind": "tiny_llama", "hidden": 8, "layers": 1, "heads": 1, "vocabulary": 300}
    settings |= {"sentences": ["{text} is in {label}."], "epochs": 1, "learning_rate": 0.01}
    folder = tmp_path_factory.mktemp("models") / "tiny"
    names = pd.DataFrame({"text": ["Badorf", "Bapur"], "label": ["Germany", "India"]})
    pretrain_tiny_llama(names, TinyLlama.model_validate(settings), folder)
    return folder


@pytest.fixture(scope="module")
def hub(model: Path) -> Iterator[Hub]:
    good = {path.name: path.read_bytes() for path in model.iterdir()}
    pickles = {name: content for name, content in good.items() if not name.endswith(".safetensors")}
    repositories = {
        "lab/tiny": good | dict.fromkeys(UNWANTED, b"{}"),
        "lab/gated": good,
        "lab/private": good,
        "lab/pickles": pickles | {"pytorch_model.bin": b"0"},
    }
    rows = [{"question": f"Is {k} even?", "answer": (k + 1) % 2} for k in range(40)]
    data = {
        "README.md": CARD.encode(),
        "even/train.jsonl": "\n".join(json.dumps(row) for row in rows[:30]).encode(),
        "even/test.jsonl": "\n".join(json.dumps(row) for row in rows[30:]).encode(),
        "load.py": b"raise SystemExit",
    }
    repositories["lab/rows"] = data
    pictures = {"README.md": PICTURES_CARD.encode(), "load.py": b"raise SystemExit"}
    for split, n in (("train", 30), ("test", 6)):
        stream = io.BytesIO()
        picture_rows(colours(n, 0)).to_parquet(stream)
        pictures[f"plain_text/{split}-00000-of-00001.parquet"] = stream.getvalue()
    repositories["lab/pictures"] = pictures
    found = Hub(endpoint="")

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            api = parts[:1] == ["api"] and parts[1:2] in (["models"], ["datasets"])
            if parts[:1] == ["datasets"]:  # a file of a data set
                parts = parts[1:]
            if len(parts) < 4:  # the library asks for other things too, which are none of ours
                self.refuse(404)
                return
            found.requests.append((self.command, self.path, self.headers["Authorization"]))
            owner, name, kind, revision, *rest = parts[2:] if api else parts
            repository, file = f"{owner}/{name}", "/".join(rest)
            if repository not in repositories:
                self.refuse(404, "RepoNotFound")
            elif repository == "lab/private":
                self.refuse(401)
            elif revision not in REVISIONS:
                self.refuse(404, "RevisionNotFound")
            elif kind == "revision":
                siblings = [{"rfilename": file} for file in repositories[repository]]
                self.answer(json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode())
            elif kind == "tree":
                tree = [
                    {"type": "file", "path": file, "size": len(content), "oid": etag(content)}
                    for file, content in repositories[repository].items()
                ]
                self.answer(json.dumps(tree).encode())
            elif repository == "lab/gated":
                self.refuse(403, "GatedRepo")
            elif file not in repositories[repository]:
                self.refuse(404, "EntryNotFound")
            else:
                self.answer(repositories[repository][file])

        do_HEAD = do_GET  # noqa: N815 - the server looks for this name

        def answer(self, content: bytes) -> None:
            self.send_response(200)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            headers |= {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(content)}"'}
            for header, value in headers.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def refuse(self, status: int, code: str | None = None) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture(scope="module")
def silent() -> str:
    """Address at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def run(home: Path, endpoint: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, for the hub's library reads its variables when it is imported."""
    foreign = ("HF_", "HUGGING", "TRANSFORMERS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    given = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    given |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    given |= {"NO_PROXY": "127.0.0.1", "NO_COLOR": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        env=inherited | given | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert TOKEN not in result.stdout + result.stderr
    return result


def fetch(home: Path, endpoint: str, *paths: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(home, endpoint, "-m", "memo_assets.cli", "fetch", *map(str, paths), **variables)


def refused(home: Path, endpoint: str, path: Path, **variables: str) -> str:
    """The one line of a command that must fail."""
    result = fetch(home, endpoint, path, **variables)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: study own: ")
    return line.removeprefix("error: study own: ")


def own(folder: Path, name: str, revision: str | None = None) -> Path:
    """File of a study of one's own table and a model of the hub."""
    path = write_study(folder, changed(TABLE, {"model.name": name, "model.revision": revision}))
    (folder / "rows.csv").touch()
    return path


@dataclass
class Fetched:
    home: Path
    shown: str
    requests: list[tuple[str, str, str | None]]


@pytest.fixture(scope="module")
def fetched(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """The open model at its newest commit and at a tag, both in one cache."""
    folder = tmp_path_factory.mktemp("fetched")
    studies = [own(folder / "newest", "lab/tiny"), own(folder / "tagged", "lab/tiny", "v1")]
    before = len(hub.requests)
    result = fetch(folder / "home", hub.endpoint, *studies)
    assert (result.returncode, result.stderr) == (0, "")
    return Fetched(folder / "home", result.stdout, hub.requests[before:])


def test_fetching_says_what_lies_where(fetched: Fetched, model: Path) -> None:
    size = sum(path.stat().st_size for path in model.iterdir()) / 1e6
    cache = fetched.home / "hub" / "models--lab--tiny"
    line = f"study own: model lab/tiny: commit {COMMIT}, {size:.1f} MB, in {cache}"
    table = "study own: data: the file {}/rows.csv is there, nothing to fetch"
    folders = [fetched.home.parent / name for name in ("newest", "tagged")]
    assert fetched.shown.splitlines() == [text for at in folders for text in (line, table.format(at))]


def test_only_what_transformers_reads_is_asked_for(fetched: Fetched, model: Path) -> None:
    files = {path.split(f"/{COMMIT}/")[1] for _, path, _ in fetched.requests if "/resolve/" in path}
    assert files == {path.name for path in model.iterdir()}
    snapshot = fetched.home / "hub" / "models--lab--tiny" / "snapshots" / COMMIT
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }


def test_the_token_of_the_environment_is_sent(fetched: Fetched) -> None:
    assert {token for _, _, token in fetched.requests} == {f"Bearer {TOKEN}"}


def test_an_offline_process_loads_what_is_in_the_cache_and_knows_its_commit(
    fetched: Fetched, model: Path, silent: str
) -> None:
    there = ("lab/tiny", "lab/tiny@v1", f"lab/tiny@{COMMIT}")
    result = run(fetched.home, silent, "-c", LOAD, *there, "lab/gated@v1", HF_HUB_OFFLINE="1")
    weights = load_file(model / "model.safetensors")
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    facts = f"{COMMIT} {sum(tensor.numel() for tensor in weights.values())} {len(vocabulary)}"
    assert result.stdout.splitlines() == [facts] * len(there), result.stderr
    assert result.stderr.splitlines()[-1] == (
        f"ValueError: model 'lab/gated' at revision v1 is not in the cache (below HF_HOME: {fetched.home}/hub), or only "
        "in part, and this process is offline: run `memo fetch STUDY` where there is internet"
    )


def test_an_offline_process_with_an_empty_cache_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"^model 'lab/tiny' is not in the cache .* run `memo fetch STUDY`"):
        load_base("lab/tiny", "fp32")
    assert hub_commit("lab/tiny") is None


@pytest.mark.parametrize(
    ("cause", "raised", "message"),
    [
        (LocalEntryNotFoundError("no connection"), ValueError, r"this process is offline: run `memo fetch"),
        (None, FileNotFoundError, r"^no base model 'lab/tiny': .* or the hub cannot be reached$"),
    ],
)
def test_a_process_that_finds_no_hub_is_told_to_fetch_too(
    monkeypatch: pytest.MonkeyPatch, cause: Exception | None, raised: type[Exception], message: str
) -> None:
    def fail(*_arguments: object, **_settings: object) -> None:
        raise OSError("Can't load it") from cause

    # By hand, for the library tries again for most of a minute.
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(raised, match=message):
        load_base("lab/tiny", "fp32")


def test_a_directory_that_this_machine_does_not_see_is_no_matter_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}/gone': this machine sees no such directory$"):
        load_base(tmp_path / "gone", "fp32")
    assert hub_commit(str(tmp_path)) is None


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_what_is_in_the_cache_is_found_without_the_hub(
    fetched: Fetched, silent: str, tmp_path: Path, variables: dict[str, str]
) -> None:
    result = fetch(fetched.home, silent, own(tmp_path, "lab/tiny", "v1"), **variables)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == fetched.shown.splitlines()[0]


def test_an_unknown_model(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "lab/nothing"))
    assert message == f"the hub ({hub.endpoint}) has no model 'lab/nothing': correct model.name"


def test_an_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "lab/tiny", "v9"))
    assert message == "model lab/tiny has no revision 'v9' on the hub: correct model.revision"


def test_a_gated_model(hub: Hub, tmp_path: Path) -> None:
    assert refused(tmp_path, hub.endpoint, own(tmp_path, "lab/gated")) == (
        "the hub refuses access to model lab/gated (HTTP 403): it is gated; HF_TOKEN must be set in the environment to "
        f"the token of an account that was granted access at {hub.endpoint}/lab/gated"
    )


def test_a_private_model(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "lab/private"))
    assert "(HTTP 401): it is private, gated or does not exist; HF_TOKEN must be set" in message


def test_a_hub_out_of_reach(silent: str, tmp_path: Path) -> None:
    assert refused(tmp_path, silent, own(tmp_path, "lab/tiny")) == (
        f"the hub ({silent}) cannot be reached (ConnectError) and model lab/tiny is not in the cache ({tmp_path}/hub): "
        "run `memo fetch` where there is internet"
    )


def test_fetching_where_the_hub_is_switched_off(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "lab/tiny"), HF_HUB_OFFLINE="1")
    assert message.endswith(
        "and HF_HUB_OFFLINE is set: unset it and run `memo fetch` where there is internet"
    )


def test_a_model_of_pickles_only(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "lab/pickles"))
    assert message.startswith(
        f"model lab/pickles at commit {COMMIT} lacks weights (model.safetensors, or parts with"
    )
    assert ("GET", f"/lab/pickles/resolve/{COMMIT}/pytorch_model.bin") not in {it[:2] for it in hub.requests}


def test_a_name_that_is_no_id_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    message = refused(tmp_path, hub.endpoint, own(tmp_path, "/no/such/folder"))
    assert message.startswith(
        "model.name: given '/no/such/folder'; expected an existing directory, or a hub id"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(28, "No space left on device"),
            r"^no space is left for model some/model in the cache \(.*HF_HOME",
        ),
        (
            RuntimeError("Xet: No space left on device (os error 28)"),
            "^no space is left for model some/model",
        ),
        (
            PermissionError(13, "Permission denied"),
            r"^model some/model cannot be fetched .*Permission denied$",
        ),
    ],
)
def test_a_disk_that_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_arguments: object, **_settings: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(FetchError, match=message):
        fetch_study(study(TABLE, {"data.path": str(_table(tmp_path))}))


def test_a_directory_needs_no_fetching_but_must_be_complete(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(model, folder)
    mine = study(TABLE, {"model.name": str(folder), "data.path": str(_table(tmp_path))})
    assert fetch_study(mine)[0] == f"model: the directory {folder} has all it needs, nothing to fetch"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    for content, lacking in (
        (json.dumps({"weight_map": shards}), shards["b"]),
        ("[]", "a readable model.safetensors.index.json"),
    ):
        index.write_text(content)
        with pytest.raises(FetchError, match=rf"^the directory {folder} lacks {lacking}: name a model"):
            fetch_study(mine)
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_model.safetensors").touch()  # is no model by itself
    everything = (
        r"config\.json and a tokenizer \(such as tokenizer\.json\) and weights \(model\.safetensors, or parts"
    )
    with pytest.raises(FetchError, match=f"lacks {everything}"):
        fetch_study(mine)


@pytest.mark.parametrize(
    ("base", "sentences"),
    [
        (DIGITS, ["makes its mlp itself", "digits come with the installation"]),
        (CITIES, ["makes its tiny_llama itself", "cities come with the installation"]),
    ],
)
def test_studies_that_need_nothing(base: dict[str, Any], sentences: list[str]) -> None:
    found = fetch_study(study(base))
    assert [part in sentence for part, sentence in zip(sentences, found, strict=True)] == [True, True]
    assert all(sentence.endswith("nothing to fetch") for sentence in found)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with pytest.raises(FetchError, match=rf"^no file {path}: set data\.path"):
        fetch_study(study(TABLE, {"data.path": str(path)}))


def test_an_unknown_study_stops_the_command_before_anything_is_fetched(silent: str, tmp_path: Path) -> None:
    result = fetch(tmp_path, silent, own(tmp_path, "lab/tiny"), tmp_path / "none")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: no study ")


def _table(folder: Path) -> Path:
    path = folder / "rows.csv"
    path.touch()
    return path


def of_rows(folder: Path, **settings: object) -> Path:
    """File of a study of the hub's data set and the hub's model."""
    return write_study(folder, changed(TABLE, {"data": {**ROWS, **settings}, "model.name": "lab/tiny"}))


def test_data_are_fetched_at_their_commit_and_read_offline(hub: Hub, tmp_path: Path, silent: str) -> None:
    path = of_rows(tmp_path / "study", revision="v1")
    before = len(hub.requests)
    result = fetch(tmp_path / "home", hub.endpoint, path)
    assert (result.returncode, result.stderr) == (0, "")
    cache = tmp_path / "home" / "hub" / "datasets--lab--rows"
    line = f"study own: data: 30 rows of train[:20], test of lab/rows, commit {COMMIT}, in {cache}"
    assert result.stdout.splitlines()[1] == line
    asked = {path.split(f"/{COMMIT}/")[1] for _, path, _ in hub.requests[before:] if "rows/resolve/" in path}
    assert asked == {"README.md", "even/train.jsonl", "even/test.jsonl"}  # no code
    checked = run(tmp_path / "home", silent, "-m", "memo_assets.cli", "study", "check", str(path))
    assert checked.returncode == 0, checked.stderr
    assert "samples: 30 (27 pool, 3 test)" in checked.stdout
    other = of_rows(tmp_path / "other", revision="v2")
    unknown = run(tmp_path / "home", silent, "-m", "memo_assets.cli", "study", "check", str(other))
    assert unknown.returncode == 0
    text = " ".join(unknown.stdout.split())
    assert "data: not checked: data set lab/rows at revision v2 is not in the cache" in text
    assert "run `memo fetch STUDY`" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lab/none"}, "has no data set 'lab/none': correct data.name"),
        ({"name": "lab/private"}, "refuses access to data set lab/private (HTTP 401)"),
        ({"revision": "v9"}, "data set lab/rows has no revision 'v9' on the hub: correct data.revision"),
        ({"config": "odd"}, f"data set lab/rows at commit {COMMIT}: "),
        ({"splits": ["validation"]}, f"data set lab/rows at commit {COMMIT}: "),
        ({"text": "query"}, "lab/rows: column 'query' is missing; it has ['question', 'answer']"),
    ],
)
def test_data_that_cannot_be_fetched_say_why(
    hub: Hub, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    assert message in refused(tmp_path / "home", hub.endpoint, of_rows(tmp_path / "study", **settings))


def of_pictures(folder: Path, **changes: object) -> Path:
    """File of a study of the hub's pictures."""
    wanted = settings(Path("lab/pictures"), config="plain_text", test_splits=["test"])
    return write_study(folder, changed(DIGITS, {"data": {**wanted, **changes}}))


def test_pictures_are_fetched_and_read_offline(hub: Hub, tmp_path: Path, silent: str) -> None:
    path, home = of_pictures(tmp_path / "study"), tmp_path / "home"
    missing = run(home, silent, "-m", "memo_assets.cli", "study", "check", str(path))
    text = " ".join(missing.stdout.split())
    assert "data: not checked: data set lab/pictures is not in the cache" in text
    assert "run `memo fetch STUDY`" in text
    before = len(hub.requests)
    result = fetch(home, hub.endpoint, path)
    assert (result.returncode, result.stderr) == (0, "")
    cache = home / "hub" / "datasets--lab--pictures"
    assert result.stdout.splitlines() == [
        "study tiny: model: the study makes its mlp itself, nothing to fetch",
        f"study tiny: data: 36 rows of train, test of lab/pictures, commit {COMMIT}, in {cache}",
    ]
    files = [path for _, path, _ in hub.requests[before:] if "pictures/resolve/" in path]
    assert {file.split(f"/{COMMIT}/")[1] for file in files} == {
        "README.md",
        "plain_text/train-00000-of-00001.parquet",
        "plain_text/test-00000-of-00001.parquet",
    }  # no code
    checked = run(home, silent, "-m", "memo_assets.cli", "study", "check", str(path))
    assert checked.returncode == 0, checked.stderr
    assert "samples: 36 (30 pool, 6 test)" in checked.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_splits": ["dev"]}, f"data set lab/pictures at commit {COMMIT}: "),
        ({"image": "label"}, "column 'label' holds no images but ClassLabel"),
    ],
)
def test_pictures_that_cannot_be_fetched_say_why(
    hub: Hub, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    result = fetch(tmp_path / "home", hub.endpoint, of_pictures(tmp_path / "study", **changes))
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: study tiny: ")
    assert message in line
