"""Files that prove themselves again: what an honest one says, what a forged one cannot hide, whatever was edited."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import oaq
from benchmarks.mutations import Loose, judge, loosen, mutated, rewrite
from oaq import operators as ops
from oaq.errors import FormatError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.certificate import PART
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.seal.parts import sealed_parts
from oaq.verify.sealed import read_sealed
from tests import costs
from tests.simulated_machine import simulated_machine
from tests.strategies import Builder, conv2d, linear, ratios

KINDS = ("oaq", "onnx")


def network() -> IntProgram:
    """Splits, groups, a depthwise layer, weights beyond int8, and every way to come by a range."""
    rng, s = np.random.default_rng(0), 0.05
    builder = Builder("net")
    x = builder.input((5, 5, 3), Affine(s, 100), IntRange(0, 240))
    x = builder.add(conv2d(rng, (8, 3, 3, 3), padding=(1, 1, 1, 1)), [x], Affine(s, 0), IntRange(0, 200), name="stem")
    deep = conv2d(rng, (8, 3, 3, 1), kind="extreme", groups=8, padding=(1, 1, 1, 1))
    y = builder.add(deep, [x], Affine(s, 9), name="deep")
    y = builder.add(conv2d(rng, (8, 1, 1, 4), kind="wide", groups=2), [y], Affine(s, 9), name="wide")
    x = builder.add(ops.Add(Requantize(ratios([s, s], 0.08))), [x, y], Affine(0.08, 3), name="add")
    x = builder.add(ops.Concat(Requantize(ratios([0.08, s], 0.08))), [x, y], Affine(0.08, 3), name="both")
    x = builder.add(ops.Lookup(rng.permutation(256).astype(np.uint8)), [x], Affine(0.08, 3), name="curve")
    x = builder.add(ops.MaxPool((2, 2), (1, 1), (0, 1, 0, 1)), [x], name="max")
    mean = Requantize(ratios([0.08], 0.07) / np.arange(1, 5, dtype=np.float32))
    x = builder.add(ops.AvgPool((2, 2), (2, 2), mean, (1, 0, 0, 1), False), [x], Affine(0.07, 9), name="mean")
    pool = ops.GlobalAvgPool(Requantize(ratios([0.07], 0.06) / np.float32(9)))
    x = builder.add(ops.Reshape((16,)), [builder.add(pool, [x], Affine(0.06, 1), name="pool")], name="flat")
    builder.add(linear(rng, (10, 16), scales=(0.06, s)), [x], Affine(s, 128), name="fc")
    return builder.finish(input_layout="NHWC")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One program, both kinds of file, planned for the instruction sets of a machine that has all rows."""
    folder, program = tmp_path_factory.mktemp("sealed"), network()
    with simulated_machine():
        parts = sealed_parts(program)
        oaq.program.files.save(program, folder / "net.oaq", parts)
        oaq.export.onnx(program, folder / "net.onnx", parts)
    return {kind: folder / f"net.{kind}" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_program_and_proves_it_again(honest: dict[str, Path], kind: str) -> None:
    report = oaq.verify_file(honest[kind])
    report.raise_if_unsafe()
    assert report.fingerprint == fingerprint(network())
    assert report.proved == (4, 4)
    assert report.certificate.startswith("holds: 34 sums and ")
    assert all(one.mismatches == 0 for one in report.executors)
    named = "; nodes that ONNX leaves to float, where others may be one step off: 4"
    assert report.certificate.endswith(named) == (kind == "onnx")


def test_both_kinds_hold_the_same_program_and_signature(honest: dict[str, Path]) -> None:
    one, other = (read_sealed(honest[kind]) for kind in KINDS)
    assert fingerprint(one.program) == fingerprint(other.program)
    assert one.program.metadata == other.program.metadata
    assert one.parts["signature"].content == other.parts["signature"].content


@pytest.mark.parametrize("weights", ["minus-128", "wide"])
def test_weights_that_int8_barely_holds_or_does_not_hold_survive_both_kinds(weights: str, tmp_path: Path) -> None:
    rng, builder = np.random.default_rng(1), Builder(weights)
    x = builder.input((5, 5, 6), Affine(0.05, 200))
    x = builder.add(conv2d(rng, (12, 3, 3, 6), kind=weights, padding=(1, 1, 1, 1)), [x], Affine(0.05, 9), name="stem")
    deep = conv2d(rng, (12, 5, 5, 1), kind=weights, groups=12)
    x = builder.add(ops.Reshape((12,)), [builder.add(deep, [x], Affine(0.05, 0), name="deep")])
    builder.add(linear(rng, (11, 12), kind=weights), [x], Affine(0.05, 128), name="fc")
    program = builder.finish()
    least = min(int(node.op.weight.min()) for node in program.summing_nodes())  # type: ignore[union-attr]
    assert least == -128 if weights == "minus-128" else least < -128
    for kind, save in (("oaq", oaq.save), ("onnx", oaq.export.onnx)):
        with simulated_machine():
            save(program, tmp_path / f"p.{kind}")
            report = oaq.verify_file(tmp_path / f"p.{kind}")
        report.raise_if_unsafe()
        assert report.fingerprint == fingerprint(program)
        assert len([one for one in report.executors if one.ran]) == 3
    with simulated_machine():
        everyone = oaq.verify(program, rows=False, witnesses=False)
    everyone.raise_if_unsafe()
    assert next(one for one in everyone.executors if one.name.startswith("onnxruntime")).ran


def test_an_onnx_file_is_proved_without_the_onnx_package(honest: dict[str, Path]) -> None:
    code = (
        f"import sys, oaq; print(oaq.verify_file({str(honest['onnx'])!r}).is_safe, "
        "[name for name in ('onnx', 'onnxruntime', 'torch', 'google.protobuf') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True []\n"


def test_a_file_of_somebody_else_is_sent_to_the_doctor(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y]))
    onnx.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(FormatError, match=r"theirs.onnx: is an ONNX file without a certificate.*oaq doctor"):
        oaq.verify_file(tmp_path / "theirs.onnx")


def test_an_edited_onnx_file_is_refused_before_it_is_read_further(honest: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(honest["onnx"])
    model.producer_name = "somebody"
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(FormatError, match="it has been edited or damaged"):
        oaq.verify_file(tmp_path / "edited.onnx")
    content = honest["onnx"].read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.onnx").write_bytes(content[:size])
        with pytest.raises(FormatError, match=r"cut.onnx: "):
            oaq.verify_file(tmp_path / "cut.onnx")


def claims(loose: Loose, end: str) -> np.ndarray:
    """The first array of the certificate whose name ends so."""
    return next(
        loose.arrays[key] for key in sorted(loose.arrays) if key.startswith(f"part/{PART}/") and key.endswith(end)
    )


def false_bound(loose: Loose) -> None:
    claims(loose, "/bounds")[0, 1] -= 1


def false_total(loose: Loose) -> None:
    claims(loose, "/total")[3, 0] += 1


def narrower_range(loose: Loose) -> None:
    """The output of the first layer is said to reach less than it does."""
    index = loose.documents[PART]["tensors"].index("t1")
    high = loose.arrays[f"part/{PART}/ranges/{index}/hi"]
    high[int(high.argmax())] -= 1


def wider_register(loose: Loose) -> None:
    for model in loose.documents[PART]["registers"].values():
        model["bits"] = 32


def no_saturation(loose: Loose) -> None:
    for model in loose.documents[PART]["registers"].values():
        model["group_overflow"] = "wraps"


def observed_tier(loose: Loose) -> None:
    loose.documents[PART]["tier"] = "observed"


def other_signature(loose: Loose) -> None:
    loose.documents["signature"]["sha256"] = "0" * 64


def split_weight(loose: Loose) -> None:
    """A weight of one issue is moved out of the layer's sum."""
    next(value for key, value in sorted(loose.arrays.items()) if key.endswith("/split_weight") and value.size).flat[
        0
    ] ^= 1


FORGERIES: dict[str, tuple[Callable[[Loose], None], str]] = {
    "a false bound": (false_bound, "bound stated"),
    "a false total": (false_total, "total at"),
    "a narrower range": (narrower_range, "range hi at"),
    "a wider register": (wider_register, "the register is Register"),
    "a pair that does not saturate": (no_saturation, "the register is Register"),
    "evidence called proof": (observed_tier, "its tier is 'observed'"),
    "another signature": (other_signature, "the reference computes"),
    "a split weight": (split_weight, "executed weights sum to"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_with_every_checksum_made_anew_is_caught_by_the_proof(
    honest: dict[str, Path], tmp_path: Path, what: str, kind: str
) -> None:
    forge, message = FORGERIES[what]
    loose, path = loosen(honest[kind]), tmp_path / f"forged.{kind}"
    forge(loose)
    rewrite(loose, path)
    report = oaq.verify_file(path, isas=())
    assert not report.is_safe
    assert any(message in reason for reason in report.unsafe), report.unsafe


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bounds", ["as they would be", "as they may be"])
def test_a_run_too_long_for_its_register_is_caught_whatever_bound_is_stated(
    tmp_path: Path, kind: str, bounds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAQ_COSTS", str(costs.write(tmp_path)))  # by which 16-bit sums pay for this layer
    builder, path = Builder("long"), tmp_path / f"long.{kind}"
    builder.add(linear(np.random.default_rng(0), (8, 900), kind="small"), [builder.input((900,))], name="fc")
    with simulated_machine():
        (oaq.save if kind == "oaq" else oaq.export.onnx)(builder.finish(), path)
    assert oaq.verify_file(path, isas=()).is_safe
    loose = loosen(path)
    registers = [one["register"] for one in loose.documents[PART]["nodes"][0]["schedules"]]
    prefix = f"part/{PART}/schedules/0/{registers.index('gemm_u8s8_avx2_acc16')}"
    segments, ends = loose.arrays[f"{prefix}/segments"], loose.arrays[f"{prefix}/bounds"]
    assert segments.tolist()[:2] == [[0, 0, segments[0, 2]], [0, segments[0, 2], segments[1, 2]]]
    merged, joined = np.delete(segments, 1, axis=0), np.delete(ends, 1, axis=0)
    merged[0, 2] += segments[1, 2]
    if bounds == "as they would be":
        joined[0] += ends[1]
    loose.arrays |= {f"{prefix}/segments": merged, f"{prefix}/bounds": joined}
    rewrite(loose, path)
    report = oaq.verify_file(path, isas=())
    assert any("a 16-bit lane can reach" in reason for reason in report.unsafe)
    assert not report.is_safe


def swapped(value: np.ndarray) -> None:
    """The first two outputs trade their weights."""
    value[[0, 1]] = value[[1, 0]]


def swap_weights(loose: Loose) -> None:
    if loose.model is None:
        swapped(loose.arrays["nodes/0/weight"])
        return
    tensor = next(one for one in loose.model.graph.initializer if one.name == "stem.weight")
    value = numpy_helper.to_array(tensor).copy()
    swapped(value)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rehash", [False, True])
def test_swapped_weights_are_caught_even_if_the_certificate_is_told_their_hash(
    honest: dict[str, Path], tmp_path: Path, kind: str, rehash: bool
) -> None:
    loose, path = loosen(honest[kind]), tmp_path / f"forged.{kind}"
    swap_weights(loose)
    if rehash:
        rewrite(loose, path)
        loose.documents[PART]["program"] = fingerprint(read_sealed(path).program)
    rewrite(loose, path)
    report = oaq.verify_file(path, isas=())
    assert not report.is_safe
    assert any("is for another program" in reason for reason in report.unsafe) != rehash
    assert any("stem: " in reason for reason in report.unsafe)
    assert any("signature" in reason for reason in report.unsafe)


def test_a_certificate_of_another_file_does_not_fit(tmp_path: Path, honest: dict[str, Path]) -> None:
    other = Builder("other")
    x = other.input((4,))
    other.add(linear(np.random.default_rng(3), (4, 4)), [x], name="fc")
    program = other.finish()
    parts = {name: read_sealed(honest["oaq"]).parts[name] for name in (PART, "signature")}
    for path in (tmp_path / "p.oaq", tmp_path / "p.onnx"):
        save: Any = oaq.export.onnx if path.suffix == ".onnx" else oaq.program.files.save
        save(program, path, parts)
        assert not oaq.verify_file(path, isas=()).is_safe


def test_a_certificate_that_is_no_object_is_one_error(tmp_path: Path) -> None:
    program = network()
    oaq.export.onnx(program, tmp_path / "p.onnx", {PART: Part([]), "signature": Part({})})
    with pytest.raises(FormatError, match="certificate"):
        oaq.verify_file(tmp_path / "p.onnx")


HARMLESS = (
    "certificate.assumptions",  # sentences for people
    "certificate.nodes.*.schedules",  # claimed of another register of the same model, or no longer claimed
    "certificate.signature",  # free
    "program.metadata",  # how a caller's photos are prepared
    "model.ir_version",
    "model.producer_name",
    "model.graph.name",
    "model.graph.node.name",
    "model.graph.node.attribute.i",  # 0 is what its absence means
    "model.graph.input.type.tensor_type.shape.dim.dim_param",  # what the batch is called
    "model.graph.output.type.tensor_type.shape.dim.dim_param",
    "model.opset_import.domain",  # "" is the default
)
"""Patterns whose edits may leave program and claims as they were."""


@pytest.mark.parametrize("kind", KINDS)
def test_three_hundred_edits_of_one_field_are_caught_or_change_nothing(
    honest: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    rng, path, identity = np.random.default_rng(5), tmp_path / f"edited.{kind}", fingerprint(network())
    found: dict[str, list[str]] = {"refused": [], "unsafe": [], "harmless": [], "MISSED": []}
    for _ in range(300):
        pattern = mutated(honest[kind], path, rng)
        found[judge(path, identity)[0]].append(pattern)
    assert not found["MISSED"]
    assert not [one for one in found["harmless"] if not one.startswith(HARMLESS)]
    assert len(found["refused"]) > 100
    assert len(found["unsafe"]) > 40
    assert len({one for patterns in found.values() for one in patterns}) > 40
