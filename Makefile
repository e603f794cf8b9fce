PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST ?= .venv-lowest
# Where to get torch from, if not from the usual index: https://download.pytorch.org/whl/cpu has builds without CUDA.
TORCH_INDEX ?=
# Packages are set up without bytecode; the first import writes it. Without bytecode, each process would compile torch and
# underfire again: some 3 s for each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

# The fast part of the suite: one file of each room at least, and all that depends on optional packages.
LOWEST_TESTS := \
	tests/test_numerics.py tests/test_flags.py tests/test_gpu_numerics.py tests/test_memory.py \
	tests/test_campaign_reader.py tests/test_checkpoints.py tests/test_files.py tests/test_training_loop.py \
	tests/attacks/test_attack.py tests/attacks/test_contracts.py tests/attacks/test_foreign.py \
	tests/attacks/test_perturbations.py \
	tests/check/test_sanity.py \
	tests/classifiers/test_classifier.py tests/classifiers/sources \
	tests/data/test_data_builtin.py tests/data/test_data_csv.py tests/data/test_data_folder.py \
	tests/data/test_data_parquet.py tests/data/test_data_prepare_modes.py tests/data/test_data_prepare_sizes.py \
	tests/interpreters/test_captum.py tests/interpreters/test_interpreters.py tests/interpreters/test_lrp.py \
	tests/interpreters/rts/test_interpreter.py tests/interpreters/rts/test_network.py tests/interpreters/ensemble \
	tests/interpreters/transformers/test_attention.py \
	tests/drawing tests/transforms/test_squeezers.py \
	tests/audits/test_search.py tests/defenses/test_aid.py tests/interpreters/certified/test_certificate.py \
	tests/detectors/test_contract.py tests/detectors/test_threshold.py \
	tests/metrics \
	tests/reports/test_page.py tests/reports/test_page_tables.py tests/reports/test_exports.py \
	tests/reports/test_figure.py tests/reports/test_heatmap.py tests/reports/test_huggingface.py tests/reports/test_classes.py \
	tests/runs/test_bad_input.py tests/runs/test_config_file.py tests/runs/test_help.py \
	tests/runs/test_options.py tests/runs/test_output.py tests/runs/test_reader.py \
	tests/campaigns/test_grid.py tests/campaigns/test_file.py tests/campaigns/reproduce/test_papers.py \
	tests/zoo/test_networks.py

.PHONY: demo test test-gpu test-lowest lint docs bench setup clean

$(VENV)/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[photos]"
	touch $@

# torchvision, timm, captum, torchattacks, foolbox and ART bring a torch of their own: without their dependencies, ours stays.
# What timm needs beside torch (huggingface_hub, pyyaml, safetensors) comes with transformers, which does not depend on torch;
# what foolbox and ART need is named.
$(VENV)/dev: $(VENV)/base
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[dev,hub,docs,formats]"
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check --no-deps -c constraints.txt torchvision timm captum efficientnet-lite-pytorch
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check --no-deps -c constraints.txt torchattacks foolbox eagerpy adversarial-robustness-toolbox
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt requests GitPython tqdm six
	touch $@

setup: $(VENV)/dev

# On a machine with other work, threads that wait actively make the demo several times slower.
demo: $(VENV)/base
	OMP_WAIT_POLICY=passive $(BIN)/underfire demo --out runs/demo

test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# No dependencies are looked up: torch's would be 3 GB of CUDA libraries.
$(LOWEST)/ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --no-compile --disable-pip-version-check --no-deps -r constraints-lowest.txt
	$(LOWEST)/bin/python .ci/without_cuda.py
	$(LOWEST)/bin/pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test-lowest: $(LOWEST)/ready
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 $(LOWEST_TESTS) -k "not compiled"

# The suite with the GPU as torch's default device.
test-gpu: $(VENV)/dev
	UNDERFIRE_TEST_DEVICE=cuda $(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(VENV)/site

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) $(LOWEST) runs dist build
