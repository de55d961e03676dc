"""`excite`: one verb a file; errors become one message and an exit code."""

import os
import shlex
import sys
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from excite.cli.panels import Grouped
from excite.cli.talk import say
from excite.errors import ExciteError, Interrupted
from excite.registry import nearest

VERBS = ("demo", "info", "check", "train", "study", "evaluate", "compare", "predict", "explain", "export", "bench",
         "models", "weights", "simulate", "cache")


class _Verbs(TyperGroup):
    """Verbs in the order of a day's work, each imported only when it is named or helped for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"there is no verb {args[0]!r}; {nearest(args[0], list(VERBS))}verbs: {', '.join(VERBS)}")
        return super().resolve_command(ctx, args)


def build() -> typer.Typer:
    """Return the command line with every verb."""
    app = typer.Typer(cls=_Verbs, name="excite", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                      pretty_exceptions_enable=False,
                      context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})

    @app.callback()
    def options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
        """Small channel-attention networks for medical images: build, train, prove, explain, ship.

        Start with: excite demo. Then: excite check TABLE, excite train TABLE.
        """
        if debug:
            os.environ["EXCITE_DEBUG"] = "1"

    for verb in VERBS:
        module = import_module(f"excite.cli.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command(name=verb, cls=Grouped)(getattr(module, verb))
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    # Threads that wait spinning lose time where another program shares the cores (0.66 against 0.52 s a step), and win
    # nothing alone. Has to be said before torch is imported; measured by benchmarks/waiting.py.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal in cp1252 must not stop at a name
            stream.reconfigure(errors="backslashreplace")
    try:
        build()(args=arguments, prog_name="excite")
    except ExciteError as fault:
        if os.environ.get("EXCITE_DEBUG"):
            raise
        say(_message(fault))
        if isinstance(fault, Interrupted):
            say(f"  again: excite {shlex.join(arguments if arguments is not None else sys.argv[1:])}")
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def _message(fault: ExciteError) -> str:
    """Return the message with each of its parts on its own line."""
    lines = [f"{'stopped' if isinstance(fault, Interrupted) else 'error'}: {fault.what}"]
    for word, text in (("where", fault.where), ("why", fault.why), ("do", fault.fix)):
        if text:
            lines.append(f"  {word + ':':<7}{text}")
    return "\n".join(lines)
