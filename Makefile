.PHONY: check format test docs bench

check:            ## format, lint, types, docs that are generated
	ruff format --check .
	ruff check .
	mypy
	python docs/make_cli.py --check
	python docs/make_measured.py --check

format:           ## what `check` would complain about
	ruff format .
	ruff check --fix .

test:             ## everything that needs no GPU; two processes of one thread each, a file at a time
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

docs:             ## docs/cli.md from --help, tables from the newest results of the benchmarks
	python docs/make_cli.py
	python docs/make_measured.py

# Texts that are not ours to ship: LLaMA's tokenizer.model as llama-tokenizer.model, chinese_sp.model, udhr/CODE.txt.
DATA = $(or $(VOCABKIT_DATA),../shared/data)

bench:            ## the claims, against their peers; results go to benchmarks/results/
	python benchmarks/learn.py
	python benchmarks/compression.py
	python benchmarks/bases.py
	python benchmarks/code_switching.py
	python benchmarks/predictions.py --llama $(DATA)/llama-tokenizer.model --texts $(DATA)/udhr
	python benchmarks/published_merge.py --llama $(DATA)/llama-tokenizer.model --pieces $(DATA)/chinese_sp.model
