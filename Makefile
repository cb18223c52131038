# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up and can be repeated. Recipes name files relative to this folder, so that
# it may be anywhere, also under a name with spaces.

.PHONY: help demo test lint docs deb install uninstall clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       three nodes on this machine, each in a network namespace, pinging each other (root)"
	@echo "make test       the whole test suite (root, or the tests with network namespaces are skipped)"
	@echo "make lint       style, types, import rules"
	@echo "make docs       the documentation, into site/"
	@echo "make deb        the Debian package, into dist/"
	@echo "make install    pineconed as a systemd service, under /opt/pineconed (root)"
	@echo "make uninstall  take it away again; configuration and key stay (root)"
	@echo "make clean      remove what the other targets made in this folder"

demo:
	@./contrib/demo/three-nodes

test:
	@./.ci/test

lint:
	@./.ci/lint

docs:
	@./.ci/docs

deb:
	@./packaging/deb

install:
	@./packaging/install

uninstall:
	@./packaging/uninstall

clean:
	rm -rf .venv site build dist .coverage coverage.json .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
