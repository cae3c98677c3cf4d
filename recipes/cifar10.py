r"""CIFAR-10: a float network, its integers under an accumulator, the proof.

    python -m recipes.cifar10 [--network resnet20-stride2] [--method proved --register avx2 --run 8]
    python -m recipes.cifar10 --method wrap --bits 8
    torchrun --nproc-per-node 4 -m recipes.cifar10 --network resnet18 --full --bits 4 --register pure --run 0

The default is sized for one or two CPU cores in the background; ``--full`` is the long schedule for a GPU. Killed at
any moment, the same command goes on where it was. For what comes out see ``recipes.fashion_mnist``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from recipes import command
from recipes.data.labelled import cifar10
from recipes.models.resnet import ResNet18
from recipes.models.small import SmallMobileNet, SmallResNet, published_init
from recipes.training import Stage
from recipes.wrapped import staged

FLOAT = Stage(20, 128, 0.1, 5e-4, warmup=390)
INTEGERS = Stage(3, 128, 3e-4, 1e-4)
WRAP_INTEGERS = Stage(4, 128, 2e-3, 0.0)
WRAP_EPOCHS = (4, 1, 2)
"""Epochs with wide sums, with the penalty besides, with the cyclic activation."""
FULL_FLOAT, FULL_INTEGERS = 200, 90
"""Epochs."""


def resnet18() -> nn.Module:
    """ResNet-18 as it is used for images of 32 x 32: a stem of 3 x 3 without stride, no pooling after it."""
    net = ResNet18(10)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()  # type: ignore[assignment]
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20-stride2": lambda: SmallResNet(3, stem_stride=2),
    "resnet20": lambda: SmallResNet(3),
    "mobilenet": SmallMobileNet,
    "resnet18": resnet18,
}


def wrapped_course(
    seed: int = 0, bits: int = 8, images: int | None = None, network: str = "resnet20-stride2"
) -> command.Course:
    """What method "wrap" trains."""
    train, test = cifar10("train").first(images), cifar10("test").first(images)
    stages = staged(replace(WRAP_INTEGERS, seed=seed), WRAP_EPOCHS, bits)
    net = published_init(NETWORKS[network]())
    return command.Course(net, train, test, replace(FLOAT, seed=seed), stages.wide, wrapped=stages)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; 1 if something was wrong with what was asked for."""
    parser = command.parser("cifar10", __doc__, tuple(NETWORKS))
    parser.add_argument("--full", action="store_true", help=f"{FULL_FLOAT} and {FULL_INTEGERS} epochs")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    flags = parser.parse_args(arguments)
    floating, integers = FLOAT, INTEGERS
    if flags.full:
        floating, integers = replace(FLOAT, epochs=FULL_FLOAT), replace(INTEGERS, epochs=FULL_INTEGERS, batch=256)
    floating, integers = command.stages(flags, floating, integers)

    def make() -> command.Course:
        if command.wraps(flags):
            return wrapped_course(flags.seed, command.wrap_bits(flags), flags.images, flags.network)
        train, test = cifar10("train").first(flags.images), cifar10("test").first(flags.images)
        net = published_init(NETWORKS[flags.network]())
        return command.Course(net, train, test, floating, integers, teachers=NETWORKS)

    return command.main(flags, make)


if __name__ == "__main__":
    sys.exit(main())
