"""Does any test depend on another? Run every folder of tests alone, then all modules in a shuffled order.

    python -m tests.order                        both, with a new seed that is printed
    python -m tests.order --seed 7 --folders     folders alone
    python -m tests.order --seed 7 --shuffled    the shuffled order alone, modules and tests inside them

Ends with 1 if a run fails. As a plugin of pytest (``-p tests.order``) with OAQ_TEST_ORDER set to a seed it shuffles.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

SEED = "OAQ_TEST_ORDER"
"""Environment variable: the seed of the order; without it this plugin does nothing."""
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle modules, and the tests of each, which stay together so that fixtures of a module are made once."""
    if SEED not in os.environ:
        return
    order = random.Random(os.environ[SEED])
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    names = sorted(modules)
    order.shuffle(names)
    items[:] = [item for name in names for item in order.sample(modules[name], len(modules[name]))]


def run(title: str, arguments: list[str], seed: str | None, processes: int) -> bool:
    """One run of pytest; prints its last line, and all of it if it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OAQ_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(processes), *arguments]
    begun = time.monotonic()
    process = subprocess.run(
        command,
        env=environment if seed is None else {**environment, SEED: seed},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    nothing_to_run = 5
    passed = process.returncode in (0, nothing_to_run)
    last = process.stdout.strip().rpartition("\n")[2]
    sys.stdout.write(f"{'ok    ' if passed else 'FAILED'} {title}: {last} ({time.monotonic() - begun:.0f} s)\n")
    if not passed:
        sys.stdout.write(process.stdout[-6000:] + process.stderr[-2000:])
    sys.stdout.flush()
    return passed


def main() -> int:
    """Run what is asked for; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default=str(secrets.randbelow(1 << 32)))
    parser.add_argument("--folders", action="store_true", help="only folders alone")
    parser.add_argument("--shuffled", action="store_true", help="only the shuffled order")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    both = options.folders == options.shuffled
    passed = True
    if options.folders or both:
        folders = sorted({path.parent for path in TESTS.rglob("test_*.py")})
        for folder in folders:
            name = str(folder.relative_to(TESTS.parent))
            passed &= run(f"{name} alone", [name], None, options.processes)
    if options.shuffled or both:
        sys.stdout.write(f"order: --seed {options.seed}\n")
        shuffled = ["-p", "tests.order", "--dist", "loadfile"]
        passed &= run(f"shuffled by {options.seed}", shuffled, options.seed, options.processes)
    return int(not passed)


if __name__ == "__main__":
    raise SystemExit(main())
