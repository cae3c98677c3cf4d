r"""ImageNet, or any photos laid out as DATA/train/CLASS/*.jpg and DATA/val/CLASS/*.jpg: integers under an accumulator.

    python -m recipes.imagenet --data imagenet --network mobilenet-v2 --pretrained [--method proved --run 8]
    torchrun --nproc-per-node 8 -m recipes.imagenet --data imagenet --network resnet18 --bf16 --workers 8

``--pretrained`` starts from published weights and trains the integers only. Class folders are numbered in the order of
their names, as published weights want them; folders that are called by numbers are those classes. Killed at any moment,
the same command goes on where it was. For what comes out see ``recipes.fashion_mnist``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from oaq.errors import ConfigError
from recipes import command
from recipes.data.folders import classes_of, photos_below
from recipes.models.resnet import resnet18
from recipes.networks import NETWORKS
from recipes.training import Stage

FLOAT = Stage(90, 256, 0.1, 1e-4, warmup=5000)
INTEGERS = Stage(5, 256, 1e-4, 1e-5)
PUBLISHED = 1000
"""Classes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; 1 if something was wrong with what was asked for."""
    parser = command.parser("imagenet", __doc__, tuple(sorted(NETWORKS)))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train/ and val/")
    parser.add_argument("--pretrained", action="store_true", help="start from published weights")
    parser.add_argument("--workers", type=int, default=4, help="processes that read photos")
    flags = parser.parse_args(arguments)
    floating, integers = command.stages(flags, FLOAT, INTEGERS)

    def make() -> command.Course:
        network, classes = NETWORKS[flags.network], classes_of(flags.data / "train")
        if flags.pretrained and not network.trained:
            raise ConfigError(f"there are no published weights of {flags.network}; leave --pretrained out")
        count = max(classes.values()) + 1
        if count > PUBLISHED and flags.network != "resnet18":
            raise ConfigError(f"{flags.network} tells {PUBLISHED} classes apart, {flags.data} holds {count}")
        if flags.pretrained:
            net = network.load()
        else:
            net = resnet18(flags.seed, count) if flags.network == "resnet18" else network.make()
        train, test = (
            photos_below(flags.data / part, classes, network.preprocess, flags.workers) for part in ("train", "val")
        )
        return command.Course(net, train, test, None if flags.pretrained else floating, integers)

    return command.main(flags, make)


if __name__ == "__main__":
    sys.exit(main())
