"""A sealed ``.oaq`` file, and whether the native module is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaq.cli import main
from oaq.errors import NoKernel
from oaq.kernels.table import cpu_isas
from oaq.report.data import Evidence
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.scores import Agreement, Score
from oaq.seal.parts import save
from tests.report import small

TOP1 = Score("top-1", "images", "higher", 18.0)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of 8 x 8 photos, proved, with evidence beside it."""
    path = tmp_path_factory.mktemp("sealed") / "small.oaq"
    evidence = Evidence(Agreement(20, "classify", (TOP1,), (("y", 16.5),)), budget=1.25, seconds=(("quantize", 3.0),))
    save(small.program(input_layout="NCHW"), path, {EVIDENCE: evidence_part(evidence)})
    return path


@pytest.fixture
def native() -> None:
    """Skips where the native module is not built."""
    try:
        cpu_isas()
    except NoKernel:
        pytest.skip("the native module is not built")


@pytest.fixture
def oaq(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process; gives (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call
