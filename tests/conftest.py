import os
from pathlib import Path

import pytest

import scperturbmamba as spm

spm.settings.progress = False


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("SPM_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(
            f"the shared screens are not at {folder}; set SPM_DATA to the folder that holds data/ and knowledge/"
        )
    return folder
