r"""Break files at random and send each through load, plan, session, run and verify, under sanitizers and limits.

    make sanitize                                             builds the sanitized module, once
    python -m benchmarks.fuzz --cases 1000000 --native build/sanitized/build
    python -m benchmarks.fuzz --cases 2000 --seed 7           on the installed module
    python -m benchmarks.fuzz --only 4711                     file 4711 of that seed alone, its bytes in FOLDER/cases

File ``i`` is a function of (seed, i). Each ends in integers or in one ``OaqError``; a crash, a report of a sanitizer,
any other exception, more than 10 s of CPU time, a standstill of 60 s, or 1 GiB of memory for one file is a defect. A
run that is stopped goes on where it stopped: its state is FOLDER/state-SEED.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.fuzz.campaign import Campaign, run
from benchmarks.fuzz.record import write_result
from benchmarks.fuzz.seeds import read_seeds, write_seeds
from benchmarks.harness import add_record
from oaq.terminal import say


def main() -> int:
    """Run, print, write the result; 1 if there was a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000, help="files (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--native", type=Path, help="folder of a sanitized build of the native module")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="of seeds, state, files that broke oaq")
    parser.add_argument("--only", type=int, help="one file, by number")
    parser.add_argument("--again", action="store_true", help="also files that were defects, once these are mended")
    add_record(parser)
    arguments = parser.parse_args()
    write_seeds(arguments.folder / "seeds")
    if arguments.only is not None:
        return _only(arguments)
    campaign = Campaign(arguments.folder, arguments.seed, arguments.cases, arguments.processes, arguments.native)
    state = run(campaign, again=arguments.again)
    say.words("\n".join(state.lines()))
    if arguments.cases >= 1_000_000 and arguments.native is not None:
        write_result(campaign, state, record=arguments.record)
    return int(bool(state.defects))


def _only(arguments: argparse.Namespace) -> int:
    if arguments.native is not None:
        from benchmarks.native_module import load_native

        load_native(arguments.native, "address")
    from benchmarks.fuzz.mutants import mutant
    from benchmarks.fuzz.stages import judge

    broken = mutant(read_seeds(arguments.folder / "seeds"), arguments.seed, arguments.only)
    place = arguments.folder / "cases"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{arguments.seed}-{arguments.only}{broken.suffix}").write_bytes(broken.content)
    outcome = judge(broken, arguments.only)
    say.words(f"{broken.kind}: {outcome.stage} {outcome.kind}\n{outcome.detail}")
    return int(outcome.kind == "DEFECT")


if __name__ == "__main__":
    raise SystemExit(main())
