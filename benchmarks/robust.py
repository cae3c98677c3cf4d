r"""``oaq robust`` on the public benchmark of quantized robustness: one thread, certificates checked.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.robust DATA MNIST FASHION [--only replays]

DATA holds the benchmark's weights and tables, MNIST and FASHION the IDX files of the two test sets. Runs the 655
queries of its second table (60 s a query), the two-hidden-layer network at radius 4 (5 s a query), and attacks alone on
samples that the tables list as robust at 8 bits (``--only replays``). Times are processor seconds of this process.
Writes ``results/robust.json`` and ``results/robust_replays.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.robust_networks import Query, classes, images, network, table_three, table_two
from oaq.program.int_program import IntProgram
from oaq.reference.run import run
from oaq.robust import Options, robustness
from oaq.verify.robustness import verify_certificate

Row = tuple[tuple[str, str], ...]
Data = dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def ask(program: IntProgram, data: Data, queries: list[Query], seconds: float) -> tuple[Counter[str], float, list[str]]:
    """Counts of answers, processor seconds of the search, and every disagreement or open query."""
    counts: Counter[str] = Counter()
    spent, notes = 0.0, []
    for query in queries:
        x, label = (part[query.sample] for part in data[query.dataset])
        if int(run(program, x[None]).outputs[0][0].argmax()) != label:
            counts["misclassified"] += 1
            continue
        begin = process_time()
        answer = robustness(program, x, query.radius, Options(seconds=seconds))
        spent += process_time() - begin
        counts[answer.state] += 1
        place = f"{query.dataset} {query.sample} at {query.radius}"
        if answer.certificate is not None:
            proof = answer.certificate
            counts["certificates hold"] += verify_certificate(program, proof.header, proof.arrays).safe
        if answer.state == "undecided":
            notes.append(f"{place}: open after {answer.nodes} splits (published: {query.answer})")
        elif (answer.state == "robust") != (query.answer == "Robust"):
            notes.append(f"{place}: {answer.state} by {answer.stage} (published: {query.answer})")
    return counts, spent, notes


def row(name: str, counts: Counter[str], spent: float) -> Row:
    """One line of the result file."""
    states = ("robust", "refuted", "undecided", "misclassified", "certificates hold")
    return (("queries", name), *((state, str(counts[state])) for state in states), ("seconds", f"{spent:.2f}"))


def public_table(folder: Path, data: Data) -> tuple[list[Row], list[str], Counter[str], float]:
    """The 655 queries."""
    groups: dict[tuple[str, int], list[Query]] = defaultdict(list)
    for query in table_two(folder / "qvip-table2.csv"):
        groups[query.dataset, query.radius].append(query)
    programs = {name: network(folder / f"aaai21-{name}-784-64-q6.h5", 6) for name in ("mnist", "fashion")}
    rows, notes, total, seconds = [], [], Counter[str](), 0.0
    for (dataset, radius), queries in groups.items():
        counts, spent, remarks = ask(programs[dataset], data, queries, 60.0)
        rows.append(row(f"{dataset}, radius {radius}", counts, spent))
        notes += remarks
        total, seconds = total + counts, seconds + spent
        sys.stdout.write(f"{rows[-1]}\n")
    rows.append(row("all of the public table", total, seconds))
    return rows, notes, total, seconds


def replayed(folder: Path, data: Data) -> list[Row]:
    """Samples listed as robust at 8 bits and radius 10 that an input refutes: by the reference and by the checker."""
    rows: list[Row] = []
    for title, name in (("P1-8", "1blk_64_8"), ("P2-8", "1blk_100_8"), ("P3-8", "2blk_64_32_8")):
        program = network(folder / f"{name}.h5", 8)
        published = [query for query in table_three(folder / "qvip-table3.csv", title, 10) if query.answer == "Robust"]
        refuted = confirmed = 0
        for query in published:
            x = data[query.dataset][0][query.sample]
            answer = robustness(program, x, query.radius, Options(seconds=0.01))
            if answer.state == "refuted" and answer.certificate is not None:
                refuted += 1
                proof = answer.certificate
                confirmed += verify_certificate(program, proof.header, proof.arrays).safe
        counts = (("listed as robust", len(published)), ("refuted by the reference", refuted))
        counts += (("confirmed by the checker", confirmed),)
        rows.append((("network", name), ("radius", "10"), *((heading, str(count)) for heading, count in counts)))
    return rows


def write_replays(folder: Path, data: Data, *, record: bool) -> None:
    """``results/robust_replays.json``."""
    notes = ("each refutation is an input that was run on the published weights; why the tables differ is not known",)
    command = "python -m benchmarks.robust DATA MNIST FASHION --only replays"
    result = Result("robust_replays", command, stamp(), rows=tuple(replayed(folder, data)), notes=notes)
    sys.stdout.write(f"{save(result, 'robust_replays', record=record)}\n{result.rows}\n")


def main() -> int:
    """Run, write, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("mnist", type=Path, help="folder with t10k-images-idx3-ubyte[.gz] and labels")
    parser.add_argument("fashion", type=Path)
    parser.add_argument("--only", choices=("replays",), help="one part")
    add_record(parser)
    folders = parser.parse_args()
    data: Data = {}
    for name in ("mnist", "fashion"):
        place = getattr(folders, name)
        pixels, labels = (next(place.glob(f"t10k-{kind}*")) for kind in ("images", "labels"))
        data[name] = images(pixels), classes(labels)
    write_replays(folders.data, data, record=folders.record)
    if folders.only:
        return 0
    rows, notes, total, seconds = public_table(folders.data, data)
    deep = network(folders.data / "2blk_64_32_6.h5", 6)
    counts, spent, _ = ask(deep, data, table_three(folders.data / "qvip-table3.csv", "P3-6", 4), 5.0)
    rows.append(row("784-64-32-10, radius 4, 5 s each", counts, spent))
    sys.stdout.write(f"{rows[-1]}\n")
    facts = (("queries of the public table", str(sum(total[s] for s in ("robust", "refuted", "undecided")))),)
    facts += (("undecided", str(total["undecided"])), ("processor seconds", f"{seconds:.2f}"))
    notes.append("times are provisional: the machine was shared when they were taken")
    command = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.robust DATA MNIST FASHION"
    result = Result("robust", command, stamp(), facts=facts, rows=tuple(rows), notes=tuple(notes))
    sys.stdout.write(f"{save(result, 'robust', record=folders.record)}\n" + "\n".join(notes) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
