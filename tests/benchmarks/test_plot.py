"""The picture of README.md: it says what the result files say, and nothing unfair."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks import plot
from benchmarks.harness import RESULTS, cpu_folders
from oaq.report.data import Latency, Timing

TIMES = {
    "oaq avx2": 2.0,
    "oaq vnni": 1.0,
    "oaq avx2, exact": 5.0,
    "ort int8": 0.5,
    "vino int8": 1.5,
    "vino fp32": 4.0,
    "ort fp32": 3.0,
    "vino int8, held to AVX2": 3.0,
    "vino int8, held to AVX512_CORE": 2.5,
}
ISAS = {"held to AVX2": "avx2", "held to AVX512_CORE": "avx512bw"}


def latency(times: dict[str, float] = TIMES) -> Latency:
    def timing(name: str, ms: float) -> Timing:
        isa = ISAS.get(name.partition(", ")[2], "best of the CPU")
        return Timing(name, name.startswith("oaq"), "fp32" if "fp32" in name else "int8", isa, ms, ms, ms, 1)

    return Latency(tuple(timing(*each) for each in times.items()), batch=1, threads=1)


def test_peers_stand_only_beside_our_plan_for_the_instruction_set_they_are_held_to() -> None:
    first, last = plot.panels([("net", latency())])
    assert [(bar.label, bar.ratio, bar.own) for bar in first.groups[0][1]] == [
        ("vino int8", 1.5, False),
        ("our exact sums", 2.5, True),
    ]
    assert [(bar.label, bar.ratio) for bar in last.groups[0][1]] == [
        ("ort int8", 0.5),
        ("vino int8", 1.5),
        ("ort fp32", 3.0),
    ]


def test_where_we_are_slower_the_bar_says_so() -> None:
    picture = ElementTree.fromstring(plot.svg_of(plot.panels([("a < b", latency())]), "caption"))
    kinds = [one.get("class") for one in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert kinds.count("slower") == 1
    assert "0.50  ort int8" in [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b" in [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_no_result_files_make_no_picture(tmp_path) -> None:
    assert plot.picture(tmp_path) is None


def test_the_picture_is_that_of_the_result_files() -> None:
    folders = list(cpu_folders(RESULTS, plot.DRAWN))
    assert {plot.picture_of(folder) for folder in folders} == set(plot.IMAGES.glob("speed-*.svg")) != set()
    for folder in folders:
        stored = plot.picture_of(folder).read_text(encoding="utf-8")
        assert plot.picture(folder) == stored, "run: python -m benchmarks.readme"
