"""The pieces of a benchmark, each a model trained once: run side by side, kept in files, taken up again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import anndata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._judging import LEAKING, is_baseline
from scperturbmamba._settings import settings
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models.base import Predicts
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl._embedding_ridge import embedding_ridge
from scperturbmamba.tl._model_names import CORE, NETWORKS, PREDICTOR, make_baseline
from scperturbmamba.tl._progress import named_callbacks
from scperturbmamba.tl._scoring import expression_rows, predict_rows

_MARK, _EXPRESSION = "fingerprint", "expression"


@dataclass(frozen=True)
class Job:
    """One model, on one split, with one seed.

    Attributes
    ----------
    model, split, seed
        What to fit, and on what.
    """

    model: str
    split: str
    seed: int

    @property
    def file(self) -> str:
        """Name of the file that keeps its predictions."""
        return f"{self.model.replace(':', '-')}--{self.split}--{self.seed}.h5ad"


@dataclass(frozen=True)
class Said:
    """What a model says of the test rows.

    Attributes
    ----------
    effects, expression
        (rows × genes), scale of X; no expression where it is the training control plus the effect.
    """

    effects: NDArray[np.float32]
    expression: NDArray[np.float32] | None = None

    @classmethod
    def by(cls, model: Predicts, bundle: Bundle, wanted: pd.DataFrame) -> Self:
        """Ask a model."""
        effects = predict_rows(model, bundle, wanted)
        return cls(effects, expression_rows(model, bundle, wanted, effects))


@dataclass(frozen=True)
class Setting:
    """What all jobs share.

    Attributes
    ----------
    adata
        The screen.
    bundles
        Training and validation sides by split.
    wanted
        ``label`` and ``context`` of the test rows by split.
    context
        Column of the contexts.
    net, train
        Settings of the networks.
    """

    adata: AnnData
    bundles: dict[str, Bundle]
    wanted: dict[str, pd.DataFrame]
    context: str | None
    net: NetConfig
    train: TrainConfig

    def fingerprint(self, job: Job) -> str:
        """Return a hash of all that decides the numbers of a job."""
        bundle = self.bundles[job.split]
        network = "" if is_baseline(job.model) else self.net.model_dump_json() + self.train.model_dump_json()
        digest = hashlib.sha256(f"{job}|{network}|{self.context}".encode())
        for value in (bundle.delta, bundle.control, bundle.is_val, *(table.values for table in bundle.features)):
            digest.update(np.ascontiguousarray(value).tobytes())
        words = [*(one.label for one in bundle.conditions), *self.wanted[job.split]["label"], *bundle.genes]
        digest.update("|".join(words).encode())
        return digest.hexdigest()

    def without_cells(self) -> Setting:
        """Return what models that learn from the bundle alone need, to be sent to another process."""
        return Setting(AnnData(), self.bundles, self.wanted, self.context, self.net, self.train)


def run_jobs(jobs: Sequence[Job], setting: Setting, folder: Path | None) -> dict[Job, Said]:
    """Return what every job says of the test rows; those in the folder already are read.

    Raises
    ------
    ValueError
        The folder holds predictions of another benchmark.
    """
    done = {} if folder is None else {job: found for job in jobs if (found := _read(job, setting, folder)) is not None}
    left = [job for job in jobs if job not in done]
    with tqdm(total=len(jobs), initial=len(done), desc="benchmark", disable=not settings.progress or not left) as bar:
        for job, said in _run(left, setting):
            if folder is not None:
                _write(job, setting, said, folder)
            done[job] = said
            bar.update()
    return {job: done[job] for job in jobs}


def _run(jobs: Sequence[Job], setting: Setting) -> Iterator[tuple[Job, Said]]:
    n = min(settings.n_jobs, len(jobs))
    if n <= 1:
        yield from ((job, _fit(job, setting)) for job in jobs)
        return
    leaking = [job for job in jobs if job.model.split(":")[0] == LEAKING]
    yield from ((job, _fit(job, setting)) for job in leaking)
    threads, light = max(1, cpu_count() // n), setting.without_cells()
    choices = {name: getattr(settings, name) for name in ("device", "engine")}
    tasks = (delayed(_fit_elsewhere)(job, light, threads, choices) for job in jobs if job not in leaking)
    yield from Parallel(n_jobs=n, return_as="generator_unordered")(tasks)


def _fit_elsewhere(job: Job, setting: Setting, threads: int, choices: dict[str, Any]) -> tuple[Job, Said]:
    """Fit in a process of its own, which shows no bars and shares the cores with its siblings."""
    torch.set_num_threads(threads)
    settings.progress = False
    for name, value in choices.items():
        setattr(settings, name, value)
    return job, _fit(job, setting)


def _fit(job: Job, setting: Setting) -> Said:
    bundle, wanted = setting.bundles[job.split], setting.wanted[job.split]
    base, _, source = job.model.partition(":")
    if base == LEAKING:
        genes = list(bundle.genes)
        return Said(embedding_ridge(setting.adata[:, genes], bundle, wanted, context=setting.context, embedding=source))
    if base == CORE:
        return Said.by(Knowledge(job.seed).fit(bundle), bundle, wanted)
    if is_baseline(job.model):
        return Said.by(make_baseline(job.model).fit(bundle), bundle, wanted)
    chosen = {} if base == PREDICTOR else {"core": None, "mixer": NETWORKS[base]}
    net = NetConfig(**{**setting.net.model_dump(exclude_unset=True), **chosen})
    where: dict[str, Any] = {"device": settings.device, "engine": settings.engine}
    shown = named_callbacks(setting.train.epochs)
    model = Trained.of(bundle, net, setting.train, random_state=job.seed, callbacks=shown, **where)
    return Said.by(model, bundle, wanted)


def _read(job: Job, setting: Setting, folder: Path) -> Said | None:
    path = folder / job.file
    if not path.exists():
        return None
    found = anndata.read_h5ad(path)
    if found.uns[_MARK] != setting.fingerprint(job):
        msg = (
            f"{path} holds predictions of other data, another split or other settings. "
            "Choose another `folder`, or remove that file."
        )
        raise ValueError(msg)
    expression = found.layers.get(_EXPRESSION)
    return Said(np.asarray(found.X, np.float32), None if expression is None else np.asarray(expression, np.float32))


def _write(job: Job, setting: Setting, said: Said, folder: Path) -> None:
    wanted = setting.wanted[job.split]
    obs = pd.DataFrame(
        {_keys.PERTURBATION: wanted["label"].to_numpy(), "context": wanted["context"].to_numpy()}, index=wanted.index
    )
    var = pd.DataFrame(index=pd.Index(setting.bundles[job.split].genes))
    told = {"model": job.model, "split": job.split, "seed": job.seed, _MARK: setting.fingerprint(job)}
    layers = {} if said.expression is None else {_EXPRESSION: said.expression}
    write_renamed(AnnData(said.effects, obs=obs, var=var, uns=told, layers=layers), folder / job.file)


def write_renamed(table: AnnData, path: Path) -> None:
    """Write under a temporary name and rename, so that a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    table.write_h5ad(partial)
    partial.replace(path)
