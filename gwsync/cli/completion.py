"""``gwsync completion``: what a shell needs to complete gwsync's commands and options."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ..errors import ConfigError
from . import output

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Completion of commands and options in your shell.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the script that completes gwsync's commands and options in SHELL (yours).

    \b
      bash   echo 'eval "$(gwsync completion bash)"' >> ~/.bashrc
      zsh    echo 'eval "$(gwsync completion zsh)"' >> ~/.zshrc
      fish   gwsync completion fish > ~/.config/fish/completions/gwsync.fish
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise ConfigError("which shell?", hint=f"gwsync completion {'|'.join(SHELLS)}")
    found = get_completion_class(name)
    assert found is not None  # noqa: S101 - click has these three
    script = found(ctx.find_root().command, {}, "gwsync", "_GWSYNC_COMPLETE").source()
    output.line(script)


def method_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The gateway's methods, for an argument that is one."""
    from ..api.rpc_table import table

    return [name for name in table().rows if name.startswith(incomplete)]
