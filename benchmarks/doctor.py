"""What a doctor is for: a default int8 network, where it is proved to break, where photos break it, what that costs.

    python -m benchmarks.doctor [efficientnet-lite0 mobilenet-v2]

Quantizes the network with onnxruntime.quantization (QDQ, U8S8, per channel), diagnoses the file, watches its registers
on the labelled photos, and runs the file in OpenVINO natively and held to AVX2, where vpmaddubsw saturates. Writes
``results/doctor.json``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.held_peer import outputs
from oaq.capture.model_file import import_model, stored_unsigned
from oaq.doctor import Diagnosis, diagnose
from oaq.report.agreement import sqnr_db
from oaq.report.peers import quantize_by_onnxruntime
from oaq.runtime.values import to_integers
from oaq.terminal import say
from recipes.demo import load_data
from recipes.float_onnx import export_float, run_float
from recipes.networks import NETWORKS

REGISTER = "avx2-acc32"
PHOTOS = 20
Row = tuple[tuple[str, str], ...]


def layer_rows(network: str, diagnosis: Diagnosis) -> Iterator[Row]:
    """One line per layer that is not proved."""
    for layer in diagnosis.unsafe(REGISTER):
        verdict = layer.verdicts[REGISTER]
        observed = verdict.seen
        assert observed is not None
        yield (
            ("network", network),
            ("layer", layer.node),
            ("kind", layer.kind),
            ("outputs", str(layer.outputs)),
            ("outputs not proved", str(len(verdict.unsafe))),
            ("bits needed", str(int(verdict.bits.max()))),
            ("outputs seen to overflow", str(int((observed.overflows > 0).sum()))),
            ("overflows seen", str(int(observed.overflows.sum()))),
            ("photos that did it", str(int((observed.by_sample > 0).sum()))),
        )


def examine(name: str) -> tuple[list[Row], list[tuple[str, str]]]:
    """Rows and facts of one network."""
    network = NETWORKS[name]
    net, data = network.load(), load_data(network, 64)
    photos = data.views[::5][:PHOTOS]
    exact = run_float(net, photos)
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized = Path(folder) / "float.onnx", Path(folder) / f"{name}.onnx"
        export_float(net, photos[:1], plain)
        quantize_by_onnxruntime(plain, quantized, data.calibration)
        imported = import_model(quantized)
        batches = (to_integers(imported.program, photo[None]) for photo in say.track(photos, name))
        diagnosis = diagnose(imported.program, [REGISTER], batches, unsigned=stored_unsigned(imported))
        native, with_avx2 = outputs(quantized, photos), outputs(quantized, photos, "AVX2")
    bad = diagnosis.unsafe(REGISTER)
    observations = [layer.verdicts[REGISTER].seen for layer in bad]
    broken = np.sum([observed.by_sample for observed in observations if observed is not None], axis=0)
    facts = [
        (f"{name}: layers not proved on {REGISTER}", f"{len(bad)} of {len(diagnosis.layers)}"),
        (
            f"{name}: layers seen to overflow",
            str(sum(bool(observed and observed.overflows.any()) for observed in observations)),
        ),
        (f"{name}: photos with an overflow", f"{int((broken > 0).sum())} of {len(photos)}"),
        (f"{name}: OpenVINO on this CPU, logit SQNR dB", f"{sqnr_db(exact, native):.1f}"),
        (f"{name}: OpenVINO held to AVX2, logit SQNR dB", f"{sqnr_db(exact, with_avx2):.1f}"),
    ]
    return list(layer_rows(name, diagnosis)), facts


def main() -> None:
    """Measure and write ``results/doctor.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["efficientnet-lite0", "mobilenet-v2"])
    rows: list[Row] = []
    facts: list[tuple[str, str]] = []
    add_record(parser)
    flags = parser.parse_args()
    for name in flags.networks:
        more, figures = examine(name)
        rows += more
        facts += figures
        say.words("\n".join(f"{key}: {value}" for key, value in figures))
    save(
        Result("doctor", "python -m benchmarks.doctor", stamp(), facts=tuple(facts), rows=tuple(rows)),
        "doctor",
        record=flags.record,
    )


if __name__ == "__main__":
    main()
