"""Methods of an engine that edit: what one gets by being a speech engine."""

from __future__ import annotations

from collections.abc import Sequence

from stepedit_core.edit import Edit, Outcome
from stepedit_core.engine import Latent, SpeechEngine
from stepedit_core.llm_route.carrying_out import apply_by_llm, reconstructed
from stepedit_core.utterance import Utterance

__all__ = ["Editing"]


class Editing:
    """Methods that an engine gets by inheriting; they need nothing but ``SpeechEngine``."""

    def edit(
        self: SpeechEngine,
        utterances: Utterance | Sequence[Utterance],
        edit: Edit | Sequence[Edit],
        *,
        seed: int = 0,
        latents: Sequence[Latent | None] | None = None,
    ) -> list[Outcome]:
        """Carry out edits by the llm route, one or many in one batch.

        Args:
            utterances: what to edit.
            edit: one edit for all utterances, or one for each.
            seed: item ``i`` is drawn from ``seed + i``.
            latents: ``Outcome.latent`` of edits that made the utterances, to go on from these
                instead of encoding the sound again; one for each utterance, or None.

        Raises:
            RouteError: if an edit has no prompt, or lacks the transcript that it needs.
        """
        speech = [utterances] if isinstance(utterances, Utterance) else list(utterances)
        edits = [edit] * len(speech) if isinstance(edit, Edit) else list(edit)
        seeds = [seed + place for place in range(len(speech))]
        return apply_by_llm(edits, speech, self, seeds, latents=latents, keep_latent=True)

    def reconstruct(
        self: SpeechEngine, utterances: Utterance | Sequence[Utterance], *, seed: int = 0
    ) -> list[Utterance]:
        """Return utterances encoded and decoded again, each in its own voice: the identity edit.

        What an edit by the llm route does to speech is to be judged against this. The language
        model takes no part in it. Silence that the tokenizer cuts off both ends is put back, as
        silence: each output lasts as long as what it was made of.

        Args:
            utterances: what to take there and back.
            seed: item ``i`` is decoded with ``seed + i``.

        Raises:
            AudioError: if an utterance is empty or too short.
        """
        speech = [utterances] if isinstance(utterances, Utterance) else list(utterances)
        seeds = [seed + place for place in range(len(speech))]
        return reconstructed(self, speech, seeds)
