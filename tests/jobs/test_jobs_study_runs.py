"""Processes that train: one that fails or dies does not take the others with it."""

from pathlib import Path

import pytest

from excite.jobs.study.runs import Job, Pool
from stand_ins import Told


def job(folder: Path, name: str, text: str) -> Job:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return Job(name=name, config=file, out=folder / name, work=1.0)


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_a_run_that_fails_says_why(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "killed", "seed: 0\n"), job(tmp_path, "misspelt", "loop: {epoch: 1}\n"),
            job(tmp_path, "empty", "data: {table: gone.csv}\nmodel: {name: resnet20, weights: none}\n")]
    told = Told()
    with Pool(1, tmp_path / "logs") as pool:
        pool._processes[0]._process.kill()
        pool.run(jobs, progress=told)
    assert jobs[0].error == "the process died with signal SIGKILL"
    assert jobs[1].error is not None and "unknown key 'loop.epoch'; did you mean" in jobs[1].error
    assert jobs[2].error is not None and "the table does not exist" in jobs[2].error
    assert [text.partition(":")[0] for text in told.texts] == ["killed", "misspelt", "empty"]
    assert not list(tmp_path.glob("*/config.yaml"))
