r"""Piecewise weights (after PWLQ, Fang et al., 2002.00104) on networks with published weights.

    python -m recipes.piecewise mobilenet-v2 [--record]
    python -m recipes.piecewise efficientnet-lite0 --record
    python -m recipes.piecewise mobilenet-v2 --times --rounds 40 --record

Three tables: forms of 4 bits, weights alone, on 20 labelled photos and their mirror images; the paper's table of
3, 4, 6 and 8 bits, with and without correction, beside uniform weights of as many *stored* bits; whole networks of
integers beside W8, W6 and W5. ``--times`` measures those on AVX2, in turns, instead; ``--exact`` runs the published
form as integers by its law. Everything goes to
``out/piecewise/NETWORK.json``; ``--record`` writes it into ``benchmarks/results`` too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from oaq.errors import FormatError, NoKernel
from oaq.kernels.table import cpu_isas
from oaq.ptq.networks import graph_of
from oaq.report.agreement import sqnr_db
from oaq.report.comparison import compare, our_contenders
from oaq.report.latency import pinned
from oaq.terminal import say
from recipes import result_file
from recipes.demo import RECORDED, Data, load_data
from recipes.exit_code import exit_code
from recipes.ledger import Ledger, Row, table_of
from recipes.networks import NETWORKS, Network
from recipes.piecewise.forms import Form, float_logits, headline_forms, rounded_network, shape_forms
from recipes.piecewise.integers import CHOICES, ISA, Quantized, exact_rows, float_outputs, quantized, row
from recipes.result_file import Result, stamp

SHAPE_BITS = (3, 4, 6, 8)
IMAGES = 64
"""Photos to calibrate on."""
NOTES = (
    "Weights alone: activations in float; all layers, first and last included. Right: of 20 labelled photos and their "
    "mirror images. BC: mean and deviation of every output's weights are made those of its float weights.",
    "Integers: W8A8 without a budget, W6A8 and W5A8 with bits by hand in every layer; 'piecewise' and 'whole bytes' "
    "under the default budget, if nothing else is said. Rounding with error feedback. Runs in 16-bit lanes of AVX2: of "
    "every layer, each tile counted once; and as planned, weighted by output positions.",
)
TRAINED = tuple(sorted(name for name, network in NETWORKS.items() if network.trained))


def run(network: Network, flags: argparse.Namespace) -> int:
    """Tables or times, and the file of them."""
    if flags.images < 1 or flags.rounds < 1:
        raise FormatError(f"--images {flags.images}, --rounds {flags.rounds}: both are at least 1")
    try:
        flags.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{flags.out}: cannot be made: {error.strerror}. Choose another --out") from error
    net, data = network.load(), load_data(network, flags.images)
    if flags.exact:
        result, suffix = _exact(net, data, network), "_exact"
    elif flags.times:
        result, suffix = _times(net, data, network, flags), "_times"
    else:
        result, suffix = _tables(net, data, network, flags), ""
    path = flags.out / f"{network.name}{suffix}.json"
    if suffix:  # a ledger writes its own file, with rows of an earlier run that were not wanted now
        result_file.write(result, path)
    say.words(str(path))
    if flags.record:
        name = f"{result.benchmark}_{network.name}"
        say.words(str(result_file.store(result, RECORDED, name)))
    return 0


def _tables(net: object, data: Data, network: Network, flags: argparse.Namespace) -> Result:
    ledger = _ledger(data, network, flags)
    _weights_alone(net, data, headline_forms(), "forms of 4 bits", ledger)
    for bits in SHAPE_BITS:
        _weights_alone(net, data, shape_forms(bits), f"the paper's table at {bits} bits", ledger)
    if not flags.weights_only:
        _whole(net, data, network, ledger)
    return ledger.result()


def _ledger(data: Data, network: Network, flags: argparse.Namespace) -> Ledger:
    command = f"python -m recipes.piecewise {network.name}"
    command += f" --images {flags.images}" if flags.images != IMAGES else ""
    command += " --weights-only" if flags.weights_only else ""
    facts = (("network", network.name), ("photos to calibrate on", str(sum(map(len, data.calibration)))))
    path = flags.out / f"{network.name}.json"
    return Ledger(path, command, NOTES, facts=facts, benchmark="piecewise", heads=("table", "weights"))


def _weights_alone(net: object, data: Data, forms: Sequence[Form], title: str, ledger: Ledger) -> None:
    x = np.concatenate([data.test, np.ascontiguousarray(data.test[..., ::-1])])
    labels = np.concatenate([data.labels, data.labels])
    graph, _ = graph_of(net, [x[:1]])  # type: ignore[arg-type]
    exact = float_logits(graph, x)
    right = int((exact.argmax(axis=1) == labels).sum())

    def line(form: Form) -> Row:
        rounded = rounded_network(graph, form)
        cells = {
            "stored bits": str(form.stored),
            "float right": str(right),
            "weight SQNR": f"{rounded.sqnr_db:.2f} dB",
        }
        for suffix, parameters in (("", rounded.plain), (" + BC", rounded.corrected)):
            y = float_logits(graph, x, parameters)
            cells[f"logit SQNR{suffix}"] = f"{sqnr_db(exact, y):.2f} dB"
            cells[f"right of {len(x)}{suffix}"] = str(int((y.argmax(axis=1) == labels).sum()))
        return tuple(cells.items())

    _show(title, [ledger.row((title, form.name), partial(line, form)) for form in say.track(forms, title)])


def _whole(net: object, data: Data, network: Network, ledger: Ledger) -> None:
    exact = float_outputs(net, data, network)  # type: ignore[arg-type]
    whole = 0

    def line(name: str) -> Row:
        integers = quantized(net, data.calibration, name)  # type: ignore[arg-type]
        return tuple(row(integers, whole or integers.bytes, data, network, exact).items())

    rows = []
    for name in CHOICES:
        rows.append(ledger.row(("integers", name), partial(line, name)))
        whole = whole or int(dict(rows[-1])["file bytes"])
    _show("integers", rows)


def _exact(net: object, data: Data, network: Network) -> Result:
    lines = exact_rows(net, data)  # type: ignore[arg-type]
    rows = tuple(tuple(line.items()) for line in lines)
    _show("published form as integers, by the reference", rows)
    command = f"python -m recipes.piecewise {network.name} --exact"
    note = "The 20 labelled photos; weights to nearest with bias correction, 8 bits in every activation; no budget."
    return Result("piecewise_exact", command, stamp(), None, (("network", network.name),), rows, (note,))


def _times(net: object, data: Data, network: Network, flags: argparse.Namespace) -> Result:
    if ISA not in cpu_isas():
        raise NoKernel(f"--times: this CPU has no {ISA}; it runs {', '.join(cpu_isas())}")
    networks: list[Quantized] = [quantized(net, data.calibration, name) for name in CHOICES]  # type: ignore[arg-type]
    x = data.test[:1]
    with pinned(1) as cpus:
        timed = [our_contenders({f"{ISA} {integers.name}": integers.plan}, x, 1)[0][0] for integers in networks]
        latency = compare(
            timed,
            threads=1,
            rounds=flags.rounds,
            pinned=cpus,
            progress=lambda rounds: say.track(rounds, "times, in turns"),
        )
    predicted = {f"{ISA} {integers.name}": integers.plan.seconds * 1e3 for integers in networks}
    rows = tuple(
        (
            ("weights", timing.name),
            ("median ms", f"{timing.median_ms:.3f}"),
            ("predicted ms", f"{predicted[timing.name]:.3f}"),
        )
        for timing in latency.timings
    )
    _show("times on AVX2", rows)
    command = f"python -m recipes.piecewise {network.name} --times --rounds {flags.rounds}"
    return Result("piecewise_times", command, stamp(), latency, (("network", network.name),), rows)


def _show(title: str, rows: Sequence[Row]) -> None:
    """Print rows of the same heads; the title says what their table is."""
    lines = [{head: value for head, value in row if head != "table"} for row in rows]
    say.tables([table_of(title, lines)])


def arguments(texts: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.piecewise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="mobilenet-v2", choices=TRAINED)
    parser.add_argument(
        "--images", type=int, default=IMAGES, metavar="N", help=f"photos to calibrate on (default {IMAGES})"
    )
    parser.add_argument("--weights-only", action="store_true", help="the tables of weights alone")
    parser.add_argument(
        "--exact", action="store_true", help="the published form as integers, by the reference, instead"
    )
    parser.add_argument("--times", action="store_true", help="measure the integer networks on AVX2 instead")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="rounds of --times (default 40)")
    parser.add_argument(
        "--out", type=Path, default=Path("out") / "piecewise", metavar="DIR", help="default: out/piecewise"
    )
    parser.add_argument("--record", action="store_true", help="also write into benchmarks/results")
    return parser.parse_args(texts)


def main(texts: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    flags = arguments(texts)
    return exit_code("piecewise", lambda: run(NETWORKS[flags.network], flags))


if __name__ == "__main__":
    sys.exit(main())
