"""Repair of dynamic files: proved on pairs, near, of one file, and run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oaq.capture.from_dynamic_onnx import decode_dynamic
from oaq.capture.from_dynamic_onnx.chains import chains_of
from oaq.errors import UnsupportedOp
from oaq.repair import Repaired, repair
from tests import dynamic_files as files

pytest.importorskip("onnx")
helper = files.helper
SCALE = np.float32(0.01)


def weights(shape: tuple[int, ...] = (64, 40), seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_t(4, size=shape)
    return np.clip(np.rint(values / np.abs(values).max() * 127), -127, 127).astype(np.int8)


def repaired(content: bytes, folder: Path) -> Repaired:
    (folder / "net.onnx").write_bytes(content)
    return repair(folder / "net.onnx")


def crowded(shape: tuple[int, ...] = (64, 40)) -> np.ndarray:
    """Half of the outputs have pairs over budget."""
    weight = weights(shape)
    weight[:2, ::2] = 120
    return weight


def contents() -> dict[str, bytes]:
    per_output = np.random.default_rng(0).uniform(0.005, 0.02, 40).astype(np.float32)
    zero = np.array(-3, np.int8)
    bias = np.ones(40, np.float32)
    return {
        "one scale": files.matmul_integer(crowded(), SCALE, bias=bias),
        "scales one by one": files.matmul_integer(crowded(), SCALE[None], split=True),
        "a scale each": files.matmul_integer(crowded(), per_output),
        "a zero point": files.matmul_integer(crowded(), SCALE, zero=zero, bias=bias),
        "DynamicQuantizeMatMul": files.fused("DynamicQuantizeMatMul", crowded(), SCALE[None], bias=bias),
        "MatMulIntegerToFloat": files.fused("MatMulIntegerToFloat", crowded(), per_output, zero=np.zeros(40, np.int8)),
        "convolution": files.conv_integer(crowded((64, 40)).T.reshape(40, 64, 1, 1).copy(), SCALE),
    }


@pytest.mark.parametrize("name", list(contents()))
def test_every_form_is_made_safe_and_onnx_runtime_computes_nearly_what_it_did(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    content = contents()[name]
    result = repaired(content, tmp_path)
    assert not result.before.is_safe and result.after.is_safe
    (layer,) = result.layers
    assert 20 <= len(layer.changed) < 40
    assert layer.sqnr >= layer.sqnr_seven_bits
    x = np.random.default_rng(1).normal(size=(2, 64, 3, 3) if name == "convolution" else (2, 9, 64)).astype(np.float32)
    (before,), (after,) = files.run(content, x), files.run(result.content, x)
    error = float(((after - before) ** 2).mean() / (before**2).mean())
    assert error < 10 ** (-30 / 10)


def test_outputs_that_were_safe_keep_every_bit(tmp_path: Path) -> None:
    result = repaired(contents()["one scale"], tmp_path)
    (layer,) = result.layers
    before, after = (decode_dynamic(content).products[0] for content in (contents()["one scale"], result.content))
    others = np.setdiff1d(np.arange(40), layer.changed)
    assert np.array_equal(before.weight[:, others], after.weight[:, others])
    assert after.scale is not None and after.scale.shape == (40,)
    assert np.all(after.scale[others] == SCALE)
    assert np.all(after.scale[layer.changed] >= SCALE)


def test_no_changed_output_is_farther_off_than_7_bits_would_leave_it(tmp_path: Path) -> None:
    for seed in range(3):
        weight = np.random.default_rng(seed).integers(-127, 128, (32, 16)).astype(np.int8)
        result = repaired(files.matmul_integer(weight, SCALE), tmp_path)
        after = decode_dynamic(result.content).products[0]
        assert after.scale is not None
        factor = np.broadcast_to(after.scale.reshape(-1), (16,)) / SCALE
        off = ((after.weight * factor - weight) ** 2).sum(axis=0)
        seven = ((np.rint(weight * 64 / 127) * 127 / 64 - weight) ** 2).sum(axis=0)
        assert np.all(off <= seven * 1.0001 + 1e-9)


def test_a_safe_file_is_left_as_it_is(tmp_path: Path) -> None:
    content = files.matmul_integer(np.full((6, 4), 64, np.int8), SCALE)
    result = repaired(content, tmp_path)
    assert result.was_safe and result.content == content


def test_constants_that_others_read_are_left_to_them(tmp_path: Path) -> None:
    weight = crowded()
    constants = {"w": weight, "s": SCALE, "z": np.zeros((), np.int8)}
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"])]
    for name in "ab":
        nodes += [
            helper.make_node("MatMulInteger", ["q", "w" if name == "a" else "v", "xz", "z"], [f"{name}0"], name),
            helper.make_node("Cast", [f"{name}0"], [f"{name}1"], to=1),
            helper.make_node("Mul", ["xs", "s"], [f"{name}u"]),
            helper.make_node("Mul", [f"{name}1", f"{name}u"], [f"y{name}"]),
        ]
    constants["v"] = np.full((64, 40), 3, np.int8)
    result = repaired(files.model(nodes, constants, ("n", 64), ["ya", "yb"]), tmp_path)
    after = files.initializers(result.content)
    assert after["s"] == SCALE and after["s_repaired"].shape == (40,)
    assert np.array_equal(after["v"], constants["v"])


def test_weights_shared_at_one_scale_are_changed_once_for_all(tmp_path: Path) -> None:
    constants = {"w": crowded(), "s": SCALE, "z": np.zeros((), np.int8)}
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"])]
    for name in "ab":
        nodes += [
            helper.make_node("MatMulInteger", ["q", "w", "xz", "z"], [f"{name}0"], name),
            helper.make_node("Cast", [f"{name}0"], [f"{name}1"], to=1),
            helper.make_node("Mul", ["xs", "s"], [f"{name}u"]),
            helper.make_node("Mul", [f"{name}1", f"{name}u"], [f"y{name}"]),
        ]
    result = repaired(files.model(nodes, constants, ("n", 64), ["ya", "yb"]), tmp_path)
    assert result.after.is_safe
    a, b = decode_dynamic(result.content).products
    assert a.weight_name == b.weight_name and np.array_equal(a.scale, b.scale)


def test_without_a_scale_of_its_own_a_layer_is_only_rounded_again(tmp_path: Path) -> None:
    constants = {"w": crowded(), "z": np.zeros((), np.int8)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["q", "w", "xz", "z"], ["sums"], "dense"),
        helper.make_node("Cast", ["sums"], ["reals"], to=1),
        helper.make_node("Mul", ["reals", "xs"], ["y"]),
    ]
    result = repaired(files.model(nodes, constants, ("n", 64), ["y"]), tmp_path)
    assert result.after.is_safe and np.all(result.layers[0].factor == 1)
    assert any("only rounded again" in note for note in result.notes)


def test_registers_that_no_weights_mend_are_refused(tmp_path: Path) -> None:
    from oaq.errors import AccumulatorOverflow

    (tmp_path / "net.onnx").write_bytes(contents()["one scale"])
    with pytest.raises(AccumulatorOverflow, match="No other weights would mend that"):
        repair(tmp_path / "net.onnx", "wasm-relaxed-i7")
    (tmp_path / "u.onnx").write_bytes(
        files.matmul_integer(crowded().view(np.uint8), SCALE, zero=np.array(128, np.uint8))
    )
    with pytest.raises((UnsupportedOp, AccumulatorOverflow)):
        repair(tmp_path / "u.onnx", "12 bits")


@pytest.mark.parametrize("scale", [0.0, np.inf, -np.inf, np.nan, 1e38, 1e-45])
def test_scales_that_no_other_weights_can_stand_for_are_refused(scale: float, tmp_path: Path) -> None:
    content = files.fused("DynamicQuantizeMatMul", crowded(), np.full(40, scale, np.float32))
    if scale == 1e38:
        assert repaired(content, tmp_path).after.is_safe
        content = files.fused("DynamicQuantizeMatMul", crowded(), np.full(40, 3.4e38, np.float32))
    if scale == 1e-45:
        assert repaired(content, tmp_path).after.is_safe
        return
    with pytest.raises(UnsupportedOp, match="dense: scales of its weights are 0, infinite or too near"):
        repaired(content, tmp_path)


def test_weights_narrowed_for_our_rows_of_two_quads_hold_on_pairs_too_and_run_by_them(tmp_path: Path) -> None:
    from oaq.dynamic import plan_layer
    from oaq.kernels.table import dynamic_rows
    from oaq.mixed.dynamic import layer_of

    (tmp_path / "net.onnx").write_bytes(contents()["a scale each"])
    narrow = repair(tmp_path / "net.onnx", "avx2-acc32x2")
    assert not narrow.before.is_safe and narrow.after.is_safe
    narrow.save(tmp_path / "narrow.onnx")
    assert repair(tmp_path / "narrow.onnx").layers == ()
    (chain,) = chains_of(decode_dynamic((tmp_path / "narrow.onnx").read_bytes()))
    rows = [row.name for row in dynamic_rows() if row.available]
    for row in rows:
        plan = plan_layer(layer_of(chain), rows=row)
        assert plan.row.name == row and plan.total.signed_bits <= 32
