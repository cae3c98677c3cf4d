"""``oaq quantize``: a float network in, a proved ``.oaq`` file out."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import time
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq import export
from oaq.capture.graph import FloatGraph
from oaq.cli import daq, images, models, synthetic
from oaq.cli.choices import add_choices, options_of, target_of
from oaq.cli.output import check_output
from oaq.cli.quantize_regions import quantize_to_onnx, refusal, say_regions
from oaq.cli.report import show
from oaq.cli.tasks import add_description
from oaq.data.arrays import read_named
from oaq.data.batches import ARRAYS, Batch, Batches, files, read
from oaq.data.preprocess import KEY, Preprocess
from oaq.errors import CalibrationError, FormatError, NoKernel, ProgramError, UnsupportedOp
from oaq.escape import escape_name
from oaq.kernels.cpus import default_threads
from oaq.kernels.plan import plan
from oaq.overflow.dead import without_dead_units
from oaq.program.int_program import IntProgram
from oaq.report import Evidence, ReportData, build_report, to_html, to_json
from oaq.report.agreement import compare
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.scores import Agreement
from oaq.runtime import Session
from oaq.seal.parts import save
from oaq.tasks import Task, classify, load_task, task_metadata
from oaq.tasks.record import SUFFIX, load_preprocess
from oaq.terminal import say

ONNX: typing.Final = ".onnx"
FOREIGN: typing.Final = frozenset({".tflite", ".pt", ".pt2", ".pth", ".safetensors", ".h5", ".pb", ".ort"})
"""Suffixes of formats that are not written."""

if typing.TYPE_CHECKING:
    import torch

    from oaq.ptq.quantize import QuantizeReport

    Network: typing.TypeAlias = torch.nn.Module | FloatGraph

DEAR_DB: Final = 1.0
"""Predicted dB from which on it is said what a budget costs."""
HELP = "make an integer network from a torch module or an ONNX file in float"
DESCRIPTION = f"""\
Fold, calibrate, choose ranges under the budget, round, prove; write an .oaq
file with its certificate. Nothing is trained.

Under a name that ends in .onnx any network will do: what cannot be integers
stays in float, where it is; the file carries the certificate of the rest.

MODEL is {models.HELP}."""
EXAMPLES = """\
examples:
  oaq quantize net.py:make --calibrate photos/ --out net.oaq
  oaq quantize net.onnx --calibrate photos/ --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --out net.oaq
  oaq quantize net.pt2 --calibrate arrays/ --budget none --out net.oaq --report net.html
  oaq quantize net.onnx --calibrate photos/ --target neon --out net.oaq
  oaq quantize net.onnx --calibrate photos/ --daq static --daq-bits 4 --out net.oaq
  oaq quantize bert.onnx --calibrate tokens/ --out bert.int8.onnx    parts stay in float; tokens/ holds .npz
  oaq quantize net.onnx --calibrate photos/ --weights piecewise --out net.oaq        5 bits a weight
  oaq quantize net.py:make --synthetic --out net.oaq                                no data: made-up inputs
  oaq quantize my.package:net --calibrate photos/ --size 224 --resize 256 --out net.oaq

exit code 0: every layer of the file is proved; 2: the model or the data cannot be used."""
WAIT: Final = "OMP_WAIT_POLICY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --calibrate --budget --out ..."""
    parser.add_argument("model", metavar="MODEL", help="FILE.py:NAME, package.module:NAME, FILE.pt2 or FILE.onnx")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="folder of photos, .npy or .npz; typical inputs, no labels",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where to write: .oaq, or .onnx in QDQ form"
    )
    synthetic.add_arguments(parser, source)
    add_choices(parser)
    parser.add_argument(
        "--limit", type=int, default=64, metavar="N", help="at most N files of --calibrate (default 64)"
    )
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="samples per calibration batch (default 8)")
    parser.add_argument(
        "--sample-axes",
        type=int,
        choices=(1, 2, 3),
        metavar="N",
        help="axes of one sample in arrays, the batch not counted: 2 for lines (C, L) and tokens (T, C) (default: what "
        "the file or the first convolution says; else 3 axes are one image)",
    )
    parser.add_argument("--name", help="name of the program (default: that of the output file)")
    parser.add_argument(
        "--explain", action="store_true", help="of a network of which parts stay in float: where and why, node by node"
    )
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="also write a report")
    add_description(parser)
    images.add_arguments(parser)
    daq.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Quantize, prove, write, say."""
    check_output(arguments.out)
    _check_form(arguments.out, arguments.task, arguments.requantize)
    synthetic.check(arguments)
    _share_cpus()
    recorded = None if arguments.task is None else load_preprocess(arguments.task)
    batches: Sequence[Batch] | Batches
    if arguments.synthetic is not None:
        net, preprocessing, batches, observed = synthetic.network(arguments, recorded)
        say.warn(observed)
    else:
        network = _pure_network(arguments, recorded)
        if network is None:
            return _call_by_regions(arguments)
        net, preprocessing, batches = network
        observed = f"the calibration data: {len(batches.paths)} files of {arguments.calibrate}"
    task = None
    if arguments.task is not None:  # flags hold over what the description says, for calibration and in the file alike
        task = dataclasses.replace(load_task(arguments.task, preprocessing), preprocess=preprocessing)
    start = time.perf_counter()
    samples = list(say.track(batches, "read"))
    program, choices = _quantize(net, samples, arguments, preprocessing)
    if task is not None:
        program = dataclasses.replace(program, metadata={**program.metadata, **task_metadata(task)})
    evidence = Evidence(
        agreement=_agreement(net, program, samples, task),
        budget=None if arguments.budget in (..., None) else arguments.budget,
        seconds=(("quantize", round(time.perf_counter() - start, 3)),),
        notes=_notes(program, observed),
        codebooks=choices.codebooks,
    )
    _write(program, arguments.out, evidence)
    data = _report(program, evidence)
    if arguments.report is not None and data is not None:
        to_html(data, arguments.report)
    _say(program, data, arguments)
    return 0


def _pure_network(
    arguments: argparse.Namespace, recorded: Preprocess | None
) -> tuple[Network, Preprocess, Batches] | None:
    """The network, if all of it can be integers; None if parts stay in float, which an ONNX file can say.

    Args:
        arguments: of the command line.
        recorded: how photos go in where no flag says otherwise.

    Raises:
        UnsupportedOp: parts stay in float, and the file to be written holds integers only.
    """
    to_onnx = arguments.out.suffix.lower() == ONNX
    is_onnx = arguments.model.lower().endswith(ONNX)
    try:
        if is_onnx and models.needs_arrays(Path(arguments.model)):
            if to_onnx:
                return None
            raise UnsupportedOp(f"{arguments.model}: takes several inputs, or whole numbers")
        net, preprocessing, batches = _network_and_data(arguments, recorded)
        if to_onnx and not isinstance(net, FloatGraph):
            from oaq.ptq.networks import graph_of

            net, _ = graph_of(net, batches)
    except (UnsupportedOp, FormatError, ProgramError) as error:
        is_tflite = arguments.model.lower().endswith(models.TFLITE)
        if to_onnx and not (is_onnx or is_tflite) and _holds_no_images(files(arguments.calibrate)[0]):
            return None
        if not isinstance(error, UnsupportedOp):
            raise
        if to_onnx and not is_tflite:
            return None
        raise refusal(Path(arguments.model), arguments, error) if is_onnx else error from error
    if to_onnx and is_onnx and isinstance(net, FloatGraph) and "float_edge" in net.metadata:
        return None
    return net, preprocessing, batches


def _holds_no_images(path: Path) -> bool:
    """Whether a file of --calibrate holds whole numbers, volumes or an array per input: modules take them so."""
    if path.suffix.lower() not in ARRAYS:
        return False
    arrays = read_named(path)
    return len(arrays) > 1 or any(array.dtype.kind in "iu" or array.ndim > 4 for array in arrays.values())


def _call_by_regions(arguments: argparse.Namespace) -> int:
    if arguments.remove_dead:
        raise CalibrationError(
            f"{arguments.model}: has parts that stay in float, whose edges keep their channels. Leave --remove-dead out"
        )
    options = options_of(arguments)
    quantized, evidence = quantize_to_onnx(arguments, options)
    data = _report(quantized.program, evidence)
    if arguments.report is not None and data is not None:
        to_html(data, arguments.report)
    _tell_dear(quantized.choices, options.allowed)
    _say(quantized.program, data, arguments)
    if not arguments.json:
        for note in evidence.notes:
            say.words(note)
        say_regions(quantized, arguments)
    return 0


def _network_and_data(
    arguments: argparse.Namespace, recorded: Preprocess | None
) -> tuple[Network, Preprocess, Batches]:
    model, paths, preprocessing = models.with_samples(arguments, recorded)
    if not isinstance(model, Path):
        axes = arguments.sample_axes or models.sample_axes(model)
        return model, preprocessing, Batches(paths, preprocessing, arguments.batch, axes=axes)
    axes = arguments.sample_axes or models.sample_axes(model)
    graph = models.capture(model, read(paths[0], preprocessing, axes=axes).shape[1:])
    shape = graph.shapes[graph.inputs[0]]
    last = len(shape) == 3 and graph.is_channels_last(graph.inputs[0])
    return graph, preprocessing, Batches(paths, preprocessing, arguments.batch, channels_last=last, axes=len(shape))


def _quantize(
    net: Network, samples: list[Batch], arguments: argparse.Namespace, preprocessing: Preprocess
) -> tuple[IntProgram, QuantizeReport]:
    from oaq.ptq.quantize import quantize_with_report

    options = options_of(arguments)
    with say.stages("quantize") as report:
        program, choices = quantize_with_report(
            net, samples, options, progress=lambda step: report(str(step), step.item, step.done)
        )
    _tell_dear(choices, options.allowed)
    program = _trimmed(program) if arguments.remove_dead else program
    metadata = {**program.metadata, KEY: preprocessing.to_json(), "source": arguments.model}
    return dataclasses.replace(program, name=arguments.name or arguments.out.stem, metadata=metadata), choices


def _trimmed(program: IntProgram) -> IntProgram:
    """Without the channels that no output depends on; what went is told."""
    trimmed = without_dead_units(program)
    count = sum(trimmed.removed.values())
    layers = ", ".join(f"{count} of {escape_name(name)}" for name, count in trimmed.removed.items())
    say.warn(f"--remove-dead: {count} channels left out: {layers}" if count else "--remove-dead: there was none")
    return trimmed.program


def _tell_dear(choices: QuantizeReport, allowed: float | None) -> None:
    """Say what a budget costs, where that is much."""
    if allowed is not None and choices.budget_db > DEAR_DB:
        say.warn(
            f"the budget of {allowed:g} costs {choices.budget_db:.1f} dB of predicted precision against "
            "--budget none; a larger one, --budget 1.1 say, costs less precision and more time"
        )


def _share_cpus() -> None:
    """Keep torch, which counts the CPUs of its affinity, to those whose time this process gets.

    Its threads sleep where they wait, or each would take the time of one that computes wherever something else runs.
    """
    policy = os.environ.get(WAIT)
    os.environ[WAIT] = policy or "PASSIVE"  # read once, as torch is loaded
    import torch

    if policy is None:
        del os.environ[WAIT]
    torch.set_num_threads(min(torch.get_num_threads(), default_threads()))


def _agreement(net: Network, program: IntProgram, samples: list[Batch], task: Task | None) -> Agreement | None:
    """On the calibration data, if kernels are here; one row of numbers per sample is taken for that of a classifier."""
    try:
        session = Session(plan(program))
    except NoKernel as error:
        say.warn(f"agreement with float was not observed: {str(error).splitlines()[0]}")
        return None
    exact, rounded = [], []
    for x in say.track(samples, "compare with float"):
        exact.append(_float(net, x))
        y = session.run(x)
        rounded.append(list(y) if isinstance(y, tuple) else [y])
    sides = [
        {name: np.concatenate(values) for name, values in zip(program.outputs, zip(*side, strict=True), strict=True)}
        for side in (exact, rounded)
    ]
    if task is None and len(program.outputs) == 1 and next(iter(sides[0].values())).ndim == 2:
        task = classify(Preprocess((1, 1)))
    return compare(sides[0], sides[1], task)


def _float(net: Network, x: Batch) -> list[Batch]:
    """Every output of the float network."""
    import torch

    if isinstance(net, FloatGraph):
        from oaq.ptq.execute import float_outputs

        return float_outputs(net, x)
    with torch.inference_mode():
        y = net(torch.from_numpy(x))
    return [values.numpy() for values in _tensors(y)]


def _tensors(outputs: Any) -> list[torch.Tensor]:  # noqa: ANN401
    """The tensors of nested tuples, lists and dictionaries, in order."""
    if isinstance(outputs, tuple | list | dict):
        parts = outputs.values() if isinstance(outputs, dict) else outputs
        return [tensor for part in parts for tensor in _tensors(part)]
    return [outputs]


def _check_form(path: Path, task: Path | None, requantize: str) -> None:
    """Refuse, before minutes of work, a name that promises another tool's format than is written.

    Raises:
        FormatError: it is one, or a task or fixed point is to be kept in an ONNX file.
        ModuleNotFoundError: an ONNX file was asked for, and the package onnx is not installed.
    """
    if path.suffix.lower() in FOREIGN:
        raise FormatError(f"--out {path}: an .oaq file is written, or .onnx in QDQ form; name it so")
    if path.suffix.lower() == ONNX:
        importlib.import_module("onnx")
    if path.suffix.lower() == ONNX and requantize == "fixed_point":
        raise FormatError(
            f"--requantize fixed_point: ONNX knows float scales only; write an .oaq file instead of {path}, or leave "
            "the option out"
        )
    if path.suffix.lower() == ONNX and task is not None:
        raise FormatError(
            f"--task {task}: is kept in .oaq files. Beside an ONNX file `oaq run` reads {path.stem}{SUFFIX}, with the "
            "names that its outputs have there"
        )


def _write(program: IntProgram, path: Path, evidence: Evidence) -> None:
    """An ``.oaq`` file; under a name that ends in .onnx the network in QDQ form, with its certificate."""
    if path.suffix.lower() != ONNX:
        save(program, path, {EVIDENCE: evidence_part(evidence)})
        return
    export.onnx(program, path)
    edge = program.metadata.get("float_edge")
    if edge is not None:
        say.warn(f"{path}: the float network does more than the integers that were written: {edge}")


def _notes(program: IntProgram, data: str) -> tuple[str, ...]:
    observed = f"Agreement was observed on {data}."
    edge = program.metadata.get("float_edge")
    return (observed,) if edge is None else (observed, f"The file does more than the program: {edge}.")


def _report(program: IntProgram, evidence: Evidence) -> ReportData | None:
    """What is proved and planned; None where no kernels are."""
    try:
        return build_report(plan(program), evidence)
    except NoKernel:
        return None


def _say(program: IntProgram, data: ReportData | None, arguments: argparse.Namespace) -> None:
    layers = len(list(program.summing_nodes()))
    if data is None:
        if arguments.json:
            say.document({"program": program.name, "file": str(arguments.out), "layers": layers})
        else:
            say.words(f"{arguments.out}: {layers} layers, 32-bit sums proved; no native kernels here to plan for")
        return
    if arguments.json:
        say.json_text(to_json(data))
        return
    show(data)
    say.words(f"\nquantized for {target_of(arguments)} (--target); runs exactly on every CPU, planned anew on each")
    say.words(str(arguments.out))
