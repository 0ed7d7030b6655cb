import pytest

from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve


@pytest.mark.parametrize("given", [None, {}, NetConfig()])
def test_nothing_given_is_the_default(given):
    assert resolve(NetConfig, given, "net") == NetConfig()


def test_fields_change_the_default_and_a_configuration_passes_as_it_is():
    given = resolve(NetConfig, {"width": 16, "head_width": 8}, "net")
    assert (given.width, given.layers) == (16, NetConfig().layers)
    assert resolve(NetConfig, given, "net") is given


def test_an_unknown_field_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match=r"`net` is not valid: wdith.*Known: \['core', 'mixer'.*'layers'.*'width'"):
        resolve(NetConfig, {"wdith": 16}, "net")
    with pytest.raises(ValueError, match=r"`train` is not valid: learning_rate.*'lr'"):
        resolve(TrainConfig, {"learning_rate": 0.1}, "train")


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        (NetConfig, {"layers": 0}, "layers"),
        (NetConfig, {"mixer": "gru"}, "mixer"),
        (NetConfig, {"head": "poisson"}, "head"),
        (NetConfig, {"width": "wide"}, "width"),
        (NetConfig, {"width": 10, "head_width": 8}, "multiple of head_width"),
        (NetConfig, {"kernel": 4}, "kernel must be odd"),
        (NetConfig, {"static_layers": 2, "layers": 2}, "static_layers = 2 must be below layers = 2"),
        (NetConfig, {"mixer": "lstm", "width": 9, "head_width": 9}, "width must be even for the lstm"),
        (NetConfig, {"dropout": 1.0}, "dropout"),
        (TrainConfig, {"epochs": 0}, "epochs"),
        (TrainConfig, {"lr": -1e-3}, "lr"),
        (TrainConfig, {"warmup": 1.0}, "warmup"),
        (TrainConfig, {"precision": "64-true"}, "precision"),
        (TrainConfig, {"every_n_epochs": 0}, "every_n_epochs"),
    ],
)
def test_what_does_not_fit_is_named(kind, given, text):
    with pytest.raises(ValueError, match=text):
        resolve(kind, given, "net")


def test_every_fault_is_told_at_once():
    with pytest.raises(ValueError, match=r"epochs.*lr"):
        resolve(TrainConfig, {"epochs": 0, "lr": 0}, "train")


@pytest.mark.parametrize("config", [NetConfig(mixer="lstm", head="nb", dropout=0.1), TrainConfig(epochs=3)])
def test_a_configuration_survives_json_and_cannot_be_changed(config):
    assert type(config).model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 4
