"""What integers are worth by task, beside ordinary int8: one table of README.md and docs/accuracy.md.

Written from the result files by ``python -m benchmarks.accuracy_table`` and ``python -m benchmarks.readme``; what no
file holds is "not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, Result, load
from benchmarks.performance_table import table
from oaq.report.data import Latency

NAME: Final = "tasks"
"""Name of the markers between which the table stands."""
NOT_RUN: Final = "not run"
COLUMNS: Final = {
    "float": "float",
    "int8": "int8, ONNX Runtime",
    "int8 held": "int8, OpenVINO at AVX2",
    "reduced": "`reduce_range`, OpenVINO at AVX2",
    "repaired": "repaired by oaq, OpenVINO at AVX2",
    "ptq": "int16, proved",
    "qat": "int16, trained, proved",
}
"""Heads of the figures by their key."""
PEERS: Final = {
    "float": "float",
    "int8, ONNX Runtime": "int8",
    "int8, OpenVINO held to AVX2": "int8 held",
    "reduce_range, OpenVINO held to AVX2": "reduced",
    "repaired, OpenVINO held to AVX2": "repaired",
    "int16, proved": "ptq",
    "int16, trained, proved": "qat",
}
"""Keys by what ``benchmarks.segmentation`` and ``benchmarks.detection`` call their sides."""
REPAIR: Final = {
    ("original", "onnxruntime", "this CPU"): "int8",
    ("original", "openvino", "held to AVX2"): "int8 held",
    ("reduce_range", "openvino", "held to AVX2"): "reduced",
    ("repaired with data", "openvino", "held to AVX2"): "repaired",
}
"""Keys by file, runtime and machine of ``benchmarks.repair``."""
SEGMENTERS: Final = {
    ("unet", "slices"): ("U-Net, slices of an averaged head", "mIoU"),
    ("unet", "ch2"): ("U-Net, ch2 (truth: the averaged head's map)", "mIoU"),
    ("unet-resize", "slices"): ("U-Net with resizes, slices of an averaged head", "mIoU"),
    ("deeplab", "scenes"): ("DeepLabV3+ on MobileNetV2, composited scenes", "mIoU"),
}
ENLARGERS: Final = {"espcn": "ESPCN", "fsrcnn": "FSRCNN", "edsr-mini": "EDSR, 8 blocks of 32"}
"""Networks that enlarge, as the table calls them; twice and four times as large."""
VNNI: Final = ("vnni", "avxvnni")


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        task, network, metric: what it is of.
        timed: stem of the files with its times.
        figures: by key of ``COLUMNS``.
    """

    task: str
    network: str
    metric: str
    timed: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)


def lines_of(folder: Path) -> list[Line]:
    """Every line for which a file holds a figure."""
    lines = [_classifier(folder, name) for name in ("efficientnet-lite0", "mobilenet-v2")]
    lines += [_trained_classifier(folder), _detector(folder)]
    lines += [_segmenter(folder, network, name) for network, name in SEGMENTERS]
    lines += [_enlarger(folder, network, scale) for scale in (2, 4) for network in ENLARGERS]
    return [line for line in lines if line.figures]


def _classifier(folder: Path, name: str) -> Line:
    """Photos of which float's class comes first, in percent."""
    figures: dict[str, str] = {}
    path = folder / "repair.json"
    for row in map(dict, load(path).rows if path.exists() else ()):
        key = REPAIR.get((row["file"], row["runtime"], row["machine"]))
        if row["network"] == name and key is not None:
            figures[key] = row["top-1 as float, %"]
    demo = _newest(folder, f"demo_{name}.json")
    for fact, value in demo.facts if demo is not None else ():
        if fact.startswith("same class first on ") and fact.endswith(" unseen views"):
            views = int(fact.split()[4])
            figures |= {"float": "100.0", "ptq": f"{100 * int(value) / views:.1f}"}
    return Line("classify", name, "photos with float's class first, %", name, figures)


def _trained_classifier(folder: Path) -> Line:
    path, figures = folder / "accuracy_cifar10.json", dict[str, str]()
    for row in map(dict, load(path).rows if path.exists() else ()):
        cell = row["precision"], row["accumulator"]
        key = {"axe": "ptq", "proved": "qat"}.get(row["method"])
        if cell == ("W8A8", "lanes, runs of 8") and key is not None and "top1" in row and key not in figures:
            figures[key] = f"{100 * int(row['top1']) / int(row['of']):.2f}"
            figures["float"] = f"{100 * int(row['float']) / int(row['of']):.2f}"
    return Line("classify", "ResNet-20, CIFAR-10", "top-1, %", "", figures)


def _detector(folder: Path) -> Line:
    """Mean average precision on composited scenes."""
    name, figures = "ssd-mobilenet-v2", dict[str, str]()
    path = folder / f"detection_peers_{name}.json"
    for row in map(dict, load(path).rows if path.exists() else ()):
        if row["network"] in PEERS:
            figures[PEERS[row["network"]]] = row["mAP"]
    return Line("detect", "SSD-MobileNetV2, composited scenes", "mAP", name, figures)


def _segmenter(folder: Path, network: str, name: str) -> Line:
    path, figures = folder / f"segmentation_peers_{network}.json", dict[str, str]()
    for row in map(dict, load(path).rows if path.exists() else ()):
        if row["set"] == name and row["network"] in PEERS:
            figures[PEERS[row["network"]]] = row["mIoU"]
    return Line("segment", *SEGMENTERS[network, name], network, figures)


def _enlarger(folder: Path, network: str, scale: int) -> Line:
    """PSNR of luma on Set5; its frames of 1080p are what is timed."""
    title, figures = f"superres_{network}-x{scale}", dict[str, str]()
    path = folder / f"{title}.json"
    for fact, value in load(path).facts if path.exists() else ():
        if fact.startswith("PSNR on Set5"):
            sides = [side.strip() for side in fact.split(", ")[-1].split("/")]
            named = dict(zip(sides, value.split(" / "), strict=True))
            figures = {"float": named["float"], "ptq": named["int16"]}
    return Line("upscale", f"{ENLARGERS[network]}, x{scale}, 1080p out", "PSNR on Set5, dB", title, figures)


def _newest(folder: Path, name: str) -> Result | None:
    """The result of that name, of the CPU that it was measured on last."""
    results = [load(path) for path in folder.glob(f"*/{name}")]
    return max(results, key=lambda result: result.environment.date, default=None)


def times_of(latency: Latency) -> tuple[str, str]:
    """Milliseconds at AVX2 and natively, of oaq and of OpenVINO's int8."""
    by_isa = {
        timing.isa: timing.median_ms for timing in latency.timings if timing.ours and timing.name == f"oaq {timing.isa}"
    }
    peers = [t for t in latency.timings if t.name.startswith("openvino") and t.precision == "int8"]
    narrow = [timing.median_ms for timing in peers if timing.name.endswith("held to AVX2")]
    natively = [timing.median_ms for timing in peers if "held to" not in timing.name]
    best = [by_isa[isa] for isa in VNNI if isa in by_isa]
    return _pair(by_isa.get("avx2"), narrow), _pair(min(best, default=None), natively)


def _pair(oaq: float | None, peer: Sequence[float]) -> str:
    if oaq is None and not peer:
        return NOT_RUN
    words = [NOT_RUN if value is None else f"{value:.2f}" for value in (oaq, min(peer, default=None))]
    return " / ".join(words)


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers."""
    head = ("task", "network", "metric", *COLUMNS.values(), "AVX2: oaq / OpenVINO, ms", "VNNI: oaq / OpenVINO, ms")
    rows, machines = [], dict[str, list[str]]()
    for line in lines_of(folder):
        result = _newest(folder, f"{line.timed}[-_]1t.json") if line.timed else None
        latency = result.latency if result is not None else None
        times = (NOT_RUN, NOT_RUN) if latency is None else times_of(latency)
        if result is not None:
            machines.setdefault(result.environment.cpu, []).append(line.timed)
        figures = (line.figures.get(key, NOT_RUN) for key in COLUMNS)
        rows.append((line.task, line.network, line.metric, *figures, *times))
    if not rows:
        return "Not run.\n"
    places = "; ".join(f"{', '.join(dict.fromkeys(names))} on {cpu}" for cpu, names in machines.items())
    return f"{table(head, rows)}\nBatch 1, one thread: {places or 'not timed'}.\n"
