"""The live side's configuration, records and pinned jars, without Kafka."""

from pathlib import Path

import msgspec
import orjson
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from detector.config import Settings, parse
from detector.frames import FrameError
from detector.records import ConfigError
from detector.runtime.kafka import jars, markers
from detector.runtime.kafka.connection import Connection, client_arguments, connection_from, password_of, tls_context
from detector.runtime.kafka.jars import BrokerError, Jar, fetch_jars
from detector.runtime.kafka.publishing import ProgressError, read_progress
from detector.runtime.kafka.topics import TopicSpec, _faults, specifications


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[kafka]\nbootstrap = "file:1"\nprefix = "file."'
    assert connection_from(text).bootstrap == "file:1"
    monkeypatch.setenv("STILLWATCH_BOOTSTRAP", "environment:1")
    monkeypatch.setenv("STILLWATCH_TOPIC_PREFIX", "")
    assert connection_from(text) == Connection(bootstrap="environment:1", prefix="")
    assert connection_from(text, bootstrap="line:1", prefix="l.") == Connection(bootstrap="line:1", prefix="l.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[kafka]\ncolour = "red"', "unknown field `colour`"),
        ('[kafka]\nbootstrap = ""', "kafka.bootstrap is empty"),
        ("[kafka]\nidle_ms = 0", "kafka.idle_ms=0 must be positive"),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"', "needs kafka.username"),
        ('[kafka]\nsecurity_protocol = "NONE"', "Invalid enum value 'NONE'"),
        ('[kafka]\nbootstrap = "kim:hunter2@b:1"', "kafka.bootstrap holds an @"),
        ("kafka = 1", "the table kafka does not read"),
    ],
)
def test_a_wrong_table_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as wrong:
        connection_from(text)
    assert "hunter2" not in str(wrong.value)


def test_the_connection_is_no_part_of_the_settings() -> None:
    assert parse('pane_ms = 5000\n[kafka]\nbootstrap = "b:1"') == parse("pane_ms = 5000")


def test_a_password_comes_from_a_file_or_the_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Connection(security_protocol="SASL_PLAINTEXT", username="u")
    with pytest.raises(ConfigError, match=r"needs a password: kafka\.password_file, .* or STILLWATCH_KAFKA_PASSWORD"):
        password_of(said)
    monkeypatch.setenv("STILLWATCH_KAFKA_PASSWORD", "from-environment")
    assert client_arguments(said)["sasl_plain_password"] == "from-environment"  # noqa: S105 - the test says it
    (tmp_path / "password").write_text("from-file\n")
    filed = Connection(security_protocol="SASL_PLAINTEXT", username="u", password_file=str(tmp_path / "password"))
    assert client_arguments(filed)["sasl_plain_password"] == "from-file"  # noqa: S105 - the test says it
    assert "from-file" not in repr(filed)
    (tmp_path / "password").write_bytes(b"\xffsecret")
    with pytest.raises(ConfigError, match="is no text in UTF-8") as wrong:
        password_of(filed)
    assert wrong.value.__suppress_context__  # a trace would show the bytes
    (tmp_path / "password").write_text("\n")
    with pytest.raises(ConfigError, match="with something in it"):
        password_of(filed)
    with pytest.raises(ConfigError, match="none: No such file"):
        password_of(msgspec.structs.replace(filed, password_file="none"))  # noqa: S106 - a file's name


def test_certificates_that_do_not_load_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("hello")
    with pytest.raises(ConfigError, match=r"kafka\.ca_file .*no\.pem does not load"):
        tls_context(Connection(security_protocol="SSL", ca_file=str(tmp_path / "no.pem")))
    mine = trustme.CA().issue_cert("me.test")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "me.pem"))
    key = serialization.load_pem_private_key(mine.private_key_pem.bytes(), None)
    locked = serialization.BestAvailableEncryption(b"opens")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (tmp_path / "me.key").write_bytes(key.private_bytes(*form, locked))
    said = {"certificate_file": str(tmp_path / "me.pem"), "key_file": str(tmp_path / "me.key")}
    with pytest.raises(ConfigError, match=r"an encrypted key needs kafka\.key_password_file"):
        tls_context(Connection(security_protocol="SSL", **said))
    (tmp_path / "opens").write_text("opens\n")
    opened = Connection(security_protocol="SSL", key_password_file=str(tmp_path / "opens"), **said)
    assert tls_context(opened) is not None
    assert tls_context(Connection()) is None


def test_a_marker_of_another_version_is_refused() -> None:
    with pytest.raises(FrameError, match="marker of 5 bytes does not decode"):
        markers.unwire_marker(markers.MARKER_MAGIC + b"x")
    with pytest.raises(FrameError, match="not a marker of version 1"):
        markers.unwire_marker(b"SWM2" + markers.end("access/0", position=1)[4:])


def test_a_strange_progress_record_is_refused() -> None:
    with pytest.raises(ProgressError, match="does not read"):
        read_progress(orjson.dumps({"tenant": "t"}))


def test_a_topic_is_held_against_its_specification() -> None:
    spec = next(s for s in specifications(Settings(tenants=("a", "b"))) if s.name == "frames")
    assert spec.partitions == 2
    fits = {**spec.configs, "retention.ms": "-1", "max.message.bytes": "99999999"}
    assert _faults(spec, 2, fits) == ()
    assert _faults(spec, None, {}) == ("missing; `stillwatch topics create` makes it",)
    said = "; ".join(_faults(spec, 1, {"cleanup.policy": "compact", "retention.ms": "1", "max.message.bytes": "9"}))
    assert "1 partitions, at least 2" in said
    assert "cleanup.policy=compact, expected delete" in said
    assert "retention.ms=1, at least" in said
    assert "max.message.bytes=9, at least" in said
    access = TopicSpec("access", 8, {})
    assert _faults(access, 1, {}) == ()  # any number of partitions serves


def test_a_jar_of_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository" / "g").mkdir(parents=True)
    (tmp_path / "repository" / "g" / "a.jar").write_bytes(b"other")
    monkeypatch.setenv(jars.REPOSITORY_VARIABLE, (tmp_path / "repository").as_uri())
    monkeypatch.setattr(jars, "pinned", lambda: (Jar("0" * 64, "g/a.jar"),))
    with pytest.raises(BrokerError, match="pinned is 0000"):
        fetch_jars(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_pinned_list_is_complete() -> None:
    names = {Path(jar.path).name for jar in jars.pinned()}
    assert len(names) == len(jars.pinned()) == 46
    assert "kafka_2.13-4.1.1.jar" in names
    assert all(len(jar.sha256) == 64 for jar in jars.pinned())
