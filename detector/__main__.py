"""The command line: `stillwatch VERB ...`. Arguments only; the verbs live in `cli/`.

A verb's module is loaded when the verb is called, here and nowhere else: `--version` and
`--help` need not wait for all engines, charts and clients.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Any, NamedTuple, TextIO

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from detector import __version__

EXIT_USAGE = 2


class Verb(NamedTuple):
    """Where a verb lives in `detector.cli`, what `--help` says of it, and the modules it needs from an extra."""

    module: str
    brief: str
    needs: tuple[str, ...] = ()
    files: str = ""  # the module that does without `KAFKA` what needs no topic


KAFKA = ("aiokafka",)
VERBS = {
    "demo": Verb("replay", "Replay the sample log that ships with the program."),
    "replay": Verb("replay", "Replay access logs: find campaigns, write alerts, decisions and members to DIR."),
    "report": Verb("report", "Write a replay's report anew: one HTML file that needs no network."),
    "diff": Verb("report", "Compare two runs: alerts, decisions, settings, and leak and collateral."),
    "explain": Verb("explain", "Say why: values, bounds, thresholds, baselines, and what would have cleared it."),
    "validate": Verb("validate", "Say what a log holds, and which signatures will be off."),
    "fingerprint": Verb("fingerprint", "Turn raw content into the contract's fingerprints and drop the text."),
    "generate": Verb("generate", "Generate a log with known truth."),
    "evaluate": Verb("evaluate", "Score a replay: leak, time to detect, recall and precision, collateral, alert load."),
    "sweep": Verb("sweep", "Score logs once, then decide often: what each setting finds and costs."),
    "calibrate": Verb("calibrate", "Fit the threshold to logs without attacks."),
    "test": Verb("test", "Judge the signatures' own cases: attacks, nearest innocents, evasions."),
    "schema": Verb("schema", "Print a JSON Schema, or list their names."),
    "run": Verb("run", "Run the live worker: access events in, alerts and decisions out.", KAFKA),
    "topics": Verb("topics", "Create the topics that are missing, or check them.", KAFKA),
    "produce": Verb("produce", "Put a log file's records on the access topic, as a gateway would.", KAFKA),
    "alerts": Verb("alerts", "Alerts: read them, say what they were, close them.", KAFKA, files="of_runs"),
    "sinks": Verb("sinks", "Deliver alerts to pagers, chats, webhooks, files and topics.", KAFKA),
    "decisions": Verb("decisions", "Decisions: what holds, why, and an operator's word on it.", KAFKA, files="of_runs"),
    "allow": Verb("allow", "The allow-list: exemptions, each with an owner and an end.", KAFKA),
    "dlq": Verb("dlq", "Dead letters: records that were refused. Their content is never shown.", KAFKA),
    "doctor": Verb("doctor", "Examine brokers, topics, clock, groups, key, state and disk.", KAFKA),
    "dev": Verb("dev", "Run a single-node Kafka on loopback until Ctrl-C.", KAFKA),
    "enforce": Verb("enforce", "Bring decisions to whoever enforces them.", ("aiokafka", "envoy", "redis")),
    "serve": Verb("serve", "Show campaigns, decisions, caps and coverage in a browser, read-only.", KAFKA),
    "indicators": Verb("indicators", "Share what campaigns look like with other labs, as STIX 2.1.", ("stix2",)),
    "peers": Verb("peers", "Run others' detectors on the same log, at equal collateral.", ("sklearn",)),
}


def load(name: str) -> TyperCommand | TyperGroup:
    """A verb's command, its module loaded; where an extra is missing, one that says so."""
    verb = VERBS[name]
    missing = tuple(module for module in verb.needs if find_spec(module) is None)
    if missing and not (verb.files and missing == KAFKA):
        return _without(name)
    made: Any = getattr(import_module(f"detector.cli.{verb.files if missing else verb.module}"), name)
    if not isinstance(made, typer.Typer):
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(made)
    command: Any = get_group(made) if isinstance(made, typer.Typer) else get_command(alone)
    command.name = name
    import_module("detector.cli.everywhere").add(command)
    return command


def _without(name: str) -> TyperCommand:
    said = (
        "this verb needs the extra `kafka` (enforce: `enforce` too; indicators: `share` alone; peers: `peers` alone): "
        "pip install 'stillwatch[kafka,enforce,share,peers]'"
    )

    def fail() -> None:
        typer.secho(f"error: {said}", err=True, fg="red")
        raise typer.Exit(EXIT_USAGE)

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return TyperCommand(name, callback=fail, help=said, context_settings=settings)


class Verbs(TyperGroup):
    """The group of all verbs; a verb is loaded when it is called, and listed by what the table says.

    What Typer hands over and expects are types that it keeps to itself.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the verbs in the order of the table."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A verb as the list of verbs shows it."""
        del ctx
        return TyperCommand(cmd_name, help=VERBS[cmd_name].brief) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is called."""
        if args and args[0] in VERBS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    name="stillwatch",
    help="A streaming detector of model-distillation attacks on LLM APIs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"stillwatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="print the version"),
) -> None:
    """A streaming detector of model-distillation attacks on LLM APIs."""


def speak(stream: TextIO) -> None:
    """Let any character be written: what a terminal does not have becomes a question mark, files are UTF-8."""
    if isinstance(stream, TextIOWrapper):
        if stream.isatty():
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8")


def main() -> None:
    """Run the command line."""
    speak(sys.stdout)
    speak(sys.stderr)
    app()


if __name__ == "__main__":
    main()
