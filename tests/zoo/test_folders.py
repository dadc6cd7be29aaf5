"""Folders and bucket prefixes of checkpoints: tiny nets, real files, a real S3 server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from overlap.errors import StudyError
from overlap.store import Location, open_objects
from overlap.store.s3 import Bucket
from overlap.study import Study, load_study
from overlap.zoo.checkpoint import Candidate, Rejected
from overlap.zoo.fetching import fetch
from overlap.zoo.folders import checkpoints_in
from overlap.zoo.loading import load
from overlap.zoo.resolve import resolve
from overlap.zoo.weights import recall, stage
from tests import small_nets
from tests.candidates import saved
from tests.servers import SeaweedFS

DEFAULTS = """
[zoo.defaults]
factory = "small_nets:Net.build"
arguments = { width = 4, classes = 3 }
preprocess = { input_size = 8, mean = [0.5, 0.5, 0.5] }
training = { dataset = "mine" }
"""


def net(path: Path, *, seed: int = 0, width: int = 4) -> Path:
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    module = small_nets.Net.build(width=width, classes=3)
    if path.suffix == ".safetensors":
        return saved(module, path)
    torch.save({"state_dict": module.state_dict()}, path)
    return path


def study(folder: Path, zoo: str, store: str = "") -> Study:
    shutil.copy(small_nets.__file__, folder / "small_nets.py")
    text = f'name = "s"\n{store}[data.val]\nshards = "x.tar"\nclasses = 3\n{zoo}'
    (folder / "study.toml").write_text(text)
    return load_study(folder / "study.toml")


def resolved(folder: Path, rest: str = DEFAULTS) -> tuple[dict[str, Candidate], dict[str, str]]:
    candidates, rejected = resolve(study(folder, f'[[zoo]]\nfolder = "runs/"\n{rest}'), 3)
    assert len({one.id for one in candidates} | {one.id for one in rejected}) == len(candidates) + len(rejected)
    assert all("\n" not in one.reason for one in rejected)
    return {one.id: one for one in candidates}, {one.id: one.reason for one in rejected}


def test_equal_architectures_need_no_description(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    files = [net(runs / "b.pth", seed=1), net(runs / "a.safetensors"), net(runs / "c" / "last.pt", seed=2)]
    (runs / "log.txt").write_text("nothing of ours")
    (runs / ".hidden.pth").write_text("nor this")
    (runs / "figures").mkdir()
    net(runs / "c" / "old" / "deeper.pth")
    candidates, rejected = resolved(tmp_path)
    assert rejected == {}
    assert {name: one.weights for name, one in candidates.items()} == {
        "a": str(files[1]),
        "b": str(files[0]),
        "c": str(files[2]),
    }
    for one in candidates.values():
        assert one.architecture.name == "small_nets:Net.build"
        assert one.architecture.arguments == {"width": 4, "classes": 3}
        assert (one.preprocessing.input_size, one.preprocessing.mean) == ((8, 8), (0.5, 0.5, 0.5))
        assert one.training.dataset == "mine"
    state = torch.load(files[0])["state_dict"]
    assert all(torch.equal(state[key], value) for key, value in load(candidates["b"], files[0]).state_dict().items())


def test_a_new_file_is_there_at_the_next_look(tmp_path: Path) -> None:
    net(tmp_path / "runs" / "a.pth")
    assert [*resolved(tmp_path)[0]] == ["a"]
    net(tmp_path / "runs" / "a2.pth")
    assert [*resolved(tmp_path)[0]] == ["a", "a2"]


def test_a_description_fills_and_overrides_the_defaults(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("a.pth", "b.pth", "c/best.pth", "c/last.pth"):
        net(runs / name)
    (runs / "a.toml").write_text(
        'id = "mine"\narguments = { width = 8 }\npreprocess = { std = [0.2, 0.2, 0.2] }\n'
        "training = { seed = 3 }\npublished_top1 = 41.5\n"
    )
    (runs / "b.toml").write_text('source = "timm:resnet18"\npreprocess = { input_size = 32 }\n')
    (runs / "c" / "checkpoint.toml").write_text('weights = "last.pth"\n')
    candidates, rejected = resolved(tmp_path)
    assert rejected == {}
    mine = candidates["mine"]
    assert mine.architecture.arguments == {"width": 8, "classes": 3}
    assert (mine.preprocessing.mean, mine.preprocessing.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert (mine.training.dataset, mine.training.seed, mine.published_top1) == ("mine", "3", 41.5)
    assert (candidates["b"].architecture.source, candidates["b"].architecture.arguments) == ("timm", {})
    assert candidates["b"].preprocessing.input_size == (32, 32)
    assert candidates["c"].weights == str(runs / "c" / "last.pth")


@pytest.mark.parametrize(
    ("files", "text", "defaults", "said"),
    [
        (["a.pth"], None, "", ["runs/a.pth", "a.toml", "source or factory", "[zoo.defaults]"]),
        (["a.pth"], "widht = 3\n", DEFAULTS, ["a.toml", "unknown key 'widht'"]),
        (["a.pth"], "preprocess = { input_sise = 3 }\n", DEFAULTS, ["input_sise", "did you mean 'input_size'"]),
        (["a.pth"], "width = \n", DEFAULTS, ["a.toml", "not valid TOML"]),
        (["a.pth"], "allow_pickle = true\n", DEFAULTS, ["may not set allow_pickle", "[zoo.defaults]"]),
        (["a.pth"], "weights = 'other.pth'\n", DEFAULTS, ["'other.pth'", "here are: a.pth"]),
        (["a.pth"], "source = 'timm:resnet81'\n", DEFAULTS, ["timm has no model 'resnet81'"]),
        (["a.pth"], "id = 'not a name'\n", DEFAULTS, ["a.toml", "'id'", "letters, digits"]),
        (["a b.pth"], None, DEFAULTS, ["a b.pth", "'id'", "letters, digits"]),
        (["a/1.pth", "a/2.pth"], None, DEFAULTS, ["runs/a", "2 files of weights", "a/checkpoint.toml"]),
        (["a.pth", "a.safetensors"], None, DEFAULTS, ["a.safetensors", "another one", "'a'"]),
    ],
)
def test_what_cannot_be_run_says_why(
    tmp_path: Path, files: list[str], text: str | None, defaults: str, said: list[str]
) -> None:
    for name in files:
        net(tmp_path / "runs" / name)
    net(tmp_path / "runs" / "fine.pth")
    (tmp_path / "runs" / "fine.toml").write_text('source = "timm:resnet18"\n')
    if text is not None:
        (tmp_path / "runs" / "a.toml").write_text(text)
    candidates, rejected = resolved(tmp_path, defaults)
    assert "fine" in candidates  # the rest runs
    (reason,) = rejected.values()
    for part in said:
        assert part in reason


def test_a_sub_folder_described_before_its_weights_are_there(tmp_path: Path) -> None:
    net(tmp_path / "runs" / "a.pth")
    (tmp_path / "runs" / "soon").mkdir()
    (tmp_path / "runs" / "soon" / "checkpoint.toml").write_text("")
    assert "0 files of weights" in resolved(tmp_path)[1]["soon"]


def test_names_that_are_taken(tmp_path: Path) -> None:
    net(tmp_path / "runs" / "a.pth")
    net(tmp_path / "more" / "a.pth", seed=1)
    net(tmp_path / "more" / "own.pth")
    own = '[[checkpoint]]\nid = "own"\nsource = "timm:resnet18"\nweights = "w.pth"\n'
    zoo = f'[[zoo]]\nfolder = "runs"\n{DEFAULTS}\n[[zoo]]\nfolder = "more"\n{DEFAULTS}'
    candidates, (one,) = resolve(study(tmp_path, own + zoo), 3)
    assert [(each.id, each.architecture.source) for each in candidates] == [("own", "timm"), ("a", "factory")]
    assert one.id == "a@more"
    assert "another checkpoint is called 'a'" in one.reason


@pytest.mark.parametrize(
    ("zoo", "said"),
    [
        ('folder = "nowhere"\n', ["nowhere", "No such file"]),
        ('folder = "empty"\n', ["empty", "holds no weights", ".safetensors"]),
    ],
)
def test_no_checkpoints_at_all(tmp_path: Path, zoo: str, said: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError) as error:
        resolve(study(tmp_path, f"[[zoo]]\n{zoo}"), 3)
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize(
    ("zoo", "said"),
    [
        ('folder = "x"\nsource = "timm"\nselect = ["a"]\n', ["'zoo.0'", "exactly one of source", "folder"]),
        ("", ["'zoo.0'", "exactly one of source"]),
        ('source = "timm"\n', ["'zoo.0'", "select is missing"]),
        ('folder = "x"\nexclude = "y"\n', ["exclude", "with folder leave it out"]),
        ('folder = "http://host/x"\n', ["neither a folder nor s3://"]),
        ('source = "timm"\nselect = ["a"]\ndefaults = { source = "timm:a" }\n', ["defaults", "leave them out"]),
        ('folder = "x"\n[zoo.defaults]\nweights = "w"\n', ["unknown key 'zoo.0.defaults.weights'"]),
        ('folder = "x"\ntoken = "t"\n', ["'zoo.0.token' looks like a secret"]),
    ],
)
def test_mistakes_in_the_section(tmp_path: Path, zoo: str, said: list[str]) -> None:
    with pytest.raises(StudyError) as error:
        study(tmp_path, f"[[zoo]]\n{zoo}")
    assert all(part in str(error.value) for part in said), str(error.value)


def test_arguments_of_the_users_own_code_may_be_called_tokens(tmp_path: Path) -> None:
    zoo = '[[zoo]]\nfolder = "x"\n[zoo.defaults]\nsource = "timm:vit"\narguments = { tokens = 3 }\n'
    defaults = study(tmp_path, zoo).zoo[0].defaults
    assert defaults is not None
    assert defaults.arguments == {"tokens": 3}


@pytest.fixture
def prefix(s3_server: SeaweedFS) -> Location:
    return Location(f"s3://{s3_server.create_bucket('zoo-folders')}/runs/{torch.seed()}", s3_server.endpoint_url)


def test_a_bucket_prefix(prefix: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = open_objects(prefix)
    for key in ("a.safetensors", "b/model.pth", "c/old/deeper.pth"):
        bucket.put_file(key, net(tmp_path / "made" / key, seed=len(key)))
    bucket.put("b/checkpoint.toml", b"training = { seed = 7 }\n")
    store = f'[store]\nuri = "store"\nendpoint_url = "{prefix.endpoint_url}"\n'
    mine = study(tmp_path, f'[[zoo]]\nfolder = "{prefix.uri}/"\n{DEFAULTS}', store)

    asked: list[str] = []
    really = Bucket.list
    monkeypatch.setattr(Bucket, "list", lambda self, key: asked.append(key) or really(self, key))
    candidates, rejected = resolve(mine, 3)
    assert len(asked) == 1
    assert rejected == []
    assert [(one.id, one.weights.removeprefix(prefix.uri)) for one in candidates] == [
        ("a", "/a.safetensors"),
        ("b", "/b/model.pth"),
    ]
    assert candidates[1].training.seed == "7"

    objects = open_objects(Location(mine.store.uri))
    images = torch.rand(5, 3, 8, 8)
    for one, key in zip(candidates, ("a.safetensors", "b/model.pth"), strict=True):
        found = stage(one.weights, objects, prefix.endpoint_url)
        logits: Tensor = load(one, fetch(found.digest, objects))(images)
        torch.manual_seed(len(key))
        assert torch.equal(logits, small_nets.Net.build(width=4, classes=3)(images))
    assert None not in recall([one.weights for one in candidates], objects, prefix.endpoint_url)

    bucket.put_file("z.pt", net(tmp_path / "made" / "z.pt"))
    assert [one.id for one in resolve(mine, 3)[0]] == ["a", "b", "z"]


def test_a_bucket_that_cannot_be_listed_leaves_the_rest_of_the_zoo(s3_server: SeaweedFS, tmp_path: Path) -> None:
    net(tmp_path / "here" / "a.pth")
    store = f'[store]\nuri = "store"\nendpoint_url = "{s3_server.endpoint_url}"\n'
    zoo = f'[[zoo]]\nfolder = "s3://no-such-bucket/runs"\n[[zoo]]\nfolder = "here"\n{DEFAULTS}'
    mine = study(tmp_path, zoo, store)
    candidates, (one,) = resolve(mine, 3)
    assert [each.id for each in candidates] == ["a"]
    assert one.id == "runs"
    assert "no-such-bucket" in one.reason
    (alone,) = checkpoints_in(mine.zoo[0], tmp_path, s3_server.endpoint_url)
    assert isinstance(alone, Rejected)
