PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs bench setup clean

$(VENV)/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# torchvision, timm, captum, torchattacks, foolbox and ART bring a torch of their own: without their dependencies, ours stays.
# What timm needs beside torch (huggingface_hub, pyyaml, safetensors) comes with transformers, which does not depend on torch;
# what foolbox and ART need is named.
$(VENV)/dev: $(VENV)/base
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,hub,docs]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchvision timm captum
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchattacks foolbox eagerpy adversarial-robustness-toolbox
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt requests GitPython tqdm six
	touch $@

setup: $(VENV)/dev

demo: $(VENV)/base
	$(BIN)/underfire demo --out runs/demo

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(VENV)/site

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) runs dist build
