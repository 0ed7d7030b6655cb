from pathlib import Path

import pytest

import scperturbmamba as spm
from scperturbmamba._settings import Settings


@pytest.fixture
def settings():
    return Settings()


def test_the_defaults_choose_for_the_user(settings):
    assert (settings.device, settings.engine, settings.progress) == ("auto", "auto", True)
    assert settings.cache_dir == Path.home() / ".cache" / "scperturbmamba"


def test_the_cache_folder_can_be_set_from_outside(monkeypatch, tmp_path):
    monkeypatch.setenv("SPM_CACHE", str(tmp_path))
    assert Settings().cache_dir == tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "cpu"), ("device", "cuda"), ("device", "mps"), ("engine", "torch"), ("engine", "mamba_ssm"),
     ("progress", False)],
)  # fmt: skip
def test_a_choice_is_kept(settings, name, value):
    setattr(settings, name, value)
    assert getattr(settings, name) == value


def test_a_folder_given_as_text_is_a_path(settings):
    settings.cache_dir = "somewhere"
    assert settings.cache_dir == Path("somewhere")
    settings.cache_dir = Path("elsewhere")
    assert settings.cache_dir == Path("elsewhere")


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [
        ("device", "gpu", ValueError, "one of auto, cpu, cuda, mps; found 'gpu'"),
        ("engine", None, ValueError, "one of auto, torch, mamba_ssm; found None"),
        ("progress", "no", TypeError, "True or False; found 'no'"),
        ("cache_dir", None, TypeError, "must be a path; found None"),
        ("devise", "cpu", AttributeError, "has no 'devise'. Choose one of device, engine, cache_dir, progress"),
    ],
)
def test_an_impossible_choice_is_refused_and_the_old_one_stays(settings, name, value, error, said):
    before = repr(settings)
    with pytest.raises(error, match=said):
        setattr(settings, name, value)
    assert repr(settings) == before


def test_the_repr_shows_every_choice(settings):
    settings.cache_dir = "x"
    assert repr(settings) == "Settings(device='auto', engine='auto', cache_dir='x', progress=True, n_jobs=1)"


def test_the_package_has_one_settings_object():
    assert isinstance(spm.settings, Settings)
    from scperturbmamba._settings import settings

    assert spm.settings is settings
