"""Edit single fields of sealed files, make every checksum anew, and see what ``oaq verify`` says.

    python -m benchmarks.mutate_certificates                      a small network, 5000 edits of each kind of file
    python -m benchmarks.mutate_certificates --edits 100 net.oaq net.onnx

The small network has every operator and goes the way of any other: torch, ``oaq.quantize``, ``oaq.save`` and
``oaq.export.onnx``. An edit is *caught* if reading the file ends in an error or the verdict is unsafe. It is *harmless*
if everything the file claims was derived again and its program is the same in every integer and name; where it was made
in an ONNX graph, ONNX Runtime must besides compute the same or refuse the file. Anything else is *missed*.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

import oaq
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.mutations import judge, mutated
from oaq.program.plain import fingerprint
from oaq.terminal import say
from oaq.verify.sealed import read_sealed

SIDE = 24


class Every(nn.Module):
    """One of each operator that a program can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 5, 1, 2, groups=16), nn.Hardswish())
        self.grouped = nn.Conv2d(16, 16, 1, groups=2)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.head = nn.Linear(52 * 3 * 3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 24, 24) to (B, 10)."""
        x = self.stem(x)
        x = x + self.grouped(self.deep(x))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))))
        x = x * gate
        small = nn.functional.max_pool2d(x, 2)
        wide = nn.functional.interpolate(small, scale_factor=2.0, mode="nearest")
        smooth = nn.functional.interpolate(small, scale_factor=2.0, mode="bilinear")
        shuffled = nn.functional.pixel_shuffle(small, 2)
        framed = nn.functional.pad(x[:, :, 1:11, 1:11], (1, 1, 1, 1))
        x = torch.cat([wide, smooth, shuffled, framed], 1)
        x = nn.functional.avg_pool2d(x, 4)
        return self.head(x.flatten(1))


def small_files(folder: Path) -> list[Path]:
    """The small network as both kinds of file."""
    torch.manual_seed(0)
    program = oaq.quantize(Every().eval(), [torch.randn(8, 3, SIDE, SIDE) for _ in range(4)])
    paths = [folder / "every.oaq", folder / "every.onnx"]
    oaq.save(program, paths[0])
    oaq.export.onnx(program, paths[1])
    return paths


def computed(path: Path) -> list[bytes] | None:
    """What ONNX Runtime makes of fixed inputs; None if it refuses the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        feed = {
            graph_input.name: rng.normal(0, 1, (2, *graph_input.shape[1:])).astype(np.float32)
            for graph_input in session.get_inputs()
        }
        return [np.asarray(value).tobytes() for value in session.run(None, feed)]
    except Exception:  # whatever its C++ raises: then nothing is computed
        return None


def edit(path: Path, count: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Outcomes of ``count`` edits, and how often each pattern was harmless or missed."""
    rng, outcomes, patterns = np.random.default_rng(seed), Counter[str](), Counter[str]()
    identity = fingerprint(read_sealed(path).program)
    before = computed(path) if path.suffix == ".onnx" else None
    with tempfile.TemporaryDirectory() as folder:
        edited = Path(folder) / f"edited{path.suffix}"
        for _ in say.track(range(count), f"edits of {path.name}"):
            pattern = mutated(path, edited, rng)
            outcome, _ = judge(edited, identity)
            if outcome == "harmless" and pattern.startswith("model.") and computed(edited) not in (before, None):
                outcome = "MISSED"
            outcomes[outcome] += 1
            if outcome in ("harmless", "MISSED"):
                patterns[f"{outcome}: {pattern}"] += 1
    return outcomes, patterns


def main() -> int:
    """Edit, print, write the result; 1 if anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="sealed files (default: the small network)")
    parser.add_argument("--edits", type=int, default=5000, help="of each file")
    add_record(parser)
    flags = parser.parse_args()
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for path in flags.files or small_files(Path(folder)):
            outcomes, patterns = edit(path, flags.edits, seed=len(rows))
            missed += outcomes["MISSED"]
            line = {"file": path.name, "edits": str(flags.edits)}
            line |= {name: str(outcomes[name]) for name in ("refused", "unsafe", "harmless", "MISSED")}
            say.words("  ".join(f"{name} {value}" for name, value in line.items()))
            rows.append((*line.items(), *((name, str(number)) for name, number in sorted(patterns.items()))))
    if not flags.files:
        notes = ("refused: an error on reading; unsafe: a claim that does not hold; harmless: see the module.",)
        command = "python -m benchmarks.mutate_certificates"
        save(
            Result("mutate_certificates", command, stamp(), rows=tuple(rows), notes=notes),
            "mutate_certificates",
            record=flags.record,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
