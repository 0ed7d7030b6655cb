import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from scperturbmamba.data.conditions import Condition
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models import checkpoint as checkpoint_module
from scperturbmamba.models.checkpoint import Checkpoint, load_folder, save_folder
from scperturbmamba.models.packing import SCHEMA, pack, unpack
from scperturbmamba.models.trained import Trained

torch.set_num_threads(1)

LABELS = ("G00", "G00+G04", "OUT2", "NOWHERE", "control")
KINDS = [("mamba2", "linear", None), ("lstm", "linear", None), ("mamba2", "nb", None), ("mlp", "nb", "knowledge")]


def asked():
    return [Condition.parse(label).with_kind("CRISPRi") for label in LABELS]


def fitted(make_bundle, mixer="mamba2", head="linear", core=None):
    net = NetConfig(core=core, width=8, head_width=8, state=4, mixer=mixer, head=head, layers=2, static_layers=1)
    training = TrainConfig(epochs=2, every_n_epochs=1, seeds=2, folds=2)
    data = make_bundle(cells=head == "nb", covariates=True)
    return Trained.of(data, net, training, random_state=4, device="cpu")


@pytest.fixture(params=KINDS, ids=str)
def model(make_bundle, request):
    return fitted(make_bundle, *request.param)


@pytest.fixture
def packed(make_bundle):
    return pack(fitted(make_bundle))


def assert_same(one, other):
    assert json.loads(one.description) == json.loads(other.description)
    assert set(one.arrays) == set(other.arrays)
    for name, value in one.arrays.items():
        assert value.dtype == other.arrays[name].dtype and value.shape == other.arrays[name].shape, name
        assert value.tobytes() == other.arrays[name].tobytes(), name


def test_a_model_comes_back_bit_by_bit(model):
    packed = pack(model)
    back = unpack(packed)
    for context in (0, 1):
        assert np.array_equal(back.predict(asked(), context=context), model.predict(asked(), context=context))
    assert_same(pack(back), packed)
    assert back.frame.seen == model.frame.seen and back.speaker.words() == model.speaker.words()
    for one, other in zip(back.speaker.networks, model.speaker.networks, strict=True):
        assert one.history == other.history
        assert (one.net, one.training, one.random_state) == (other.net, other.training, other.random_state)


def test_a_model_comes_back_from_a_folder_bit_by_bit(model, tmp_path):
    packed = pack(model)
    save_folder(packed, tmp_path / "deep" / "er", overwrite=False)
    loaded = load_folder(tmp_path / "deep" / "er")
    assert_same(loaded, packed)
    assert np.array_equal(unpack(loaded).predict(asked()), model.predict(asked()))
    if model.frame.count_model is not None:
        assert np.array_equal(unpack(loaded).sample(asked(), 5), model.sample(asked(), 5))


def test_the_description_says_what_made_the_model(packed):
    found = json.loads(packed.description)
    assert found["schema"] == SCHEMA
    assert set(found["versions"]) == {"scperturbmamba", "torch", "lightning", "anndata", "numpy"}
    assert found["provenance"] == {"identity": "hash-i", "pathway": "hash-p", "position": "hash-o"}
    assert found["encoder"]["genes"] == [f"G{number:02d}" for number in range(12)]
    assert (
        found["contexts"] == ["A", "B"] and found["covariates"] == ["depth"] and found["speaker"]["kind"] == "network"
    )
    network = found["speaker"]["network"]
    assert network["net"]["width"] == 8 and network["train"]["epochs"] == 2 and network["random_state"] == 4
    assert network["history"]["rows"][-1]["epoch"] == 2


def test_a_folder_holds_json_and_safetensors_and_nothing_else(packed, tmp_path, monkeypatch):
    save_folder(packed, tmp_path / "p", overwrite=False)
    assert sorted(path.suffix for path in (tmp_path / "p").iterdir()) == [".json", ".safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    monkeypatch.setattr(pickle, "loads", lambda *_, **__: pytest.fail("unpickled"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    unpack(load_folder(tmp_path / "p"))


def test_a_folder_can_be_read_by_whom_the_umask_allows(packed, tmp_path):
    old = os.umask(0o022)
    try:
        save_folder(packed, tmp_path / "p", overwrite=False)
    finally:
        os.umask(old)
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "p").iterdir()} == {0o644}


def test_a_newer_schema_is_refused_with_the_remedy(packed):
    newer = json.loads(packed.description)
    newer["schema"], newer["versions"]["scperturbmamba"] = SCHEMA + 1, "9.9"
    with pytest.raises(ValueError, match=rf"scperturbmamba 9\.9 with schema {SCHEMA + 1}.*pip install -U"):
        unpack(replace(packed, description=json.dumps(newer)))


@pytest.mark.parametrize("name", ["speaker.net.head.out.weight", "encoder.order", "frame.control"])
def test_a_checkpoint_that_lacks_arrays_is_refused_by_name(packed, name):
    arrays = {key: value for key, value in packed.arrays.items() if key != name}
    with pytest.raises(ValueError, match=name.removeprefix("speaker.net.")):
        unpack(Checkpoint(packed.description, arrays))


@pytest.mark.parametrize("name", ["predictor.json", "weights.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_name(packed, tmp_path, name):
    save_folder(packed, tmp_path / "p", overwrite=False)
    (tmp_path / "p" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}.*save_predictor"):
        load_folder(tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="save_predictor"):
        load_folder(tmp_path / "nowhere")


def test_an_older_folder_is_replaced_only_when_asked(packed, tmp_path, make_bundle):
    folder = tmp_path / "p"
    save_folder(packed, folder, overwrite=False)
    (folder / "note.txt").write_text("mine")
    other = pack(fitted(make_bundle, "lstm"))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_folder(other, folder, overwrite=False)
    assert_same(load_folder(folder), packed)
    save_folder(other, folder, overwrite=True)
    assert_same(load_folder(folder), other)
    assert sorted(path.name for path in folder.iterdir()) == ["predictor.json", "weights.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("there", [True, False])
def test_a_write_that_fails_half_way_leaves_what_was_there(packed, tmp_path, monkeypatch, there):
    folder = tmp_path / "p"
    if there:
        save_folder(packed, folder, overwrite=False)

    def fail(arrays, path):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint_module, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_folder(packed, folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == (["p"] if there else [])
    if there:
        assert_same(load_folder(folder), packed)
