"""A report with every part filled in, shaped like EfficientNet-Lite0; the numbers are made up and say nothing."""

from __future__ import annotations

import random

from oaq.numerics.accumulator import AVX2_ACC16, DEPTHWISE_ACC16, EXACT_S32
from oaq.numerics.ranges import IntRange
from oaq.report.data import (
    Bounds,
    Environment,
    Execution,
    Latency,
    LayerFacts,
    Observed,
    Refusal,
    ReportData,
    ScheduleFacts,
    Timing,
    Verification,
)
from oaq.report.node_profile import NodeProfile
from oaq.report.scores import Agreement, Score

ENVIRONMENT = Environment(
    cpu="Example CPU (family 25, model 17)",
    cores=2,
    isas=("scalar", "avx2"),
    forced_isa="",
    system="Linux 6.1, Python 3.11.7",
    compiler="GCC 12.2.0 -O3",
    commit="0123456789ab",
    versions=(("oaq", "0.1.0"), ("numpy", "2.4.6")),
    date="2026-11-24T12:00:00+00:00",
)


def layer(index: int, rng: random.Random) -> LayerFacts:
    """One plausible layer."""
    depthwise = index % 3 == 1
    exact = index % 17 == 16
    register = EXACT_S32 if exact else DEPTHWISE_ACC16 if depthwise else AVX2_ACC16
    channels = 16 + 8 * index
    hi = rng.choice((63, 127, 200, 255))
    lane = rng.randint(20000, 32767)
    runs = rng.randint(1, 40)
    kind = "depthwise 3\u00d73" if depthwise else "conv 1\u00d71"
    return LayerFacts(
        name=f"blocks.{index // 3}.{('expand', 'depthwise', 'project')[index % 3]}",
        kind=kind,
        input_shape=(28, 28, channels),
        output_shape=(28, 28, channels * 2),
        terms=9 if depthwise else channels,
        macs=channels * channels * 784,
        weight=IntRange(-rng.randint(31, 127), rng.randint(31, 127)),
        activation=IntRange(0, hi),
        accumulator=register,
        row="gemm_u8s8_avx2_exact" if exact else f"{'depthwise' if depthwise else 'gemm'}_u8s8_avx2_acc16",
        isa="avx2",
        bounds=Bounds(
            lane=None if exact else IntRange(-lane + 500, lane),
            total=IntRange(-lane * 9, lane * 11),
            unspilled=None if exact else IntRange(-lane * runs // 3, lane * runs // 2),
        ),
        schedule=None if exact else ScheduleFacts(runs * 8, 8 + index % 5, 1, runs, index % 4, 4),
        cost=float(channels),
        refused=(
            Refusal("gemm_u8s8_avx2_acc16", "run 1.0 costs more than acc32: 41 against 37", 41.0),
            Refusal("gemm_u8s8_vnni", "this CPU has no VNNI"),
        ),
        observed=Observed(20, IntRange(-lane * 2, lane * 2), IntRange(-lane // 3, lane // 2), 0.21, 0.004),
        sqnr_db=32 - index / 4 + rng.random(),
    )


def full(layers: int = 50) -> ReportData:
    """Every section present."""
    rng = random.Random(0)
    points = tuple((x, x + rng.gauss(0, 0.4)) for x in (rng.gauss(0, 2.5) for _ in range(300)))
    made = tuple(layer(i, rng) for i in range(layers))
    return ReportData(
        name="efficientnet_lite0",
        tier="proved",
        assumptions=(
            "Every operand a kernel loads lies in the effective range of its tensor: the session clamps what it writes "
            "and checks what it is given",
            "The native kernels compute what their contract says; every row is tested against the integer reference",
        ),
        isa="avx2",
        environment=ENVIRONMENT,
        layers=made,
        average_run=17.1,
        budget=1.25,
        relative_cost=1.21,
        verification=Verification(
            proved=layers,
            layers=layers,
            certificate="every claim derived again by the independent checker",
            signature="0" * 64,
            samples=(("given", 20), ("corners", 4), ("witnesses", 50)),
            executions=(
                Execution("session avx2 threads=2", True, 70000, 0),
                Execution("onnxruntime", True, 20000, 0, "pooling is computed in float: 3 integers differ by one step"),
                Execution("session vnni threads=1", False, 0, 0, "this CPU lacks vnni"),
            ),
        ),
        agreement=Agreement(
            20, "classify", (Score("top-1", "images", "higher", 18.0, 18.0, 17.0),), (("y", 16.4),), points
        ),
        latency=Latency(
            (
                Timing("oaq avx2", True, "int8", "avx2", 7.21, 7.1, 7.5, 90, "equal to the reference"),
                Timing("onnxruntime int8", False, "int8", "best of the CPU", 9.8, 9.6, 10.4, 90),
                Timing("onnxruntime fp32", False, "fp32", "best of the CPU", 17.3, 17.0, 17.9, 90),
            ),
            batch=1,
            threads=2,
            baseline="onnxruntime int8",
            pinned=(0, 1),
        ),
        profile=tuple(NodeProfile(one.name, one.kind, one.row, 100.0 + i, one.macs) for i, one in enumerate(made)),
        seconds=(("analyze and plan", 0.84), ("quantize", 31.0)),
        notes=("Made-up numbers for tests.",),
    )


def bare() -> ReportData:
    """Only what a proof and a plan give."""
    return ReportData("bare", "proved", (), "scalar", ENVIRONMENT, ())
