"""Whole files of every form: what is changed, that it is proved, and that nothing else is touched."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import oaq
from benchmarks import onnx_files
from oaq.capture.from_onnx import import_quantized
from oaq.doctor import diagnose
from oaq.errors import AccumulatorOverflow, CalibrationError, FormatError, ProgramError, UnsupportedOp
from oaq.repair import repair
from tests.capture.from_onnx.files import model, node

SHAPE = (3, onnx_files.SIDE, onnx_files.SIDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_files.written(tmp_path_factory.mktemp("forms"))


def arrays(content: bytes) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}


def without_constants(content: bytes) -> bytes:
    """What is left of a file; a layer's own copy of a shared constant goes by the name it was copied from, and one
    scale per tensor may have become one per axis."""
    made = onnx.load_from_string(content)
    del made.graph.initializer[:]
    for one in made.graph.node:
        one.input[:] = [name.rstrip("_").removesuffix("_repaired") for name in one.input]
        kept = [each for each in one.attribute if each.name != "axis" or one.op_type != "DequantizeLinear"]
        del one.attribute[:]
        one.attribute.extend(kept)
    return made.SerializeToString(deterministic=True)


def results(content: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


SIGNED_WEIGHTS = [
    f"{form} {kinds} per {grain}"
    for form in ("QDQ", "QOperator")
    for kinds in ("U8S8", "S8S8")
    for grain in ("tensor", "channel")
]


@pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])
@pytest.mark.parametrize("form", SIGNED_WEIGHTS)
def test_every_form_is_proved_safe_and_only_unsafe_outputs_are_changed(folder: Path, form: str, data: bool) -> None:
    path = folder / f"{form}.onnx"
    x = np.random.default_rng(1).normal(0, 1, (6, *SHAPE)).astype(np.float32)
    found = repair(path, data=[x] if data else None)
    assert found.layers and not found.before.is_safe and found.after.is_safe
    old, (out,) = import_quantized(path), [path.with_name("repaired.onnx")]
    found.save(out)
    new = import_quantized(out)
    assert diagnose(new.program, ("avx2-acc32",)).is_safe
    changed = {one.node: one for one in found.layers}
    for before, after in zip(old.program.summing_nodes(), new.program.summing_nodes(), strict=True):
        layer = changed.get(before.name)
        outputs = np.arange(len(before.op.weight))
        kept = outputs if layer is None else np.setdiff1d(outputs, layer.changed)
        np.testing.assert_array_equal(after.op.weight[kept], before.op.weight[kept])
        np.testing.assert_array_equal(after.op.bias[kept], before.op.bias[kept])
        if layer is not None:
            assert set(layer.changed) == set(found.before[before.name].verdicts["avx2-acc32"].unsafe)
            assert layer.sqnr > layer.sqnr_seven_bits
            assert layer.measured == data
    assert without_constants(found.content) == without_constants(path.read_bytes())
    y, z = results(path.read_bytes(), x), results(found.content, x)
    assert np.abs(y - z).max() < 0.1  # probabilities
    assert not np.array_equal(y, z)


@pytest.mark.parametrize("form", ["QDQ U8U8 per channel", "QOperator U8U8 per tensor"])
def test_a_file_that_is_safe_comes_back_byte_for_byte(folder: Path, form: str) -> None:
    path = folder / f"{form}.onnx"
    found = repair(path)  # kernels widen u8 weights: nothing is narrow
    assert found.was_safe and found.after.is_safe
    assert found.content == path.read_bytes()


def test_repairing_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    once = repair(folder / "QDQ U8S8 per channel.onnx")
    once.save(tmp_path / "once.onnx")
    assert repair(tmp_path / "once.onnx").content == once.content


@pytest.mark.parametrize("isa", ["avx2-acc16", "avx2-fbgemm", "neon-mlal-pair", "neon-acc16", "18 bits"])
@pytest.mark.parametrize("form", ["QDQ U8S8 per channel", "QOperator S8S8 per tensor"])
def test_other_registers_are_kept_too(folder: Path, form: str, isa: str) -> None:
    found = repair(folder / f"{form}.onnx", isa)
    assert found.after.is_safe
    assert found.was_safe == found.before.is_safe


def test_weights_stored_as_reals_are_repaired_as_reals(folder: Path) -> None:
    path = folder / "QONNX.onnx" if (folder / "QONNX.onnx").exists() else next(folder.glob("*onnx*.onnx"))
    found = repair(path, "9 bits")
    assert found.layers and found.after.is_safe
    before, after = arrays(path.read_bytes()), arrays(found.content)
    assert after["w"].dtype == np.float32 and not np.array_equal(before["w"], after["w"])
    np.testing.assert_array_equal(before["s"], after["s"])


def two_layers(**constants: np.ndarray) -> onnx.ModelProto:
    """Two 1 x 1 convolutions of 4 channels; by default with arrays of their own."""
    own = [f"w{index}" if f"w{index}" in constants else "w" for index in (0, 1)]
    scales = ["ws" if "ws" in constants else f"ws{index}" for index in (0, 1)]
    nodes = [node("QuantizeLinear", ["x", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d")]
    name = "d"
    for index, (weight, scale) in enumerate(zip(own, scales, strict=True)):
        nodes += [
            node("DequantizeLinear", [weight, scale, "wz"], f"dw{index}", axis=0),
            node("DequantizeLinear", [f"b{index}", f"bs{index}"], f"db{index}", axis=0),
            node("Conv", [name, f"dw{index}", f"db{index}"], f"c{index}"),
            node("QuantizeLinear", [f"c{index}", "s", "z"], f"q{index}"),
            node("DequantizeLinear", [f"q{index}", "s", "z"], f"d{index}"),
        ]
        name = f"d{index}"
    scale = np.full(4, 0.004, np.float32)
    every = {
        "s": np.array(0.02, np.float32),
        "z": np.array(0, np.uint8),
        "wz": np.zeros(4, np.int8),
        "w": np.full((4, 4, 1, 1), 127, np.int8),
        "ws0": scale,
        "ws1": scale,
        **{f"b{index}": np.arange(4, dtype=np.int32) * 1000 for index in (0, 1)},
        **{f"bs{index}": np.float32(0.02) * scale for index in (0, 1)},
        **constants,
    }
    read = {name for one in nodes for name in one.input}
    return model(nodes, {"x": ("n", 4, 4, 4)}, ["d1"], {name: one for name, one in every.items() if name in read})


def saved(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def heavy_and_light() -> dict[str, np.ndarray]:
    heavy, light = np.full((4, 4, 1, 1), 50, np.int8), np.full((4, 4, 1, 1), 3, np.int8)
    heavy[1] = 127
    return {"w0": heavy, "w1": light}


def test_the_weights_scale_and_bias_of_one_output_change_and_their_real_values_hardly(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", two_layers(**heavy_and_light()))
    found = repair(path)
    before, after = arrays(path.read_bytes()), arrays(found.content)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"w0", "ws0", "b0", "bs0"} and set(before) == set(after)
    for name in ("w0", "ws0", "b0", "bs0"):
        assert np.nonzero(before[name] != after[name])[0].tolist() == [1] * np.count_nonzero(
            before[name] != after[name]
        )
    real = [(one["w0"].reshape(4, 4) * one["ws0"][:, None], one["b0"] * one["bs0"]) for one in (before, after)]
    np.testing.assert_allclose(real[1][0], real[0][0], rtol=0.01)
    np.testing.assert_allclose(real[1][1], real[0][1], atol=float(after["bs0"].max()))
    np.testing.assert_allclose(after["bs0"], np.float32(0.02) * after["ws0"], rtol=1e-6)


def test_a_scale_that_another_layer_reads_too_is_not_touched(tmp_path: Path) -> None:
    shared = np.full(4, 0.004, np.float32)
    path = saved(tmp_path / "m.onnx", two_layers(**heavy_and_light(), ws=shared))
    after = arrays(repair(path).content)
    np.testing.assert_array_equal(after["ws"], shared)
    assert "ws_repaired" in after and after["ws_repaired"][1] > shared[1]


def test_weights_that_two_layers_share_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", two_layers(w=np.full((4, 4, 1, 1), 127, np.int8)))
    with pytest.raises(UnsupportedOp, match="w: the layers c0, c1 share these weights; give each its own copy first"):
        repair(path)


def test_a_bias_takes_back_what_new_weights_do_to_the_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
    path = saved(tmp_path / "m.onnx", two_layers(w0=weight, w1=heavy_and_light()["w1"]))
    x = rng.uniform(0, 5, (64, 4, 4, 4)).astype(np.float32)
    found = repair(path, data=[x])
    assert [one.node for one in found.layers] == ["c0"]
    old, new = (import_quantized(path), None)
    found.save(tmp_path / "r.onnx")
    new = import_quantized(tmp_path / "r.onnx")
    mean = np.clip(np.rint(x / np.float32(0.02)), 0, 255).mean(axis=(0, 2, 3))
    means = []
    for one in (old, new):
        op = next(one.program.summing_nodes()).op
        means.append((op.weight.reshape(4, 4) @ mean + op.bias) * op.requantize.multiplier)
    np.testing.assert_allclose(means[1], means[0], atol=0.02)


def test_what_no_weights_can_mend_is_refused(folder: Path) -> None:
    with pytest.raises(AccumulatorOverflow, match=r"the instruction takes 0\.\.127\. No other weights would mend that"):
        repair(folder / "QDQ U8S8 per channel.onnx", "wasm-relaxed-i7")


def test_an_unknown_register_and_data_that_do_not_fit_are_one_error_each(folder: Path) -> None:
    path = folder / "QDQ U8S8 per channel.onnx"
    with pytest.raises(ProgramError, match="no register model is called 'mmx'"):
        repair(path, "mmx")
    with pytest.raises(CalibrationError, match="there are no samples to look at"):
        repair(path, data=[])
    with pytest.raises(CalibrationError, match="ONNX Runtime cannot run the file on these samples"):
        repair(path, data=[np.zeros((1, 5, 8, 8), np.float32)])
    with pytest.raises(CalibrationError, match="the file takes x; the samples are y"):
        repair(path, data=[{"y": np.zeros((1, *SHAPE), np.float32)}])


def test_a_file_with_data_beside_it_is_written_beside_it_only(folder: Path, tmp_path: Path) -> None:
    made = onnx.load(folder / "QDQ U8S8 per channel.onnx")
    path = tmp_path / "m.onnx"
    onnx.save(made, path, save_as_external_data=True, location="m.bin", size_threshold=0)
    found = repair(path)
    with pytest.raises(FormatError, match="keeps constants in other files"):
        found.save(tmp_path.parent / "r.onnx")
    found.save(tmp_path / "r.onnx")
    assert diagnose(import_quantized(tmp_path / "r.onnx").program, ("avx2-acc32",)).is_safe


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        repair(tmp_path / "none.onnx")


def test_a_certificate_about_the_old_weights_does_not_stay(tmp_path: Path) -> None:
    program = import_quantized(saved(tmp_path / "m.onnx", two_layers(**heavy_and_light()))).program
    oaq.export.onnx(program, tmp_path / "sealed.onnx")
    assert {one.key for one in onnx.load(tmp_path / "sealed.onnx").metadata_props} == {"oaq"}
    found = repair(tmp_path / "sealed.onnx")
    assert not onnx.load_from_string(found.content).metadata_props
    assert "its certificate was about other weights and is left out" in found.notes


def test_one_scale_for_all_becomes_one_for_each_output_and_others_keep_every_bit(tmp_path: Path) -> None:
    made = two_layers(**heavy_and_light())
    for one in made.graph.initializer:
        if one.name in ("ws0", "bs0", "wz"):
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one)[0], one.name))
    for one in made.graph.node:
        if one.output[0] in ("dw0", "dw1", "db0"):
            del one.attribute[:]
    made.graph.initializer.append(numpy_helper.from_array(np.float32(0.004), "ws1_"))
    next(one for one in made.graph.node if one.output[0] == "dw1").input[1] = "ws1_"
    path = saved(tmp_path / "m.onnx", made)
    found = repair(path)
    assert found.layers[0].rescaled == 1
    before, after = arrays(path.read_bytes()), arrays(found.content)
    assert before["ws0"].shape == () and after["ws0"].shape == (4,)
    np.testing.assert_array_equal(np.delete(after["ws0"], 1), before["ws0"])
    np.testing.assert_array_equal(after["wz"], before["wz"])  # the other layer reads it
    assert after["wz_repaired"].tolist() == [0, 0, 0, 0]
    assert np.isfinite(results(found.content, np.ones((1, 4, 4, 4), np.float32))).all()


def one_scale_per_layer(opset: int, **constants: np.ndarray) -> onnx.ModelProto:
    """``two_layers`` as files before opset 13 are: one scale for all outputs, no axis."""
    made = two_layers(**constants)
    made.opset_import[0].version = opset
    for one in made.graph.initializer:
        if one.name in ("ws0", "ws1", "bs0", "bs1", "wz"):
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one)[0], one.name))
    for one in made.graph.node:
        del one.attribute[:]
    return made


@pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])
@pytest.mark.parametrize("registers", ["avx2-acc32", "avx512bw", "neon-mlal-pair"])
@pytest.mark.parametrize("seed", range(4))
def test_a_file_without_scales_per_output_gets_one_coarser_scale_and_says_what_it_cannot_hold(
    tmp_path: Path, registers: str, data: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    weights = {f"w{index}": rng.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8) for index in (0, 1)}
    path = saved(tmp_path / "m.onnx", one_scale_per_layer(10, **weights))
    x = rng.uniform(0, 5, (8, 4, 4, 4)).astype(np.float32)
    found = repair(path, registers, [x] if data else None)
    if found.was_safe:
        assert not found.notes
        return
    assert found.after.is_safe
    assert all(one.sqnr > one.sqnr_seven_bits - 1e-3 for one in found.layers)
    assert "opset 10 has no other" in found.notes[-1] and "opset 13" in found.notes[-1]
    after = arrays(found.content)
    assert {after[name].shape for name in ("ws0", "ws1", "bs0", "bs1")} == {()}
    assert np.isfinite(results(found.content, x[:1])).all()
    monkeypatch.setattr(import_module("oaq.repair.repair"), "_scale_form", lambda source, file: "fixed")
    rounded = repair(path, registers, [x] if data else None)
    assert all(one.sqnr >= other.sqnr - 1e-6 for one, other in zip(found.layers, rounded.layers, strict=True))


def test_quantized_operators_hold_a_scale_per_output_in_any_opset(folder: Path, tmp_path: Path) -> None:
    made = onnx.load(folder / "QOperator U8S8 per tensor.onnx")
    made.opset_import[0].version = 11
    found = repair(saved(tmp_path / "m.onnx", made))
    assert found.after.is_safe and not any("opset" in note for note in found.notes)
    assert any(0 < one.rescaled < one.outputs or one.rescaled for one in found.layers)


@pytest.mark.parametrize("opset", [10, 17])
@pytest.mark.parametrize("registers", ["vnni", "avx2-acc32", "20 bits"])
def test_a_bias_that_leaves_32_bits_with_the_products_is_mended_by_a_coarser_scale(
    tmp_path: Path, registers: str, opset: int
) -> None:
    light = np.full((4, 4, 1, 1), 3, np.int8)
    bias = np.array([2**31 - 1, 5, 6, -(2**31)], np.int32)
    constants = {"w0": light, "w1": light * 2, "b0": bias}
    made = one_scale_per_layer(opset, **constants) if opset < 13 else two_layers(**constants)
    path = saved(tmp_path / "m.onnx", made)
    assert not repair(path, registers).was_safe
    (layer,) = repair(path, registers).layers
    assert layer.node == "c0" and layer.sqnr > 50 and np.all(layer.factor < 1.01)
    assert layer.changed.tolist() == ([0] if opset >= 13 else [0, 1, 2, 3])
