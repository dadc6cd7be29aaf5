"""The study file: what resolves to what, and that each mistake is told as file, key and mend in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from overlap.errors import StudyError
from overlap.study import Study, load_study

DATA = '[data.val]\nshards = "val-{000..003}.tar"\nclasses = 10\n'
TRAIN = '[data.train]\nshards = "train.tar"\nclasses = 10\n'
FEATURES = "[predict]\nfeatures = true\n"
CHECKPOINT = '[[checkpoint]]\nid = "a"\nsource = "timm:resnet18"\n'


def study_in(folder: Path, text: str = "", *, head: str = 'name = "s"\n') -> Study:
    path = folder / "study.toml"
    path.write_text(head + text)
    return load_study(path)


def refused(folder: Path, text: str, **options: Any) -> str:
    with pytest.raises(StudyError) as caught:
        study_in(folder, text, **options)
    message = str(caught.value)
    assert message.startswith(f"{folder}/study.toml: ")
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message.removeprefix(f"{folder}/study.toml: ")


def test_defaults_resolve_against_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    study = study_in(tmp_path, DATA + CHECKPOINT + 'weights = "../zoo/a.pth"\n')
    assert study.store.uri == str(tmp_path / "store")
    assert study.tracking.uri == f"sqlite:///{tmp_path}/store/mlflow.db"
    assert study.data["val"].shards == (f"{tmp_path}/val-{{000..003}}.tar",)
    assert study.checkpoint[0].weights == str(tmp_path.parent / "zoo/a.pth")
    assert study.path == tmp_path / "study.toml"
    assert (study.predict.dtype, study.checkpoint[0].allow_pickle) == ("float32", False)


def test_roles_of_data_sets(tmp_path: Path) -> None:
    study = study_in(tmp_path, FEATURES + DATA + TRAIN + DATA.replace("val", "voc") + "role = 'downstream'\n")
    assert {name: data.role for name, data in study.data.items()} == {
        "val": "evaluate",
        "train": "train",
        "voc": "downstream",
    }
    assert study.evaluated == ("val",)
    assert study_in(tmp_path, TRAIN + "role = 'evaluate'\n").evaluated == ("train",)


def test_a_relative_study_file_and_home_resolve_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study_in(tmp_path, '[store]\nuri = "~/kept"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somebody")
    study = load_study(Path("study.toml"))
    assert study.store.uri == "/somebody/kept"
    assert study.tracking.uri == "sqlite:////somebody/kept/mlflow.db"
    assert study.path == tmp_path / "study.toml"


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("none", "none"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////abs/m.db", "sqlite:////abs/m.db"),
        ("sqlite:///sub/m.db", "sqlite:///{folder}/sub/m.db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ],
)
def test_tracking_addresses(tmp_path: Path, given: str, resolved: str) -> None:
    assert study_in(tmp_path, f'[tracking]\nuri = "{given}"\n').tracking.uri == resolved.format(folder=tmp_path)


def test_a_bucket_keeps_its_address_and_tracking_stays_beside_the_file(tmp_path: Path) -> None:
    study = study_in(tmp_path, '[store]\nuri = "s3://overlap/x"\nendpoint_url = "http://127.0.0.1:9000"\n')
    assert study.store.uri == "s3://overlap/x"
    assert study.tracking.uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_designs_example_loads(tmp_path: Path) -> None:
    study = study_in(
        tmp_path,
        """
[data.val]
shards = "s3://datasets/imagenet-val-{000000..000063}.tar"
classes = 1000
[store]
uri = "s3://overlap/imagenet"
endpoint_url = "http://127.0.0.1:9000"
[tracking]
uri = "http://mlflow:5000"
[predict]
dtype = "float32"
gpus_per_worker = 1
features = false
[[checkpoint]]
id = "resnet50-a1"
source = "timm:resnet50.a1_in1k"
weights = "s3://zoo/resnet50-a1.safetensors"
published_top1 = 80.2
training = { dataset = "in1k", architecture = "resnet50", hyper_parameters = "a1", seed = 0, parent = "p" }
[[checkpoint]]
id = "my-net"
factory = "my_package.nets:Net.build"
arguments = { width = 64 }
weights = "nets/my-net.pth"
allow_pickle = false
preprocess = { input_size = 240, crop_pct = 0.882, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }
[[zoo]]
source = "timm"
select = ["*.a1_in1k", "*.clip_*"]
""",
        head='name = "imagenet-overlap"\n',
    )
    assert study.checkpoint[0].training.seed == "0"
    assert study.checkpoint[1].preprocess.input_size == (240, 240)
    assert study.zoo[0].select == ("*.a1_in1k", "*.clip_*")


@pytest.mark.parametrize(
    ("given", "size"),
    [("96", (96, 96)), ("[96, 64]", (96, 64)), ("[3, 96, 64]", (96, 64))],
)
def test_input_size_in_its_three_forms(tmp_path: Path, given: str, size: tuple[int, int]) -> None:
    study = study_in(tmp_path, f"{DATA}{CHECKPOINT}preprocess = {{ input_size = {given} }}\n")
    assert study.checkpoint[0].preprocess.input_size == size


def test_nothing_in_a_study_can_be_changed(tmp_path: Path) -> None:
    study = study_in(tmp_path, DATA)
    with pytest.raises(ValidationError):
        study.store.uri = "elsewhere"


def prepared(settings: str) -> str:
    return f"{DATA}{CHECKPOINT}preprocess = {{ {settings} }}\n"


MISTAKES = [
    # what the file says, then what the message must say
    ("[[checkpoints]]\nid = 'a'\n", ["unknown key 'checkpoints'", "did you mean 'checkpoint'?"]),
    ("[predict]\ndtpye = 'float32'\n", ["unknown key 'predict.dtpye'", "did you mean 'dtype'?"]),
    (DATA + "clases = 3\n", ["unknown key 'data.val.clases'", "did you mean 'classes'?"]),
    (DATA + CHECKPOINT + "wieghts = 'x'\n", ["'checkpoint.0.wieghts' of checkpoint 'a'", "did you mean 'weights'?"]),
    (prepared("input_sise = 3"), ["'checkpoint.0.preprocess.input_sise'", "did you mean 'input_size'?"]),
    (
        DATA + CHECKPOINT + "training = { architectur = 'r' }\n",
        ["checkpoint.0.training.architectur", "'architecture'"],
    ),
    ("[store]\nzzz = 1\n", ["unknown key 'store.zzz'", "known keys: endpoint_url, uri"]),
    ("path = '/x'\n", ["unknown key 'path'", "remove it"]),
    ("store = 'folder'\n", ["key 'store' must be a table"]),
    ("tracking = 'none'\n", ["key 'tracking' must be a table"]),
    ("data = 3\n", ["key 'data' must be a table"]),
    ("[data.val]\nclasses = 10\n", ["key 'data.val.shards' is missing"]),
    ("[data.val]\nshards = 'x.tar'\n", ["key 'data.val.classes' is missing"]),
    ("[data.val]\nshards = 'x.tar'\nclasses = '10'\n", ["'data.val.classes'", "integer", "not '10'"]),
    ("[data.val]\nshards = 'x.tar'\nclasses = true\n", ["'data.val.classes'", "integer"]),
    ("[data.val]\nshards = 'x.tar'\nclasses = 1\n", ["'data.val.classes'", "greater than 1", "not 1"]),
    ("[data.val]\nshards = ''\nclasses = 2\n", ["'data.val.shards.0'", "is empty"]),
    ("[data.val]\nshards = 7\nclasses = 2\n", ["'data.val.shards' must be a list"]),
    (DATA + "names = ['a', 'b']\n", ["names holds 2 names for 10 classes"]),
    (DATA + f"names = {['a'] * 10}\n", ["names holds 'a' more than once"]),
    ("[data.'a@b']\nshards = 'x.tar'\nclasses = 2\n", ["data.a@b", "no @"]),
    ("[data.'val.first10']\nshards = 'x.tar'\nclasses = 2\n", ["val.first10", "--limit 10"]),
    ("[data.'a b']\nshards = 'x.tar'\nclasses = 2\n", ["data.a b", "letters, digits"]),
    ("[predict]\ndtype = 'float64'\n", ["'predict.dtype'", "'bfloat16'", "not 'float64'"]),
    ("[predict]\nbatch_size = 0\n", ["'predict.batch_size'", "greater than 0"]),
    ("[predict]\ngpus_per_worker = inf\n", ["'predict.gpus_per_worker'", "finite"]),
    ("[predict]\nfeatures = 1\n", ["'predict.features'", "boolean"]),
    (TRAIN, ["data.train has the role train", "features = true under [predict]", 'role = "evaluate"']),
    (DATA + "role = 'downstream'\n", ["data.val has the role downstream", "features = true"]),
    (FEATURES + DATA + "role = 'downstream'\n", ["no data set has the classes of the heads"]),
    (DATA + "role = 'test'\n", ["'data.val.role'", "'downstream'", "not 'test'"]),
    (DATA + "multi_label = true\n", ["'data.val'", 'role = "downstream"', "truth"]),
    (FEATURES + DATA + TRAIN + "[gate]\ndata = 'train'\n", ["gate.data names 'train'", "to evaluate on"]),
    (DATA + CHECKPOINT + "features = ''\n", ["'checkpoint.0.features", "of checkpoint 'a'"]),
    (CHECKPOINT, ["checkpoints need images", "[data.NAME]"]),
    ("[[zoo]]\nsource = 'timm'\nselect = ['x']\n", ["checkpoints need images", "[data.NAME]"]),
    (DATA + "[[zoo]]\nsource = 'timm'\nselect = []\n", ["'zoo.0.select'", "at least 1"]),
    (DATA + CHECKPOINT + CHECKPOINT, ["two checkpoints are called 'a'", "its own id"]),
    (DATA + "[[checkpoint]]\nid = 'a/b'\nsource = 'timm:x'\n", ["'checkpoint.0.id'", "letters, digits"]),
    (DATA + "[[checkpoint]]\nid = 'a'\n", ["checkpoint 'a'", "exactly one of source and factory"]),
    (DATA + CHECKPOINT + "factory = 'm:f'\n", ["'a' needs exactly one of source and factory"]),
    (DATA + "[[checkpoint]]\nid = 'a'\nfactory = 'm:f'\n", ["'a' is built by a factory and needs weights"]),
    (
        DATA + "[[checkpoint]]\nid = 'a'\nfactory = 'm.f'\nweights = 'w'\n",
        ["factory 'm.f' is not module:attribute"],
    ),
    (DATA + CHECKPOINT + "arguments = { since = 2020-01-01 }\n", ["'a': arguments must be numbers, text"]),
    (DATA + CHECKPOINT + "arguments = { width = nan }\n", ["'a': arguments must be numbers, text"]),
    (DATA + CHECKPOINT + "allow_pickle = 'yes'\n", ["'checkpoint.0.allow_pickle'", "boolean"]),
    (DATA + CHECKPOINT + "published_top1 = 180\n", ["'checkpoint.0.published_top1'", "100"]),
    (DATA + CHECKPOINT + "training = { dataset = '' }\n", ["'checkpoint.0.training.dataset'", "at least 1"]),
    (prepared("input_size = 0"), ["'checkpoint.0.preprocess.input_size.0'", "greater than 0"]),
    (prepared("input_size = [1, 2, 3]"), ["'checkpoint.0.preprocess.input_size'"]),
    (prepared("crop_pct = 87.5"), ["'checkpoint.0.preprocess.crop_pct'", "not 87.5"]),
    (prepared("interpolation = 'cubic'"), ["preprocess.interpolation", "'bicubic'", "not 'cubic'"]),
    (prepared("mean = [123.7, 116.3, 103.5]"), ["preprocess.mean.0", "less than or equal to 1"]),
    (prepared("std = [0.0, 0.1, 0.1]"), ["preprocess.std.0", "greater than 0"]),
    (prepared("resize = 256, crop_pct = 0.9"), ["resize is the shorter side", "leave out crop_pct"]),
    (prepared("resize = 256, crop_mode = 'squash'"), ["resize is the shorter side"]),
    ("[store]\nuri = 'gs://bucket/x'\n", ["'store'", "neither a folder nor s3://"]),
    ("[store]\nuri = '~nobody-here/x'\n", ["'store.uri'", "leads nowhere"]),
    ("[tracking]\nuri = 'mlruns'\n", ["'tracking.uri'", "sqlite:///FILE, or none"]),
    ("[store]\nuri = 'x'\nuri = 'y'\n", ["not valid TOML"]),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said[0] for _, said in MISTAKES])
def test_a_mistake_names_file_key_and_mend(tmp_path: Path, text: str, said: list[str]) -> None:
    message = refused(tmp_path, text)
    for part in said:
        assert part in message


SECRETS = [
    ("[store]\naws_secret_access_key = 'x'\n", "store.aws_secret_access_key"),
    ("[store]\nuri = 's3://b'\naws_session_token = 'x'\n", "store.aws_session_token"),
    ("[tracking]\npassword = 'x'\n", "tracking.password"),
    ("access_key = 'x'\n", "access_key"),
    ("[predict.credentials]\nid = 'x'\n", "predict.credentials"),
]


@pytest.mark.parametrize(("text", "key"), SECRETS)
def test_a_secret_is_refused_and_told_where_it_belongs(tmp_path: Path, text: str, key: str) -> None:
    message = refused(tmp_path, text.replace("'x'", "'hunter2'"))
    assert f"key '{key}' looks like a secret" in message
    assert "AWS_SECRET_ACCESS_KEY" in message
    assert "hunter2" not in message


CREDENTIALS = [
    ("[store]\nuri = 's3://me:hunter2@bucket/x'\n", "store.uri"),
    ("[store]\nuri = 's3://b/x'\nendpoint_url = 'http://me:hunter2@host:9000'\n", "store.endpoint_url"),
    ("[tracking]\nuri = 'http://me:hunter2@mlflow:5000'\n", "tracking.uri"),
    ("[tracking]\nuri = 'postgresql://me:hunter2@db/mlflow'\n", "tracking.uri"),
    ("[data.val]\nclasses = 2\nshards = ['a.tar', 'https://hunter2@host/a.tar']\n", "data.val.shards.1"),
    (DATA + CHECKPOINT + "weights = 'https://h/w.pth?X-Amz-Signature=hunter2'\n", "checkpoint.0.weights"),
    (DATA + CHECKPOINT + "weights = 'https://h/w.pth?sig=hunter2&se=1'\n", "checkpoint.0.weights"),
    (DATA + CHECKPOINT + "weights = 'https://h/w.pth?token=hunter2'\n", "checkpoint.0.weights"),
]


@pytest.mark.parametrize(("text", "key"), CREDENTIALS)
def test_credentials_in_an_address_are_refused_and_not_repeated(tmp_path: Path, text: str, key: str) -> None:
    message = refused(tmp_path, text)
    assert f"key '{key}'" in message
    assert "environment" in message or "without them" in message
    assert "hunter2" not in message


def test_names_that_only_sound_secret_are_let_pass(tmp_path: Path) -> None:
    study = study_in(
        tmp_path,
        DATA.replace("data.val", "data.token-set")
        + CHECKPOINT
        + "arguments = { tokens = 4, class_token = true }\nweights = 'https://h/w.pth?version=3'\n",
    )
    assert list(study.data) == ["token-set"]
    assert study.checkpoint[0].arguments == {"tokens": 4, "class_token": True}


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    message = refused(tmp_path, DATA + CHECKPOINT + "a1 = 1\na2 = 2\na3 = 3\n")
    assert "unknown key 'checkpoint.0.a1'" in message
    assert message.endswith("(and 2 more)")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone.toml: no such study file; `overlap demo`"):
        load_study(tmp_path / "gone.toml")
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(StudyError, match=r"latin.toml: not valid TOML"):
        load_study(tmp_path / "latin.toml")


def test_a_study_of_imports_alone_needs_only_a_name(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    assert (study.data, study.checkpoint) == ({}, ())
    assert "key 'name' is missing" in refused(tmp_path, "", head="")


def test_hundreds_of_checkpoints_load_fast(tmp_path: Path) -> None:
    entries = "".join(f'[[checkpoint]]\nid = "c{i}"\nsource = "timm:resnet18"\n' for i in range(1500))
    assert len(study_in(tmp_path, DATA + entries).checkpoint) == 1500
