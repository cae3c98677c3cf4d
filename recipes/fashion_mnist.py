r"""Fashion-MNIST in minutes: a float network, its integers under an accumulator, the proof.

    python -m recipes.fashion_mnist [--method proved --register avx2 --run 8] [--out runs/fashion_mnist]

Killed at any moment, the same command goes on where it was. What comes out: ``net.oaq`` (``oaq verify`` proves it
again), ``layers.csv`` and ``layers.svg`` with what was counted, ``config.yaml``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recipes import command
from recipes.data.labelled import fashion_mnist
from recipes.models.small import SmallResNet, published_init
from recipes.training import Stage

FLOAT = Stage(8, 128, 0.1, 5e-4, warmup=200)
INTEGERS = Stage(2, 128, 3e-4, 1e-4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; 1 if something was wrong with what was asked for."""
    parser = command.parser("fashion_mnist", __doc__, ("resnet8",))
    parser.add_argument("--images", type=int, help="train on the first so many only")
    flags = parser.parse_args(arguments)
    floating, integers = command.stages(flags, FLOAT, INTEGERS)

    def make() -> command.Course:
        net = published_init(SmallResNet(1, channels=1, stem_stride=2))
        train, test = fashion_mnist("train").first(flags.images), fashion_mnist("test").first(flags.images)
        return command.Course(net, train, test, floating, integers)

    return command.main(flags, make)


if __name__ == "__main__":
    sys.exit(main())
