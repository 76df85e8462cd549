"""A small model proposes, the large one checks several tokens in one pass, and the text is the large one's own.

Source: Leviathan et al., "Fast inference from transformers via speculative decoding", ICML 2023.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vocabkit.errors import VocabkitError
from vocabkit.infer.engine import Engine
from vocabkit.infer.sampling import Sampling
from vocabkit.infer.scheduler import PROMPT_TOKENS
from vocabkit.infer.writing import Event, Writing, begun

# Proposals of a pass: at the beginning, and the most; two more when all were right, one less when one was wrong.
PROPOSALS, MOST_PROPOSALS = 4, 12


class Speculator:
    """Writes one text at a time with a target and a draft model of the same vocabulary.

    passes: of the target, after the prompt.  proposed, accepted: tokens of the draft.
    Raises VocabkitError when the models have different tokens.
    """

    def __init__(self, target: Engine, draft: Engine) -> None:
        if dict(target.tokenizer.id_table) != dict(draft.tokenizer.id_table):
            raise VocabkitError(
                f"the draft model has {draft.tokenizer.size:,} tokens and the model {target.tokenizer.size:,}, or "
                f"others; use a draft with the same tokenizer"
            )
        self.target, self.draft = target, draft
        self.passes, self.proposed, self.accepted = 0, 0, 0
        self._all_right = False

    def run(self, prompt: Sequence[int], sampling: Sampling, *, number: int = 0) -> Iterator[Event]:
        """Yield the events of one text; with temperature 0 its tokens are those of the target alone.

        Raises VocabkitError for guidance, which has no draft, and as `begun` does.
        """
        if sampling.guidance != 1:
            raise VocabkitError("guidance cannot be combined with a draft model; leave out one of them")
        one = begun(self.target, prompt, sampling, number=number)
        self.draft.checked_length(len(one.prompt), sampling.max_new_tokens)
        target, draft = _Reader(self.target), _Reader(self.draft)
        event = one.add(*_chosen(one, target.read(one.ids)[-1]))
        yield event
        count = PROPOSALS
        while not event.finish:
            count = max(0, min(count, one.limit - one.new_tokens - 1, self.draft.max_length - len(one.ids) - 1))
            for event in self._pass(one, target, draft, count):
                yield event
                if event.finish:
                    return
            count = min(count + 2, MOST_PROPOSALS) if self._all_right else max(1, count - 1)

    def _pass(self, one: Writing, target: _Reader, draft: _Reader, count: int) -> list[Event]:
        """Propose `count` tokens, check them all at once, and add those that stand and one of the target."""
        known = len(one.ids)
        proposed: list[int] = []
        guesses: list[Tensor] = []
        for _ in range(count):
            guess = one.chooser.distribution(draft.read([*one.ids, *proposed])[-1])
            proposed.append(one.chooser.draw(guess))
            one.chooser.said(proposed[-1])
            guesses.append(guess)
        for token in proposed:
            one.chooser.unsaid(token)
        logits = target.read([*one.ids, *proposed], count + 1)
        self.passes += 1
        self.proposed += count
        events, right = [], 0
        for i, token in enumerate(proposed):
            wanted = one.chooser.distribution(logits[i])
            if one.chooser.uniform() * float(guesses[i][token]) >= float(wanted[token]):
                token = one.chooser.draw((wanted - guesses[i]).clamp_(min=0))
                one.chooser.said(token)
                events.append(one.add(token, logits[i]))
                break
            right += 1
            one.chooser.said(token)
            events.append(one.add(token, logits[i]))
            if events[-1].finish:
                break
        else:
            events.append(one.add(*_chosen(one, logits[-1])))
        self.accepted += right
        self._all_right = right == count
        # Places that hold refused tokens are written anew.
        target.keep(known + right)
        draft.keep(known + right)
        return events


class _Reader:
    """One text in the cache of one model."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._cache, self._held = engine, engine.cache(), 0

    @torch.inference_mode()
    def read(self, ids: Sequence[int], count: int = 1) -> Tensor:
        """Read the ids that are new, and return the logits after each of the last `count`, [count, V]."""
        while len(ids) - self._held > PROMPT_TOKENS:
            part = ids[self._held : self._held + PROMPT_TOKENS]
            self._engine.hidden(self._cache, 0, [part], [self._held])
            self._held += len(part)
        found = self._engine.read(self._cache, 0, [ids[self._held :]], [self._held], every=count > 1)
        self._held = len(ids)
        return found[0] if count > 1 else found

    def keep(self, count: int) -> None:
        """Forget what was read after the first `count` ids."""
        self._held = min(self._held, count)


def _chosen(one: Writing, logits: Tensor) -> tuple[int, Tensor]:
    return one.chooser.choose(logits), logits
