"""What oaq makes of one architecture, from its ONNX file and from its module, beside ONNX Runtime's own int8."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import oaq
from oaq import cli
from oaq.errors import OaqError
from oaq.report.agreement import sqnr_db
from oaq.report.latency import interleave, turn
from oaq.report.peers import quantize_by_onnxruntime
from recipes.zoo.products import shares
from recipes.zoo.table import Architecture, Arrays

CALIBRATED, TESTED = 64, 64
"""Samples."""
MOST_AXES: Final = 4
"""Batch and axes of samples that a plain array of ``--calibrate`` holds; more go by the inputs' names."""
PATHS: Final = ("onnx", "torch")
BUDGETS: Final = ("none", "default")
HINT: Final = "--budget none"
"""What a hint at the cost of the budget says."""
ROUNDS: Final = 10
Feed = dict[str, Any]
Run = Callable[[Feed], list[Any]]
Row = dict[str, str]


@dataclass(frozen=True, eq=False)
class Subject:
    """One architecture with its files and data.

    Attributes:
        entry: of the table.
        folder: of all its files.
        float_file: in ONNX, batch 1.
        names: of the inputs.
        tests: samples that calibration does not see.
        expected: outputs of the float file for each of them.
    """

    entry: Architecture
    folder: Path
    float_file: Path
    names: tuple[str, ...]
    tests: Arrays
    expected: list[list[Any]]


def prepare(entry: Architecture, folder: Path) -> Subject:
    """Build, export, write calibration data, run in float."""
    folder.mkdir(parents=True, exist_ok=True)
    net, float_file = entry.network(), folder / "float.onnx"
    if not float_file.exists():
        _export(net, entry.samples(1, 0), float_file)
    run = _runtime(float_file)
    names = tuple(port.name for port in run.get_inputs())
    data = folder / "calibration"
    data.mkdir(exist_ok=True)
    arrays = entry.samples(CALIBRATED, 1)
    for index in range(CALIBRATED):
        parts = [array[index : index + 1] for array in arrays]
        if len(parts) == 1 and parts[0].ndim <= MOST_AXES:
            np.save(data / f"{index:03}.npy", parts[0])
        else:
            named: dict[str, Any] = dict(zip(names, parts, strict=True))
            np.savez(data / f"{index:03}.npz", **named)
    tests = entry.samples(TESTED, 2)
    expected = [run.run(None, feed) for feed in feeds(names, tests)]
    return Subject(entry, folder, float_file, names, tests, expected)


def _export(net: torch.nn.Module, arrays: Arrays, path: Path) -> None:
    """One file with its weights; the exporter's own talk is kept off the terminal."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        examples = tuple(torch.from_numpy(array) for array in arrays)
        torch.onnx.export(net, examples, str(path), dynamo=True, external_data=False)


def feeds(names: tuple[str, ...], arrays: Arrays) -> list[Feed]:
    """One feed per sample."""
    count = len(arrays[0])
    return [
        {name: array[index : index + 1] for name, array in zip(names, arrays, strict=True)} for index in range(count)
    ]


def _runtime(path: Path) -> Any:  # noqa: ANN401 (onnxruntime is optional)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quality(subject: Subject, run: Run) -> float:
    """SQNR against float in dB, of the output where it is least."""
    results = [run(feed) for feed in feeds(subject.names, subject.tests)]
    values = []
    for index in range(len(subject.expected[0])):
        reference = np.concatenate([sample[index] for sample in subject.expected]).astype(np.float64)
        values.append(sqnr_db(reference, np.concatenate([sample[index] for sample in results])))
    return min(values)


def peer_row(subject: Subject) -> tuple[Row, dict[str, Run]]:
    """ONNX Runtime's own static int8 on the same data: its figures, and both of its sessions by name."""
    file = subject.folder / "onnxruntime.onnx"
    runs: dict[str, Run] = {"onnxruntime fp32": _caller(_runtime(subject.float_file))}
    try:
        arrays = subject.entry.samples(CALIBRATED, 1)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            quantize_by_onnxruntime(subject.float_file, file, feeds(subject.names, arrays))
        runs["onnxruntime int8"] = _caller(_runtime(file))
        return {"peer sqnr": f"{quality(subject, runs['onnxruntime int8']):.2f}"}, runs
    except Exception as error:  # whatever the peer raises is its outcome
        return {"peer sqnr": "-", "peer reason": _one_line(error)}, runs
    finally:
        logging.disable(logging.NOTSET)


def _caller(session: Any) -> Run:  # noqa: ANN401 (both classes of that name)
    """Runs a session whose inputs come in the order of the feed, whatever they are called."""
    names = [port.name for port in session.get_inputs()]
    return lambda feed: session.run(None, dict(zip(names, feed.values(), strict=True)))


def path_row(subject: Subject, path: str, budget: str) -> tuple[Row, Run | None]:
    """``oaq quantize`` by its command line, from the file or the module: figures, and a session of the result."""
    key = f"{path} {budget}"
    source = str(subject.float_file) if path == "onnx" else f"recipes.zoo.modules:{subject.entry.name}"
    out = subject.folder / f"{path}.{budget}.int8.onnx"
    command = ["quantize", source, "--calibrate", str(subject.folder / "calibration"), "--out", str(out)]
    command += [] if budget == "default" else ["--budget", budget]
    if len(subject.entry.inputs) == 1 and len(subject.entry.inputs[0].shape) < MOST_AXES:
        command += ["--sample-axes", str(len(subject.entry.inputs[0].shape))]
    out.unlink(missing_ok=True)
    talk, start = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(talk):
        try:
            code = cli.main(command)
        except SystemExit as stop:
            code = int(stop.code or 0) if isinstance(stop.code, int | None) else 2
    seconds = time.perf_counter() - start
    said = [line for line in talk.getvalue().splitlines() if line.strip()]
    if code != 0 or not out.exists():
        return {f"{key} outcome": "refused", f"{key} reason": said[-1][:400] if said else f"exit code {code}"}, None
    row = {f"{key} seconds": f"{seconds:.1f}", f"{key} hint": "yes" if HINT in talk.getvalue() else "no"}
    try:
        session = oaq.InferenceSession(out, threads=1)
        run = _caller(session)
        row[f"{key} sqnr"] = f"{quality(subject, run):.2f}"
        parts = shares(session.program)
    except OaqError as error:
        return row | {f"{key} outcome": "does not run", f"{key} reason": _one_line(error)}, None
    row[f"{key} outcome"] = "mixed" if session.program.floats else "integers"
    row |= {f"{key} share": f"{parts.part:.4f}", f"{key} floats": parts.operators}
    try:
        row[f"{key} sqnr by onnxruntime"] = f"{quality(subject, _caller(_runtime(out))):.2f}"
    except Exception as error:  # whatever the peer raises is its outcome
        row[f"{key} sqnr by onnxruntime"] = f"refused: {_one_line(error)[:120]}"
    return row, run


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def times_row(subject: Subject, runs: dict[str, Run]) -> Row:
    """Median milliseconds of one call on one sample, all in turns, one thread each."""
    feed = feeds(subject.names, subject.tests)[0]
    seconds = interleave({name: turn(lambda run=run: run(feed)) for name, run in runs.items()}, ROUNDS)
    return {f"{name} ms": f"{float(np.median(values)) * 1e3:.4f}" for name, values in seconds.items()}


def measure(entry: Architecture, folder: Path, paths: Sequence[str] = PATHS, budgets: Sequence[str] = BUDGETS) -> Row:
    """One row of the table, or the part of it that these paths and budgets make."""
    subject = prepare(entry, folder)
    parameters = sum(parameter.numel() for parameter in entry.network().parameters())
    peer, runs = peer_row(subject)
    row = {"network": entry.name, "kind": entry.kind, "parameters": str(parameters)} | peer
    for path in paths:
        for budget in budgets:
            figures, run = path_row(subject, path, budget)
            row |= figures
            if run is not None:
                runs[f"{path} {budget}"] = run
    return row | times_row(subject, runs)
