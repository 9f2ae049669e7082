# The commands of a working day. Without make: the same lines by hand, and `.ci/check` for `make check`.
UV = python3 -m uv

N ?= 2000

T ?= 60

.PHONY: check test acceptance slow storm deletion import sabotage security isolation fuzz schemathesis bench peers lock format

check:
	.ci/check

test:
	$(UV) run pytest

acceptance:
	$(UV) run pytest -m acceptance

slow:
	$(UV) run pytest -m slow

storm:
	$(UV) run python -m tests.acceptance.storm --with all --occurrences $(N) $(if $(SEED),--seed $(SEED))

deletion:
	$(UV) run python -m tests.acceptance.lost_workers --messages $(N)

import:
	$(UV) run python -m tests.acceptance.lost_importers --messages $(N)

sabotage:
	$(UV) run pytest tests/acceptance/storm/test_sabotage.py \
		tests/acceptance/storm/sabotage_of_the_whole.py

security:
	.ci/security

isolation:
	$(UV) run python -m pytest -p tests.mutants.plugin -q -n 0 -s tests/integration

fuzz:
	.ci/fuzz $(T)

schemathesis:
	SCHEMA_EXAMPLES=$(if $(EXAMPLES),$(EXAMPLES),200) SCHEMA_SEED=$(if $(SEED),$(SEED),1) \
		$(UV) run pytest -n 0 --timeout 7200 --reruns 0 tests/acceptance/test_schema.py

bench:
	$(UV) run python -m benchmarks

peers:
	$(UV) run --group bench python -m benchmarks peers $(if $(JSON),--json $(JSON))

lock:
	$(UV) pip compile pyproject.toml --universal --upgrade --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

format:
	$(UV) run ruff format .
	$(UV) run ruff check --fix .
