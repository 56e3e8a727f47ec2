"""What `enforce` refuses before it follows anything, in one sentence and with the contract's exit code."""

import pytest
from typer.testing import CliRunner

from detector.cli.enforce import LITELLM_KEY, REDIS_PASSWORD, enforce

BROKERS = ("--bootstrap", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("redis", "--url", "foo"), "--url 'foo': expected redis://HOST:PORT/DB"),
        (("redis", "--url", "redis://u:p@h"), f"give the password in {REDIS_PASSWORD}"),
        (("file", "/nowhere/at/all"), "there is no directory /nowhere/at; make it first"),
        (("webhook", "--url", "notaurl"), "--url 'notaurl': expected http://HOST"),
        (("nginx", "--listen", "9"), "--listen '9': expected HOST:PORT"),
        (("ext-authz", "--listen", "127.0.0.1:99999"), "--listen '127.0.0.1:99999': expected HOST:PORT"),
        (("crowdsec",), "no bouncer could ask"),
        (("litellm", "--release"), "--journal and --release go with --url"),
        (("litellm", "--url", "http://h"), "--url needs --journal"),
        (("litellm", "--url", "http://h", "--journal", "j"), f"set {LITELLM_KEY} to the proxy's master key"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_followed(words: tuple[str, ...], said: str) -> None:
    given = words if words[:2] == ("litellm", "--release") else (*words, *BROKERS)
    answer = CliRunner().invoke(enforce, given, env={"COLUMNS": "200"})
    assert answer.exit_code == 2, answer.output
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
