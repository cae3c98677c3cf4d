"""``import oaq``: what it offers, and what it must not load."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import oaq

HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "scipy", "matplotlib", "PIL", "rich", "google")


def modules_after(statement: str) -> set[str]:
    """Modules in a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return set(done.stdout.split())


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``statement``."""
    return {name.split(".")[0] for name in modules_after(statement)}


@pytest.mark.parametrize("module", ["oaq", "oaq.verify", "oaq.export", "oaq.report", "oaq.checker", "oaq.cli"])
def test_importing_loads_numpy_and_nothing_heavier(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert "numpy" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_this_test_can_fail() -> None:
    assert "onnx" in loaded_after("import oaq.export.onnx_qdq")


def test_importing_loads_no_verb_that_is_not_called() -> None:
    verbs = {"oaq.tune.choice", "oaq.report.html", "oaq.doctor", "oaq.capture", "oaq.data", "oaq.choose"}
    assert modules_after("import oaq").isdisjoint(verbs)
    assert "oaq.doctor" in modules_after("import oaq; oaq.diagnose")


def test_every_public_name_is_there_or_needs_a_package_that_is_not() -> None:
    for name in oaq.__all__:
        try:
            assert getattr(oaq, name) is not None
        except ImportError as error:
            assert name in ("ptq", "qat", "quantize", "quantize_dynamic"), error  # load torch
    assert set(dir(oaq)) == set(oaq.__all__)


def test_verbs_stay_callable_whatever_is_imported_after_them() -> None:
    import oaq.report.html  # a package and a verb share these names; the verb must win
    import oaq.tune.timing
    import oaq.verify.report

    verbs = (oaq.analyze, oaq.plan, oaq.verify, oaq.verify_file, oaq.report, oaq.tune, oaq.load, oaq.save)
    for verb in (*verbs, oaq.export.onnx):
        assert callable(verb)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'quantise'; its public names are .*quantize"):
        oaq.quantise  # noqa: B018
