r"""How ranges are chosen: every calibration on photos, and inputs that are made up, on networks with published weights.

    python -m benchmarks.calibration efficientnet-lite0 [--record]
    python -m benchmarks.calibration mobilenet-v2 --record

Against float, on views of photos that calibration never saw. A row that is measured stays in the file; killed, the same
command of the same source goes on behind it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks.harness import SCRATCH, add_record, save
from benchmarks.ptq_pareto import point
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.data.batches import Batch
from oaq.errors import ConfigError
from oaq.ptq.clip import CALIBRATIONS
from oaq.ptq.options import DEFAULT_BUDGET
from oaq.ptq.quantize import quantize
from oaq.ptq.synthetic import KINDS, Synthetic, make_up
from oaq.ptq.uniform import Uniform
from oaq.terminal import say
from recipes.demo import Data, load_data
from recipes.exit_code import exit_code
from recipes.float_onnx import run_float
from recipes.ledger import Ledger
from recipes.ledger import Row as Cells
from recipes.networks import NETWORKS, Network

HEADS = ("calibrated on", "calibration", "bits")
TRAINED = tuple(sorted(name for name, network in NETWORKS.items() if network.trained))
BY_HAND = Uniform(8, 4)
CELLS = ("labelled_right", "unseen_sqnr_db", "unseen_agree")


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        data: "photos" or a kind of made-up inputs.
        calibration: how ranges are chosen.
        settings: of ``quantize``, by the words of the column "bits".
        requantize: the semantics.
    """

    data: str
    calibration: str
    settings: str
    requantize: str = "float32_half_even"

    @property
    def label(self) -> tuple[str, str, str]:
        """Cells under ``HEADS``."""
        semantics = "" if self.requantize == "float32_half_even" else f", {self.requantize}"
        return self.data, self.calibration, self.settings + semantics


SETTINGS: dict[str, dict[str, object]] = {
    "8": {"budget": None},
    f"budget {DEFAULT_BUDGET:g}": {},
    "W8A4": {"uniform": BY_HAND},
}


def variants() -> list[Variant]:
    """All calibrations on photos, made-up inputs with the default one, fixed point beside float."""
    rows = [Variant("photos", calibration, settings) for settings in SETTINGS for calibration in CALIBRATIONS]
    rows += [Variant(kind, "mse", settings) for settings in SETTINGS for kind in KINDS]
    return [*rows, Variant("photos", "mse", "8", "fixed_point")]


def measure(
    graph: FloatGraph, data: Data, exact: np.ndarray, variant: Variant, batches: Callable[[str], Sequence[Batch]]
) -> Cells:
    """The cells of a row."""
    settings = {"calibration": variant.calibration, "requantize": variant.requantize, **SETTINGS[variant.settings]}
    program = quantize(graph, batches(variant.data), **settings)  # type: ignore[arg-type]
    cells = dict(point("", program, data, exact, trained=True))
    return tuple((name, cells[name]) for name in CELLS)


class Inputs:
    """Batches by the name of their source; what is made up is made once."""

    def __init__(self, graph: FloatGraph, data: Data, network: Network, steps: int) -> None:
        self._graph, self._network, self._steps = graph, network, steps
        self._batches: dict[str, Sequence[Batch]] = {"photos": data.calibration}

    def __call__(self, name: str) -> Sequence[Batch]:
        """The batches."""
        if name not in self._batches:
            how = replace(Synthetic(name, steps=self._steps), batch=8)  # type: ignore[arg-type]
            with say.stages(f"make up inputs: {name}") as report:
                made = make_up(
                    self._graph,
                    how,
                    self._network.preprocess,
                    lambda step, steps, distance: report("move", f"{distance:.3f}", step / steps),
                )
            self._batches[name] = made.batches
            if not math.isnan(made.before):
                say.words(f"  {name}: distance from batch norms {made.before:.3f} to {made.after:.3f}")
        return self._batches[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser("python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("network", choices=TRAINED)
    parser.add_argument("--steps", type=int, default=40, help="of made-up inputs (default 40)")
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), default=list(SETTINGS), help="rows' bits")
    parser.add_argument("--threads", type=int, default=1)
    add_record(parser)
    flags = parser.parse_args(arguments)
    return exit_code("calibration", lambda: run(flags))


def run(flags: argparse.Namespace) -> int:
    """Every row, then the result file."""
    if flags.steps < 1 or flags.threads < 1:
        raise ConfigError(f"--steps {flags.steps}, --threads {flags.threads}: both are at least 1")
    torch.set_num_threads(flags.threads)
    network = NETWORKS[flags.network]
    net, data = network.load(), load_data(network, 64)
    exact = np.concatenate([run_float(net, x) for x in np.array_split(data.views, 20)])
    graph = normalize(net, torch.from_numpy(data.test[:1]), flags.network)
    name, command = f"calibration_{flags.network}", f"python -m benchmarks.calibration {flags.network}"
    facts = (("views", str(len(data.views))), ("made-up inputs", "32, in batches of 8"), ("steps", str(flags.steps)))
    notes = (f"right: of {len(data.test)} labelled photos; SQNR and agreement on views of photos never seen",)
    path = SCRATCH / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(path, f"{command} --record", notes, facts=facts, benchmark="calibration", heads=HEADS)
    inputs = Inputs(graph, data, network, flags.steps)
    for variant in (row for row in variants() if row.settings in flags.settings):
        ledger.row(variant.label, partial(measure, graph, data, exact, variant, inputs))
    say.words(str(save(ledger.result(), name, record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
