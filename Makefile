.PHONY: check format test docs bench

check:            ## format, lint, types, docs that are generated
	ruff format --check .
	ruff check .
	mypy
	python docs/make_cli.py --check

format:           ## what `check` would complain about
	ruff format .
	ruff check --fix .

test:             ## everything that needs no GPU; two processes of one thread each, a file at a time
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

docs:             ## docs/cli.md from --help
	python docs/make_cli.py

bench:            ## the claims, against their peers; results go to benchmarks/results/
	python benchmarks/learn.py
	python benchmarks/compression.py
	python benchmarks/bases.py
	python benchmarks/code_switching.py
