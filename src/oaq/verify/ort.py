"""The ONNX export in ONNX Runtime as an executor, if the packages are there.

Graph optimisation is fully on, so that ONNX Runtime computes on integers. Each node is compared given the integers ONNX
Runtime itself had before it: nodes that sum or move integers must be equal; operators it defines in float (their
multiplications and roundings come in another order) may differ by one step, and how many do is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import NoKernel, OaqError
from oaq.kernels.table import cpu_isas
from oaq.operators import rules_of
from oaq.program.int_program import IntProgram, Node
from oaq.reference import compute
from oaq.seal.inputs import Inputs
from oaq.verify.compare import Comparison, Tensors, compare, in_parts
from oaq.verify.report import Difference, Executor

SAMPLES_AT_ONCE: Final = 4
ALLOWED: Final = 1
"""Steps by which a float-defined operator may differ."""
NAME: Final = "onnxruntime, optimized"


def onnxruntime_executor(program: IntProgram, inputs: Inputs, expected: Tensors) -> Executor:
    """Export, run, compare."""
    try:
        import onnxruntime

        from oaq.export.onnx_qdq.model import build
    except (ImportError, OaqError) as error:
        return Executor(NAME, False, f"the packages onnx and onnxruntime are needed: {error}")
    try:
        isas = cpu_isas()
    except NoKernel as error:
        return Executor(NAME, False, str(error).splitlines()[0])
    if "vnni" not in isas:
        return Executor(NAME, False, "this CPU lacks VNNI, so ONNX Runtime itself sums pairs in saturating 16 bits")
    taps = list(program.tensors)
    try:
        model = build(program, taps=taps)
    except OaqError as error:
        return Executor(NAME, False, str(error).splitlines()[0])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, derived from Exception only
        reason = f"ONNX Runtime does not load the exported file: {_first_line(error)}"
        return Executor(NAME, False, reason, failed=True)
    result, steps, end = Comparison(), Counter[str](), Comparison()
    for start, part in in_parts(inputs, SAMPLES_AT_ONCE):
        try:
            actual = _tensors(session, program, part, taps)
        except Exception as error:
            reason = f"ONNX Runtime loads the exported file and fails to run it: {_first_line(error)}"
            return Executor(NAME, False, reason, failed=True)
        result = result.plus(_nodes(program, actual, start, steps))
        outputs = {name: actual[name] for name in program.outputs}
        stop = start + len(part[0])
        end = end.plus(compare(program, {name: expected[name][start:stop] for name in outputs}, outputs, start))
    return Executor(
        f"onnxruntime {onnxruntime.__version__}, optimized",
        True,
        "",
        result.compared,
        result.mismatches,
        result.first,
        _notes(steps, end),
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _tensors(session: Any, program: IntProgram, part: Inputs, taps: list[str]) -> dict[str, NDArray[np.uint8]]:  # noqa: ANN401
    from oaq.export.onnx_qdq.model import enters_channels_last

    feed = {}
    for name, x in zip(program.inputs, part, strict=True):
        real = program.tensors[name].affine.dequantize(x)
        feed[name] = real if enters_channels_last(program, name) else np.ascontiguousarray(np.moveaxis(real, -1, 1))
    values = session.run(None, feed)[len(program.outputs) :]
    return {name: np.moveaxis(value, 1, -1) for name, value in zip(taps, values, strict=True)}


def _nodes(program: IntProgram, actual: Mapping[str, NDArray[np.uint8]], start: int, steps: Counter[str]) -> Comparison:
    result = Comparison()
    for node in program.nodes:
        law, _ = compute(
            node, [actual[name] for name in node.inputs], program.specs(node), program.tensors[node.output]
        )
        distance = np.abs(law.astype(np.int16) - actual[node.output])
        allowed = ALLOWED if rules_of(node.op).float_defined(node.op) else 0
        result = result.plus(_judge(node, law, actual[node.output], distance > allowed, start))
        if allowed:
            kind = type(node.op).__name__
            steps[f"{kind} integers"] += distance.size
            steps[f"{kind} off"] += int(np.count_nonzero(distance == 1))
    return result


def _judge(
    node: Node, law: NDArray[np.uint8], actual: NDArray[np.uint8], wrong: NDArray[np.bool_], start: int
) -> Comparison:
    count = int(np.count_nonzero(wrong))
    if not count:
        return Comparison(law.size)
    at = tuple(int(index) for index in np.argwhere(wrong)[0])
    first = Difference(node.name, (at[0] + start, *at[1:]), int(law[at]), int(actual[at]), count, law.size)
    return Comparison(law.size, count, first)


def _notes(steps: Counter[str], end: Comparison) -> tuple[str, ...]:
    notes = []
    for key, total in sorted(steps.items()):
        kind, unit = key.split()
        if unit == "integers":
            notes.append(
                f"{kind}: {steps[f'{kind} off']} of {total} integers differ by one step (rounded in another order)"
            )
    if end.mismatches:
        notes.append(f"so {end.mismatches} of {end.compared} output integers of the whole network differ")
    return tuple(notes)
