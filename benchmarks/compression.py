"""Tokens on held-out Chinese at equal size and corpus: vocabkit against the published method.

    python benchmarks/compression.py --base llama-tokenizer.model [--size 8000]

The published method trains a SentencePiece model on the text and appends the pieces that the base lacks, with score 0
(arXiv 2304.08177).  It is given the same number of new pieces, as Unigram (what was published) and as BPE.
Also: the word list alone, with +12,000 tokens, on texts named by --prose.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from pathlib import Path

import sentencepiece
from harness import save
from inputs import chinese_lines

from vocabkit.corpus import count_spans, open_corpus
from vocabkit.plugins import load_plugins
from vocabkit.tokenizer import open_tokenizer
from vocabkit.vocabulary.learn import learn
from vocabkit.vocabulary.merge import union
from vocabkit.vocabulary.spans import SpanCutter
from vocabkit.vocabulary.verify import verify
from vocabkit.vocabulary.vocabulary_file import Vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--size", type=int, default=8000)
    parser.add_argument("--prose", action="append", default=[], type=Path)
    options = parser.parse_args()
    registry = load_plugins()
    chinese = registry.language("zh")
    base = open_tokenizer(options.base)
    lines = chinese_lines()
    held_out, train = lines[:3000], lines[3000:]

    spans = Counter(SpanCutter(base.preparer(), chinese)("\n".join(train), True, True))
    tokens = learn(base, chinese, spans, size=options.size, max_length=chinese.max_token_length)
    rows = [row("vocabkit", base.extended(tokens), base, held_out)]
    for kind in ("unigram", "bpe"):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(train),
            model_writer=model,
            # Enough that `size` pieces remain when those of the base are taken out.
            vocab_size=options.size + 3000,
            model_type=kind,
            character_coverage=0.9995,
            minloglevel=2,
        )
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size()) if not processor.is_control(i)]
        new = [piece for piece in pieces if piece != "<unk>" and base.find(piece.encode()) is None][: options.size]
        rows.append(
            row(
                f"train a {kind} model and append",
                union(base, Vocabulary(pieces=tuple(new)), chinese).tokenizer,
                base,
                held_out,
            )
        )

    words = count_spans(open_corpus(["wordfreq:zh"], registry=registry), SpanCutter(base.preparer(), chinese)).counts
    from_words = base.extended(learn(base, chinese, words, size=12_000, max_length=chinese.max_token_length))
    prose = []
    for path in options.prose:
        text = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        characters = sum(map(len, text))
        prose.append(
            {
                "text": path.name,
                "characters": characters,
                "base_characters_per_token": round(characters / sum(map(len, base.encode(text))), 3),
                "characters_per_token": round(characters / sum(map(len, from_words.encode(text))), 3),
            }
        )
    save(
        "compression",
        {
            "base": Path(options.base).name,
            "size": options.size,
            "train_lines": len(train),
            "held_out_lines": len(held_out),
            "base_tokens": sum(map(len, base.encode(held_out))),
            "rows": rows,
            "wordfreq_12000": prose,
        },
    )


def row(name: str, candidate: object, base: object, held_out: list[str]) -> dict[str, object]:
    """Return tokens on held-out text and what the certificate finds."""
    certificate = verify(candidate, base, only=("G4", "G5", "G6", "G7"))  # type: ignore[arg-type]
    return {
        "method": name,
        "new": candidate.size - base.size,  # type: ignore[attr-defined]
        "held_out_tokens": sum(map(len, candidate.encode(held_out))),  # type: ignore[attr-defined]
        "failed": certificate.failed,
        "details": {check.name: check.detail for check in certificate.checks},
    }


if __name__ == "__main__":
    main()
