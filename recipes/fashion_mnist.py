r"""Fashion-MNIST in minutes: a float network, its integers under an accumulator, the proof.

    python -m recipes.fashion_mnist [--method proved --register avx2 --run 8] [--out runs/fashion_mnist]
    python -m recipes.fashion_mnist --method wrap --bits 6

The second trains sums that wrap in 6 bits by design, in a perceptron whose layers sum 256 products each.

Killed at any moment, the same command goes on where it was. What comes out: ``net.oaq`` (``oaq verify`` proves it
again), ``layers.csv`` and ``layers.svg`` with what was counted, ``config.yaml``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from recipes import command
from recipes.data.labelled import fashion_mnist
from recipes.models.small import SmallMlp, SmallResNet, published_init
from recipes.training import Stage
from recipes.wrapped import staged

FLOAT = Stage(8, 128, 0.1, 5e-4, warmup=200)
INTEGERS = Stage(2, 128, 3e-4, 1e-4)
WRAP_FLOAT = Stage(4, 256, 0.05, 5e-4, warmup=100)
WRAP_INTEGERS = Stage(5, 256, 2e-3, 0.0)
WRAP_EPOCHS = (5, 1, 2)
"""Epochs with wide sums, with the penalty besides, with the cyclic activation."""


def wrapped_course(seed: int = 0, bits: int = 6, images: int | None = None) -> command.Course:
    """What method "wrap" trains: images as they are, for a network that knows no neighbours."""
    train, test = fashion_mnist("train").first(images), fashion_mnist("test").first(images)
    stages = staged(replace(WRAP_INTEGERS, seed=seed), WRAP_EPOCHS, bits)
    still, floating = replace(train, moves=False), replace(WRAP_FLOAT, seed=seed)
    return command.Course(SmallMlp(), still, test, floating, stages.wide, wrapped=stages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; 1 if something was wrong with what was asked for."""
    parser = command.parser("fashion_mnist", __doc__, ("resnet8",))
    parser.add_argument("--images", type=int, help="train on the first so many only")
    flags = parser.parse_args(arguments)
    floating, integers = command.stages(flags, FLOAT, INTEGERS)

    def make() -> command.Course:
        if command.wraps(flags):
            return wrapped_course(flags.seed, command.wrap_bits(flags), flags.images)
        net = published_init(SmallResNet(1, channels=1, stem_stride=2))
        train, test = fashion_mnist("train").first(flags.images), fashion_mnist("test").first(flags.images)
        return command.Course(net, train, test, floating, integers)

    return command.main(flags, make)


if __name__ == "__main__":
    sys.exit(main())
