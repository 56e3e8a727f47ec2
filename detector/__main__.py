"""The command line: `stillwatch VERB ...`. Arguments only; the verbs live in `cli/`."""

from importlib import import_module
from importlib.util import find_spec

import typer

from detector import __version__
from detector.cli.calibrate import calibrate
from detector.cli.common import EXIT_USAGE, fail
from detector.cli.evaluate import evaluate
from detector.cli.explain import explain
from detector.cli.fingerprint import fingerprint
from detector.cli.generate import generate
from detector.cli.replay import demo, replay
from detector.cli.report import diff, report
from detector.cli.schema import schema
from detector.cli.sweep import sweep
from detector.cli.validate import validate

app = typer.Typer(
    name="stillwatch",
    help="A streaming detector of model-distillation attacks on LLM APIs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    demo, replay, report, diff, explain, validate, fingerprint, generate, evaluate, sweep, calibrate, schema,
):  # fmt: skip
    app.command()(verb)

# The verbs that talk to Kafka need the extra `kafka`; without it they say so.
LIVE = ("run", "topics", "produce", "alerts", "sinks", "decisions", "allow", "dlq", "doctor", "dev", "enforce", "serve")
NEEDS = {"enforce": ("aiokafka", "envoy", "redis")}


def _without_kafka() -> None:
    """Needs the extra `kafka`: pip install 'stillwatch[kafka]'; enforce needs `enforce` as well."""
    said = "this verb needs the extra `kafka` (enforce: `enforce` too): pip install 'stillwatch[kafka,enforce]'"
    raise fail(said, code=EXIT_USAGE)


for name in LIVE:
    if all(find_spec(module) is not None for module in NEEDS.get(name, ("aiokafka",))):
        made = getattr(import_module(f"detector.cli.{name}"), name)
        if isinstance(made, typer.Typer):
            app.add_typer(made, name=name)
        else:
            app.command(name)(made)
    else:
        app.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(_without_kafka)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"stillwatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="print the version"),
) -> None:
    """A streaming detector of model-distillation attacks on LLM APIs."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
