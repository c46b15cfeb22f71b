# make up     install what is needed, start Dayfly on http://127.0.0.1:8000, deploy two examples, call one
# make down   stop it
# make test   install what is needed, run every check
PYTHON ?= python3
DATA ?= .dayfly
PORT ?= 8000
BIN := .venv/bin
DAYFLY := DAYFLY_DATA=$(DATA) DAYFLY_URL=http://127.0.0.1:$(PORT) $(BIN)/dayfly

.PHONY: install install-dev up down test lint types contracts fuzz backends kafka bench docs clean

install:
	@scripts/install.sh $(PYTHON) base

install-dev:
	@scripts/install.sh $(PYTHON) dev

up: install
	@$(DAYFLY) up --detach --port $(PORT)
	@$(DAYFLY) deploy examples/hello --name hello
	@$(DAYFLY) deploy examples/wordcount --name wordcount --http
	@printf '\n$$ dayfly invoke hello -d %s\n' "'{\"name\": \"Ada\"}'"
	@$(DAYFLY) invoke hello -d '{"name": "Ada"}'
	@printf '\n\nhello      http://127.0.0.1:%s/fn/default/hello\nwordcount  http://127.0.0.1:%s/fn/default/wordcount\n' $(PORT) $(PORT)
	@printf '\nTry next:  curl -s http://127.0.0.1:%s/fn/default/wordcount --data-binary @README.md\nStop:      make down\n' $(PORT)

down: install
	@$(DAYFLY) down

test: install-dev
	@scripts/test.sh

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

contracts: install-dev
	$(BIN)/lint-imports

fuzz: install-dev
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/python -m pytest tests/fuzz -q -s

# the contract of sandboxes and all attacks, over sandboxes that other programs make; over gVisor's where runsc is installed
MAKERS = bubblewrap crun $(shell command -v runsc)
backends: install-dev
	@for maker in $(notdir $(MAKERS)); do set -ex; \
	DAYFLY_TEST_BACKENDS=$$maker $(BIN)/python -m pytest tests/contract/test_sandbox.py tests/contract/test_node_agent.py tests/contract/test_wraps.py -q -k "$$maker or wraps"; \
	DAYFLY_TEST_ISOLATION=$$maker $(BIN)/python -m pytest tests/attacks -q; \
	done; command -v runsc >/dev/null || echo "gVisor was left out: runsc is not installed"

# sources against a Kafka broker: its jars come from Maven. Slow, because a group waits 10 s for a consumer that was killed
kafka: install-dev
	mvn -q -B -f tests/servers/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=jars -DincludeScope=runtime
	$(BIN)/python -m pytest tests/contract/test_sources.py -q -k kafka

bench: install-dev
	@scripts/bench.sh

clean: down
	rm -rf .venv $(DATA)
