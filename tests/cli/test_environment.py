"""Variables of the environment: a mistyped one is an error of every verb, a valid one hides nothing."""

from __future__ import annotations

import json

import pytest

import oaq as package
from oaq.cli.command import VERBS, parser
from oaq.errors import NoKernel, OaqError
from oaq.verify import ort
from tests.report import small

ARGUMENTS = {
    "quantize": ["net.py:net", "--calibrate", "photos", "--out", "x.oaq"],
    "repair": ["net.onnx", "--out", "x.onnx"],
    "balance": ["net.onnx", "--data", "x.npy", "--out", "x.onnx"],
    "run": ["net.oaq", "--input", "x.npy"],
    "export": ["net.oaq", "--out", "x.onnx"],
    "witness": ["net.oaq", "--at", "conv:0"],
    "robust": ["net.oaq", "--input", "x.npy"],
    "tune": ["net.oaq", "--out", "x.oaq"],
    "calibrate": [],
    "completion": ["bash"],
    "info": [],
}
VARIABLES = {"OAQ_ISA": "foo", "OAQ_COSTS": "/nowhere/costs.json", "OAQ_MEMORY_LIMIT": "plenty"}


@pytest.mark.parametrize("verb", [verb.__name__.rpartition(".")[2] for verb in VERBS])
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_mistyped_variable_is_an_error_of_every_verb(oaq, monkeypatch, native, verb, variable):
    if (verb, variable) == ("calibrate", "OAQ_COSTS"):
        return  # it names the file that calibrate writes
    monkeypatch.setenv(variable, VARIABLES[variable])
    arguments = ARGUMENTS.get(verb, ["net.oaq"])
    assert parser().parse_args([verb, *arguments]).verb == verb
    code, out, err = oaq(verb, *arguments)
    assert (code, out) == (2, "")
    assert VARIABLES[variable] in err
    assert len(err.splitlines()) == 1


def test_verify_in_python_refuses_it_too(monkeypatch, native, sealed):
    monkeypatch.setenv("OAQ_ISA", "foo")
    for call in (lambda: package.verify(small.program()), lambda: package.verify_file(sealed)):
        with pytest.raises(NoKernel, match=r"OAQ_ISA asks for 'foo': there are kernels for scalar"):
            call()


def test_a_valid_one_hides_no_row_from_verify(oaq, monkeypatch, native, sealed):
    everything = json.loads(oaq("verify", sealed, "--no-onnx", "--json")[1])
    monkeypatch.setenv("OAQ_ISA", "scalar")
    code, out, _ = oaq("verify", sealed, "--no-onnx", "--json")
    limited = json.loads(out)
    assert code == 0
    assert limited["OAQ_ISA"] == "scalar"
    assert limited["not_run"] == everything["not_run"]
    ran = [executor["name"] for executor in limited["executors"]["executors"] if executor["ran"]]
    assert ran == [executor["name"] for executor in everything["executors"]["executors"] if executor["ran"]]
    assert "OAQ_ISA=scalar does not limit this" in oaq("verify", sealed, "--no-onnx")[1]


class Fail(Exception):
    """Derived from Exception only, as onnxruntime's are."""


@pytest.mark.parametrize("place", ["load", "run"])
def test_a_runtime_that_fails_is_neither_a_traceback_nor_safe(oaq, monkeypatch, native, sealed, place):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "cpu_isas", lambda: ("scalar", "vnni"))

    def fail(*_: object, **__: object) -> None:
        raise Fail("pad should be smaller than kernel\nsecond line")

    if place == "load":
        monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    else:
        monkeypatch.setattr(ort, "_tensors", fail)
    code, out, err = oaq("verify", sealed)
    assert (code, err) == (3, "")
    assert "INCOMPLETE" in out.splitlines()[0]
    assert "pad should be smaller than kernel" in out
    document = json.loads(oaq("verify", sealed, "--json")[1])
    assert (document["safe"], document["complete"]) == (True, False)
    with pytest.raises(OaqError, match="nothing is known about executors that failed"):
        package.verify(small.program()).raise_if_unsafe()
