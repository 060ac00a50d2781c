"""A mel decoder that looks the voice up in its reference.

The public decoder lays reference and target out in one sequence and lets self-attention carry the
voice over; that takes much training. Here every target frame asks the reference directly: the query
is what the target's tokens say around it, the keys are what the reference's tokens say, the values
its mel. Attention has no positions, so content decides; with ``lag``, what lies on the best
monotonic path through the reference is preferred (`monotonic_path`). Where an edit keeps what was
said, the sound of the source is found again; where nothing fits, tokens and speaker vector remain.
Positions that an edit knows beforehand, and its label, condition it (`conditioning`).

It predicts the mel spectrogram itself (by least absolute error in training) and draws no noise: the
"mean" of a flow that has not been trained yet. Same place and same calls as
`CausalMaskedDiffWithXvec`; a documented choice of ``cosyvoice.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.convnext import ConvNeXtBlock, masked
from stepedit_core.models.decoder.flow.model import FlowInput
from stepedit_core.models.decoder.flow.noise import FlowNoise
from stepedit_core.models.decoder.prosody import Prosody, read_prosody
from stepedit_core.models.decoder.recent import Recent
from stepedit_core.models.decoder.reference.attention import ReferenceAttention, RowEmbedding
from stepedit_core.models.decoder.reference.batch import (
    KnownReference,
    MelBatch,
    ReferencedStreamCache,
    mel_statistics,
    padding_mask,
)
from stepedit_core.models.decoder.reference.conditioning import (
    Conditioning,
    EditEmbedding,
    SourceMelCondition,
    label_ids,
    source_frames,
    source_positions,
)
from stepedit_core.models.decoder.reference.monotonic_path import MonotonicPath, PathState

__all__ = ["MelBatch", "ReferencedMelDecoder", "ReferencedStreamCache"]

MEL_CENTRE, MEL_SCALE = -5.0, 3.0
"""Log-mel values are about -11.5 to 2; inside they are brought to about -2 to 2."""
FACTOR = 2
"""Mel frames (20 ms) per token row (40 ms)."""


class ReferencedMelDecoder(nn.Module):
    """Token rows, reference mel and speaker to a mel spectrogram, in one pass."""

    aligned_reference = True
    """The reference's mel must lie on its tokens' time grid exactly."""
    factor = FACTOR

    def __init__(
        self,
        width: int = 192,
        token_blocks: int = 4,
        reference_blocks: int = 2,
        mel_blocks: int = 6,
        heads: int = 4,
        kernel: int = 7,
        expansion: int = 3,
        output_size: int = 80,
        spk_embed_dim: int = 256,
        levels: Sequence[int] = (8, 8, 8, 8),
        lag: int = 0,
        places: bool = False,
        labels: Sequence[str] = (),
        bounds: Mapping[str, Sequence[float]] | None = None,
        labels_again: bool = False,
        unvoiced: Sequence[str] = (),
        prosody: Mapping[str, Mapping[str, Any]] | None = None,
        placed_as: str = "",
        label_weights: Mapping[str, str] | None = None,
    ) -> None:
        """Make the layers.

        Args:
            width: channels.
            token_blocks: blocks over tokens, 25 Hz, shared by target and reference.
            reference_blocks: blocks over the reference's mel, 50 Hz.
            mel_blocks: blocks over the target's frames, 50 Hz; at least 2.
            heads: of the attention.
            kernel: taps of the convolutions.
            expansion: of the blocks.
            output_size: mel bins.
            spk_embed_dim: size of the speaker vector.
            levels: of the semantic quantiser.
            lag: groups (120 ms) after which a place on the path is decided; 0: no path.
            places: whether known positions in the reference are used.
            labels: edits (`Plan.label`) that it is conditioned on.
            bounds: of labels, see `EditEmbedding`.
            labels_again: whether every mel block is conditioned on the label, too.
            unvoiced: labels whose edits are spoken without voice, as a whisper is.
            prosody: of labels, what they usually do to pitch, level and colour; fields of
                `LabelProsody`. The vocoder moves them there as far as the mel has not.
            placed_as: label that stands for those of ``prosody`` and ``unvoiced`` where places are
                known, as what is said there is the source's own and the rest is moved; empty: none.
            label_weights: files with weights of their own for edits of a label, beside the
                decoder's file; what they do not hold is shared.

        Raises:
            ValueError: if a label of ``unvoiced`` or ``prosody`` is not among ``labels``.
        """
        super().__init__()
        self.bins, self.speaker_size = output_size, spk_embed_dim
        for name, given in (("unvoiced", set(unvoiced)), ("placed_as", {placed_as} - {""})):
            if unknown := given - set(labels):
                raise ValueError(f"{name}: {', '.join(sorted(unknown))} is not among the labels")
        self.recent: Recent[Tensor] | None = None
        """The last mel of one utterance, where an engine wants it kept."""
        self.unvoiced_labels = tuple(unvoiced)
        self.label_prosody = read_prosody(prosody, labels)
        self.placed_as = placed_as
        self.label_weights = dict(label_weights or {})
        self.own: Mapping[str, ReferencedMelDecoder] = {}
        """Decoders of single labels, by label; filled by whoever reads the weights."""

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(ConvNeXtBlock(width, kernel, expansion) for _ in range(count))

        self.embed = RowEmbedding(width, levels)
        self.token_blocks = blocks(token_blocks)
        self.token_norm = nn.LayerNorm(width)
        self.parity = nn.Parameter(torch.zeros(FACTOR, width))
        self.mel_in = nn.Linear(output_size, width)
        self.reference_blocks = blocks(reference_blocks)
        self.reference_norm = nn.LayerNorm(width)
        self.copy = ReferenceAttention(width, 1, output_size)
        self.early = ReferenceAttention(width, heads, width)
        self.late = ReferenceAttention(width, heads, width)
        self.early_out = nn.Linear(width, width)
        self.late_out = nn.Linear(width, width)
        self.copy_in = nn.Linear(output_size, width)
        self.voice = nn.Linear(spk_embed_dim + 2 * output_size, width)
        self.conditions = nn.ModuleList(nn.Linear(width, width) for _ in range(mel_blocks))
        self.mel_blocks = blocks(mel_blocks)
        # The names of both are keys of the weights that ship.
        self.walk = MonotonicPath(lag, (1, heads, heads)) if lag else None
        self.told = SourceMelCondition(width, output_size) if places else None
        again = mel_blocks * labels_again
        self.labels = EditEmbedding(labels, width, bounds or {}, again) if labels else None
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * output_size)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.out.weight.dtype

    @property
    def lookahead(self) -> int:
        """Token rows after its own that a frame depends on, rounded up to whole groups."""
        mel = sum(block.reach for block in self.mel_blocks)  # type: ignore[misc]
        rows = sum(block.reach for block in self.token_blocks)  # type: ignore[misc]
        reach = rows + -(-mel // FACTOR) + (0 if self.walk is None else self.walk.lookahead)
        return -(-reach // 3) * 3

    @property
    def edit_labels(self) -> tuple[str, ...]:
        """Labels of edits (``Plan.label``) that the decoder is conditioned on."""
        return () if self.labels is None else self.labels.names

    @property
    def moved_labels(self) -> frozenset[str]:
        """Labels that the decoder carries out by itself, whatever the codes say."""
        return frozenset({*self.unvoiced_labels, *self.label_prosody})

    def unvoiced(self, source_map: SourceMap | None, rows: int, first: int = 0) -> Tensor | None:
        """Return which frames are spoken without voice, bool ``(2 * rows,)``; None: none of them.

        Args:
            source_map: of the answer.
            rows: of the answer that are spoken.
            first: row that they begin at.
        """
        labels = label_ids([source_map], [first + rows], self.unvoiced_labels)
        if labels is None:
            return None
        return (labels[0, first:] > 0).repeat_interleave(FACTOR).to(self.device)

    def prosody(self, source_map: SourceMap | None, rows: int, reference: Tensor) -> Prosody | None:
        """Return what the pitch, level and colour of an answer are moved to; None: nothing.

        Args:
            source_map: of the answer.
            rows: of the answer.
            reference: log mel that it is spoken from, ``(2 * rows of it, bins)``.
        """
        usual = None if source_map is None else self.label_prosody.get(source_map.condition)
        if source_map is None or usual is None:
            return None
        labels = label_ids([source_map], [rows], [source_map.condition])
        assert labels is not None
        frames = (labels[0] > 0).repeat_interleave(FACTOR)
        if not frames.any():
            return None
        positions = source_positions([source_map], [rows])
        places = None if positions is None else source_frames(positions)[0].to(self.device)
        usual = usual.at(source_map.strength)
        return Prosody(usual, frames.to(self.device), reference.t().to(self.device), places)

    # One pass ----------------------------------------------------------------------------

    def _tokens(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Encode rows ``(batch, n, 2)`` to ``(batch, 2 * n, width)``."""
        x = masked(self.embed(rows), mask)
        for block in self.token_blocks:
            x = block(x, mask)
        wide: Tensor = (self.token_norm(x)[:, :, None] + self.parity).flatten(1, 2)
        return wide

    def _look(self, rows: Tensor, lengths: Tensor, mel: Tensor, speaker: Tensor) -> KnownReference:
        """Return what depends on references alone; arguments as of `MelBatch`."""
        mask = padding_mask(rows, lengths)
        wide = None if mask is None else mask.repeat_interleave(FACTOR, 1)
        tokens = self._tokens(rows, mask)
        mel = masked((mel.to(self.dtype) - MEL_CENTRE) / MEL_SCALE, wide)
        seen = masked(tokens + self.mel_in(mel), wide)
        for block in self.reference_blocks:
            seen = block(seen, wide)
        seen = self.reference_norm(seen)
        speaker = F.normalize(speaker.to(self.dtype), dim=1)
        voice = self.voice(torch.cat([speaker, mel_statistics(mel, wide)], dim=1))
        return KnownReference(
            self.copy.remember(tokens, mel, wide),
            self.early.remember(tokens, seen, wide),
            self.late.remember(tokens, seen, wide),
            voice,
            tuple(condition(F.gelu(voice)) for condition in self.conditions),
            wide,
        )

    def forward(self, batch: MelBatch) -> Tensor:
        """Return log-mel spectrograms ``(batch, 2 * n, bins)``; padding is not zeroed."""
        known = self._look(batch.prompt_rows, batch.prompt_lengths, batch.prompt_mel, batch.speaker)
        mask = padding_mask(batch.rows, batch.lengths)
        return self._decode(
            batch.rows, mask, known, None, Conditioning(batch.positions, batch.labels)
        )[0]

    def _decode(
        self,
        rows: Tensor,
        mask: Tensor | None,
        known: KnownReference,
        before: PathState | None,
        given: Conditioning,
    ) -> tuple[Tensor, PathState | None]:
        """Return the mels, and the path, which goes on from that of earlier rows."""
        wide = None if mask is None else mask.repeat_interleave(FACTOR, 1)
        target = self._tokens(rows, mask)
        frames = (
            None if self.told is None or given.positions is None else source_frames(given.positions)
        )
        biases: Sequence[Tensor | None] = (None, None, None)
        path = placed = None
        if self.walk is not None:
            likeness = self.copy.likeness(target, known.copy).detach()
            path = self.walk.search(likeness, wide, known.mask, before)
            biases = self.walk.attention_bias(
                path, likeness.shape[1], likeness.shape[2], wide, frames
            )
        copied = self.copy(target, known.copy, biases[0])
        x = target + self.copy_in(copied)
        found = self.early(target, known.early, biases[1])
        x = x + self.early_out(found) + known.voice[:, None]
        if self.told is not None and frames is not None:
            placed, is_known = self.told.look(frames, known.mel, known.mask)
            x = x + self.told.condition(placed, is_known)
        if self.labels is not None:
            x = self.labels.put_in(x, given.labels)
        x = masked(x, wide)
        for index, block in enumerate(self.mel_blocks):
            if index == len(self.mel_blocks) // 2:
                x = masked(x + self.late_out(self.late(self.norm(x), known.late, biases[2])), wide)
            if self.labels is not None:
                x = self.labels.put_in(x, given.labels, index)
            x = block(x, wide, known.conditions[index])
        x = self.norm(x)
        made, gate = self.out(x).chunk(2, dim=-1)
        # Start near half copying: what is found is right before anything has been learned.
        made = made + torch.sigmoid(gate) * copied
        if self.told is not None and placed is not None:
            made = made + self.told.share(x, placed)
        out: Tensor = made * MEL_SCALE + MEL_CENTRE
        if self.labels is not None and given.labels is not None and placed is not None:
            out = self.labels.bounded(out, given.labels, placed * MEL_SCALE + MEL_CENTRE, is_known)
        return out, path

    # As a flow ---------------------------------------------------------------------------

    def of(self, source_map: SourceMap | None) -> ReferencedMelDecoder:
        """Return the decoder with the weights for an answer: those of its label, or these."""
        return self if source_map is None else self.own.get(source_map.condition, self)

    def compile_solver(self, backend: str) -> None:
        """Compile the whole pass for variable lengths; there is no solver."""
        self.compile(dynamic=True, backend=backend)

    @torch.inference_mode()
    def generate(self, inputs: Sequence[FlowInput], n_steps: int = 0) -> list[Tensor]:
        """Decode utterances in one pass for each set of weights; each equals that of it alone.

        Their noise and ``n_steps`` are not used. Each gives float32 ``(bins, 2 * g)``.
        """
        decoders = [self.of(item.source_map) for item in inputs]
        if any(one is not self for one in decoders):
            found: dict[int, Tensor] = {}
            for decoder in dict.fromkeys(decoders):
                places = [at for at, one in enumerate(decoders) if one is decoder]
                made = decoder.generate([inputs[at] for at in places])
                found.update(zip(places, made, strict=True))
            return [found[at] for at in range(len(inputs))]
        batch = self._batch(inputs)
        if self.recent is None or len(inputs) > 1:
            mels = self(batch).float()
        else:  # how strong a label is moves what comes after, in the vocoder
            mels = self.recent.of(batch.tensors(), lambda: self(batch).float())
        return [mel[: FACTOR * len(item.rows)].t() for mel, item in zip(mels, inputs, strict=True)]

    def _batch(self, inputs: Sequence[FlowInput]) -> MelBatch:
        """Pad and move; an utterance without a reference gets one silent row."""
        device = self.device
        conditioning = self._conditioning(
            [item.source_map for item in inputs], [len(item.rows) for item in inputs]
        )
        return MelBatch(
            pad_sequence([item.rows for item in inputs], batch_first=True).to(device),
            torch.tensor([len(item.rows) for item in inputs], device=device),
            pad_sequence([item.prompt_rows for item in inputs], batch_first=True).to(device),
            torch.tensor([len(item.prompt_rows) for item in inputs], device=device),
            pad_sequence([item.prompt_mel for item in inputs], batch_first=True).to(device),
            torch.stack([item.speaker for item in inputs]).to(device),
            *conditioning,
        )

    def _conditioning(self, maps: Sequence[SourceMap | None], rows: Sequence[int]) -> Conditioning:
        """Return positions and labels of rows, as far as the decoder was trained with them."""
        taught = None if self.labels is None else self.labels.names
        positions = None if self.told is None else source_positions(maps, rows, taught)
        labels = None if taught is None else label_ids(maps, rows, taught)
        if labels is not None and positions is not None and taught and self.placed_as:
            moved = torch.tensor([0, *(name in self.moved_labels for name in taught)]).bool()
            own = moved[labels] & positions.isfinite()
            labels = labels.masked_fill(own, 1 + taught.index(self.placed_as))
        return Conditioning(
            *(None if one is None else one.to(self.device) for one in (positions, labels))
        )

    @torch.inference_mode()
    def open_stream(
        self,
        prompt_rows: Tensor,
        lookahead_rows: Tensor,
        prompt_mel: Tensor,
        speaker: Tensor,
        noise: FlowNoise,
        n_steps: int,
        encoder_limit: int | None,
        source_map: SourceMap | None = None,
    ) -> ReferencedStreamCache:
        """Look at the reference once; arguments as of `CausalMaskedDiffWithXvec.open_stream`."""
        given = (prompt_rows, torch.tensor(len(prompt_rows)), prompt_mel, speaker)
        return ReferencedStreamCache(
            self.of(source_map)._look(*(x[None].to(self.device) for x in given)), source_map
        )

    @torch.inference_mode()
    def generate_chunk(
        self, rows: Tensor, cache: ReferencedStreamCache, noise: FlowNoise, last: bool
    ) -> Tensor:
        """Decode the next chunk of a stream: the frames that decoding the whole would give.

        Arguments as of `CausalMaskedDiffWithXvec.generate_chunk`; ``noise`` is not used.

        Returns:
            float32 ``(bins, 2 * steps)``.
        """
        known = len(cache.past)
        whole = torch.cat([cache.past, rows])
        end = len(whole) if last else len(whole) - self.lookahead
        given = whole[None].to(self.device)
        conditioning = self._conditioning([cache.source_map], [cache.gone + len(whole)])
        mels, path = self.of(cache.source_map)._decode(
            given, None, cache.reference, cache.path, conditioning.after(cache.gone)
        )
        first = max(0, end - self.lookahead)
        cache.past, cache.gone = whole[first:end], cache.gone + first
        cache.path = None if path is None else path.part(first // 3, end // 3)
        return mels[0, FACTOR * known : FACTOR * end].float().t()
