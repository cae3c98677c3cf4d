"""The command line that the training recipes share, and what all of them do with it: train, convert, prove, write."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq.errors import ConfigError, FormatError
from oaq.numerics.requantize import SEMANTICS
from oaq.program.atomic import write_atomically
from oaq.qat import (
    METHODS,
    Config,
    Dither,
    QatNetwork,
    certificate_parts,
    convert,
    from_yaml,
    plot,
    read_log,
    targets,
    to_yaml,
    verdicts,
)
from oaq.qat.distributed import is_first
from oaq.tasks import Task
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import distill
from recipes.training import (
    CLASSES,
    Loss,
    Source,
    Stage,
    score,
    score_integers,
    together,
    train_float,
    train_integers,
)
from recipes.wrapped import Stages, train_wrapped


@dataclass(frozen=True)
class Course:
    """What a recipe trains.

    Attributes:
        net: float, fresh.
        train, test: images with truths.
        floating, integers: the stages; no first one: the network is trained already.
        task: what the network is for: its first metric is what both networks are scored by.
        loss: what training makes small.
        wrapped: stages of method "wrap"; None: it is not trained by that.
        teachers: other networks of the same classes, by name, untrained: what --teacher may load weights into.
    """

    net: nn.Module
    train: Source
    test: Source
    floating: Stage | None
    integers: Stage
    task: Task = CLASSES
    loss: Loss = F.cross_entropy
    wrapped: Stages | None = None
    teachers: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)


def parser(module: str, description: str | None, networks: tuple[str, ...]) -> argparse.ArgumentParser:
    """Options that all recipes have."""
    options = argparse.ArgumentParser(
        f"python -m recipes.{module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--network", choices=networks, default=networks[0])
    options.add_argument(
        "--out", type=Path, default=Path("runs") / module, help="folder for everything that is written"
    )
    options.add_argument("--config", type=Path, help="oaq.qat.Config as YAML; the options below change it")
    options.add_argument("--method", choices=sorted(METHODS), help="; ".join(f"{k}: {v}" for k, v in METHODS.items()))
    options.add_argument("--bits", type=int, help="of weights and operands; with --method wrap, of the register")
    options.add_argument("--register", help="pure, avx2 or neon")
    options.add_argument("--register-bits", type=int, help="of a pure register")
    options.add_argument("--run", type=int, help="inner steps between two spills; 0: all of K")
    options.add_argument(
        "--speed", type=float, help="steer towards this part of the speed of 16-bit sums without spills"
    )
    distill.add_options(options)
    options.add_argument(
        "--dither", type=float, metavar="S", help="dither the gradients of both stages with this scale; 0: not"
    )
    options.add_argument("--requantize", choices=SEMANTICS, help="how sums become bytes; fixed_point: by integers only")
    options.add_argument("--epochs", type=int, help="of the integers")
    options.add_argument("--float-epochs", type=int)
    options.add_argument("--batch", type=int)
    options.add_argument("--accumulate", type=int, default=1, help="batches per step of the optimizer")
    options.add_argument("--bf16", action="store_true", help="autocast; integers stay exact")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, help="of torch; default: its own choice")
    return options


def config_of(flags: argparse.Namespace) -> Config:
    """The settings asked for.

    Raises:
        ConfigError, FormatError: they are none.
    """
    config = Config()
    if flags.config is not None:
        try:
            config = from_yaml(flags.config.read_text(encoding="utf-8"), Config)
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(f"{flags.config}: the settings cannot be read: {error}") from error
    target: dict[str, Any] = {"register": flags.register, "bits": flags.register_bits, "run": flags.run}
    target = {name: value for name, value in target.items() if value is not None}
    if target.get("run") == 0:
        target["run"] = None
    changes: dict[str, Any] = {"method": flags.method, "weight_bits": flags.bits, "activation_bits": flags.bits}
    changes |= {"requantize": flags.requantize}
    if flags.dither is not None:
        scaled = replace(config.dither or Dither(), scale=flags.dither)
        config = replace(config, dither=scaled if flags.dither else None)
    changes = {name: value for name, value in changes.items() if value is not None}
    if (flags.method or config.method) == "wrap":
        narrow = {} if flags.config is not None else {"weight_bits": 2, "activation_bits": 2}
        wrapping = replace(config.wrapping, bits=wrap_bits(flags)) if flags.bits else config.wrapping
        requantize = flags.requantize or config.requantize
        return replace(config, method="wrap", **narrow, wrapping=wrapping, requantize=requantize)
    if flags.method in ("a2q", "a2q+"):
        target = {"register": "pure", **target}
    return replace(config, **changes, target=replace(config.target, **target) if target else config.target)


def wraps(flags: argparse.Namespace) -> bool:
    """Whether sums that wrap are asked for, by the option or by the file of settings."""
    return flags.method == "wrap" or (flags.method is None and config_of(flags).method == "wrap")


def wrap_bits(flags: argparse.Namespace) -> int:
    """Bits of the register that sums may leave."""
    return flags.bits or config_of(flags).wrapping.bits


def stages(flags: argparse.Namespace, floating: Stage, integers: Stage) -> tuple[Stage, Stage]:
    """The recipe's stages with what was asked for on the command line."""
    shared = {"seed": flags.seed, "accumulate": flags.accumulate, "bf16": flags.bf16}
    shared |= {} if flags.batch is None else {"batch": flags.batch}
    epochs = flags.float_epochs or floating.epochs, flags.epochs or integers.epochs
    return replace(floating, epochs=epochs[0], **shared), replace(integers, epochs=epochs[1], **shared)


def run(flags: argparse.Namespace, make: Callable[[], Course]) -> int:
    """Both stages, then the program: written, proved, tested.

    Raises:
        OaqError: see ``train_integers`` and ``convert``.
    """
    config, out = config_of(flags), flags.out
    if config.method == "wrap":
        _require_heeded(flags)
    if flags.threads:
        torch.set_num_threads(flags.threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{out}: cannot be made: {error.strerror}. Choose another --out") from error
    with together() as device:
        torch.manual_seed(flags.seed)
        course = make()
        if config.method == "wrap" and course.wrapped is None:
            raise ConfigError(
                "this recipe has no stages for method 'wrap'; recipes.fashion_mnist and recipes.cifar10 have"
            )
        if is_first():
            write_atomically(out / "config.yaml", [to_yaml(config).encode()])
        net = course.net.eval()
        if course.floating is not None:
            checkpoint = out / "float.ckpt"
            net = train_float(
                net, course.train, course.floating, checkpoint, device, loss=course.loss, dither=config.dither
            )
        if config.method == "wrap":
            network = _wrap(net, course, config, out, device)
        else:
            network = train_integers(
                net,
                course.train,
                config,
                course.integers,
                out,
                device=device,
                speed=flags.speed,
                loss=course.loss,
                teacher=distill.teacher_of(flags, course.teachers),
            )
        if is_first():
            _finish(network, net, course, out)
    return 0


def _require_heeded(flags: argparse.Namespace) -> None:
    """Refuse options that method "wrap" would pass over: its stages and registers are the recipe's.

    Raises:
        ConfigError: there is such an option.
    """
    names = ("teacher", "register", "register_bits", "run", "speed", "epochs", "float_epochs", "batch")
    passed = [name for name in names if getattr(flags, name) is not None]
    passed += ["accumulate"] * (flags.accumulate != 1) + ["bf16"] * flags.bf16
    if passed:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in passed)
        raise ConfigError(f"{options}: method 'wrap' has stages and registers of its own. Leave it out")


def _wrap(net: nn.Module, course: Course, config: Config, out: Path, device: torch.device) -> QatNetwork:
    """Every stage of method "wrap", and a table of what leaves the registers."""
    assert course.wrapped is not None  # ``run`` has refused it
    network, rates = train_wrapped(net, course.train, config, course.wrapped, out, device=device, loss=course.loss)
    bits = {name: layer.wrapping.bits for name, layer in network.layer.items() if layer.wrapping is not None}
    rows = tuple((name, str(bits[name]), f"{rate:.3%}") for name, rate in rates.items())
    if is_first():
        say.tables([Table("sums that wrap (observed)", ("layer", "register bits", "outside"), rows)])
    return network


def _finish(network: Any, net: nn.Module, course: Course, out: Path) -> None:  # noqa: ANN401
    program, requested = convert(network), targets(network)
    oaq.save(program, out / "net.oaq", certificate_parts(program, requested))
    if network.config.method != "wrap":
        _draw(out)
    outcomes = verdicts(program, requested)
    rows = tuple((outcome.layer, str(outcome.target or "-"), outcome.promise, outcome.demand) for outcome in outcomes)
    say.tables([Table("accumulators", ("layer", "asked for", "proof", "has"), rows)])
    metric, test = course.task.metrics[0], course.test
    values = score(net, test, course.task), score_integers(program, test, course.task)
    exact, rounded = (metric.text(value, len(test)) for value in values)
    planned = oaq.plan(program)
    say.words(
        f"{metric.name}: float {exact}, integers {rounded}; planned cost {planned.cost:.3f}, runs of "
        f"{planned.average_run:.1f} steps; {out / 'net.oaq'}"
    )


def _draw(out: Path) -> None:
    """``layers.svg``; a picture that cannot be drawn does not undo a training."""
    states = read_log(out / "layers.csv")
    try:
        if states:
            plot(states, out / "layers.svg")
    except FormatError as error:
        say.warn(str(error))


def main(flags: argparse.Namespace, make: Callable[[], Course]) -> int:
    """``run`` with errors as one line and exit code 1."""
    try:
        return run(flags, make)
    except oaq.OaqError as error:
        say.warn(str(error))
        return 1
