PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench setup clean

$(VENV)/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# torchvision, timm and torchattacks bring a torch of their own: without their dependencies, ours stays. What timm needs
# beside torch (huggingface_hub, pyyaml, safetensors) comes with transformers, which does not depend on torch.
$(VENV)/dev: $(VENV)/base
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,hub]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torchvision timm torchattacks
	touch $@

$(VENV)/bench: $(VENV)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt foolbox eagerpy adversarial-robustness-toolbox
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt requests GitPython tqdm six
	touch $@

setup: $(VENV)/dev

demo: $(VENV)/base
	$(BIN)/underfire attack --data digits:test --classifier digits-resnet --interpreter cam --attack adv2 \
		--eps 0.2 --steps 40,160 --count 40 --out runs/demo --overwrite

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) runs dist build
