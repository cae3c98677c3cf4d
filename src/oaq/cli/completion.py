"""``oaq completion``: a script that lets a shell complete verbs, options and file names."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence

from oaq.terminal import say

HELP = "print a script that completes verbs and options in a shell"
DESCRIPTION = """\
Print a script for bash, zsh or fish. It knows every verb, every option, the
values of options that take one of a few, and completes file names elsewhere."""
EXAMPLES = """\
examples:
  source <(oaq completion bash)                                        # in ~/.bashrc
  source <(oaq completion zsh)                                         # in ~/.zshrc
  oaq completion fish > ~/.config/fish/completions/oaq.fish"""

SHELLS = ("bash", "zsh", "fish")
BASH = """\
_oaq() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs}" -- "$word")); return
  fi
  case "$verb $before" in
{values}
  esac
  if [ -z "$words" ] && [[ $word == -* ]]; then
    case "$verb" in
{options}
    esac
  fi
  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); else COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -o filenames -F _oaq oaq"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SHELL."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def call(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from oaq.cli.command import parser

    verbs = _verbs(parser())
    script = _fish(verbs) if arguments.shell == "fish" else _bash(verbs)
    if arguments.shell == "zsh":
        script = f"autoload -U +X bashcompinit && bashcompinit\n{script}"
    if arguments.json:
        say.document({"shell": arguments.shell, "script": script})
    else:
        say.words(script)
    return 0


Verbs = Mapping[str, tuple[str, Sequence[argparse.Action]]]
"""Help and options of every verb, by its name."""


def _verbs(root: argparse.ArgumentParser) -> Verbs:
    result = {}
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: str(choice.help or "") for choice in action._choices_actions}
            for name, verb in action.choices.items():
                options = [option for option in verb._actions if option.help != argparse.SUPPRESS]
                result[name] = texts.get(name, ""), [option for option in options if option.option_strings]
    return result


def _names(options: Sequence[argparse.Action]) -> list[str]:
    return [name for option in options for name in option.option_strings]


def _choices(option: argparse.Action) -> str:
    return " ".join(map(str, option.choices or ()))


def _bash(verbs: Verbs) -> str:
    values = [
        f'    "{verb} {name}") words="{_choices(option)}";;'
        for verb, (_, options) in verbs.items()
        for option in options
        if option.choices
        for name in option.option_strings
    ]
    options = [f'      {verb}) words="{" ".join(_names(all_of))}";;' for verb, (_, all_of) in verbs.items()]
    return BASH.format(verbs=" ".join(verbs), values="\n".join(values), options="\n".join(options))


def _fish(verbs: Verbs) -> str:
    lines = ["complete -c oaq -n __fish_use_subcommand -f"]
    for verb, (text, options) in verbs.items():
        lines.append(f"complete -c oaq -n __fish_use_subcommand -f -a {verb} -d {shlex.quote(text)}")
        for option in options:
            long = next((name[2:] for name in option.option_strings if name.startswith("--")), "")
            if long:
                takes = f" -x -a {shlex.quote(_choices(option))}" if option.choices else ""
                lines.append(f"complete -c oaq -n '__fish_seen_subcommand_from {verb}' -l {long}{takes}")
    return "\n".join(lines)
