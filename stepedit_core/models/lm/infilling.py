"""Say other words in the middle of a recording by the autoregressive model as it is.

The answer of a clone prompt, whose speaker is the recording itself, is forced along the
recording's own codes up to the words that change. The new words are drawn freely, many times and
at several lengths, and the draw is kept after which the model most likely goes on with the
recording's next codes, and whose words the phone reader hears best. The prompt and the forced codes
are read once for all draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, LINGUISTIC_SIZE, DualCodes
from stepedit_core.engine import Infilled, InfillRequest
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.lm.chat import hide_words
from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.lm.framing import Rules, aligned_prompt, sampling_of
from stepedit_core.models.lm.guidance import guided
from stepedit_core.models.lm.sampling import Sampling, noise_keys, pick, repeated_id, without_column
from stepedit_core.models.lm.step1.alignment import Alignment, alignment_tensor
from stepedit_core.models.lm.step1.decoding import Decoder
from stepedit_core.models.lm.step1.heads import audio_head

__all__ = ["infill", "infill_steps", "position_prior"]


DRAWS = 12
"""Draws for each length."""
LENGTHS = (-2, -1, 0, 1, 2)
"""Lengths that are tried around the expected one, in groups of 120 ms."""
REJOINED = 6
"""Groups of the recording whose likelihood after a draw is scored."""
# Weights of the choice, found by replacing words by themselves: reader against rejoin, and the
# cost of a squared group of length.
READER, LENGTH = 3.0, 1.5
HANDED_ON, OF_ONE_LENGTH = 16, 5
"""Draws that are handed on to be listened to, and how many of them may have the same length."""
_LEAST_APART = 0.5
"""Word times nearer than this, in groups, are one knot of the position prior."""


@dataclass(frozen=True)
class _Draw:
    """One draw and how likely it is what was asked for."""

    codes: DualCodes
    length: int
    rejoin: float
    reading: float

    def score(self, expected: float) -> float:
        """Return the sum that draws are compared by."""
        return self.rejoin + READER * self.reading - LENGTH * (self.length - expected) ** 2


def infill(parts: EngineParts, rules: Rules, request: InfillRequest) -> Infilled:
    """Return the codes of a recording with other words in one place, and further draws.

    Args:
        parts: of the engine.
        rules: how codes are drawn.
        request: what is asked.

    Raises:
        BudgetError: if prompt and answer do not fit the context.
    """
    steps = infill_steps(parts, rules, request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Infilled = end.value
            return made


def infill_steps(
    parts: EngineParts, rules: Rules, request: InfillRequest
) -> Generator[None, None, Infilled]:
    """Do what ``infill`` does, and yield where others may work meanwhile: after each step."""
    parts = dataclasses.replace(parts, model=parts.network(rules.policy.weights))
    lengths = sorted({max(1, round(request.expected) + more) for more in LENGTHS})
    sampling = sampling_of(rules.sampling)
    drawn = yield from _draw(parts, sampling, request, lengths, rules.sampling.max_length)
    first, *others = (_handed_on(draw, request, len(drawn)) for draw in _ranked(drawn, request))
    return dataclasses.replace(first, others=tuple(others))


def _ranked(drawn: Sequence[_Draw], request: InfillRequest) -> list[_Draw]:
    """Return the best draws, better ones first, no two alike and not all of one length."""
    best = sorted(drawn, key=lambda draw: draw.score(request.expected), reverse=True)
    kept: list[_Draw] = []
    for draw in best:
        alike = sum(draw.length == other.length for other in kept)
        if alike < OF_ONE_LENGTH and all(draw.codes != other.codes for other in kept):
            kept.append(draw)
    return kept[:HANDED_ON]


def _handed_on(draw: _Draw, request: InfillRequest, draws: int) -> Infilled:
    """Return a draw as the caller gets it."""
    return Infilled(
        draw.codes,
        draw.length,
        {
            "draws": draws,
            "length_groups": draw.length,
            "expected_groups": round(request.expected, 2),
            "rejoin": round(draw.rejoin, 2),
            "reading": round(draw.reading, 2),
        },
    )


def position_prior(
    request: InfillRequest, span: tuple[int, int], answer: int, length: int, slots: Sequence[float]
) -> Alignment:
    """Return where the answer is expected to stand in the words to say.

    Knots lie at the beginnings of words: those before the change where the recording has them,
    those after it shifted by the change of length, new words spread over the draw.

    Args:
        request: with the groups at which words begin.
        span: slots of the words in the prompt.
        answer: slot of the first answer token.
        length: of the draw, in groups.
        slots: place of each word's first letter within the span, 0..1.
    """
    width = span[1] - span[0]
    shift = length - (request.stop - request.start)
    knots: list[tuple[float, float]] = [(0.0, 0.0)]
    for word, slot in zip(request.words_at, slots, strict=True):
        if word.groups is not None:
            at = word.groups + (shift if word.is_after else 0)
        else:
            at = request.start + word.share * length
        if at - knots[-1][0] >= _LEAST_APART and width * slot > knots[-1][1]:
            knots.append((at, width * slot))
    end = request.codes.groups + shift
    knots.append((max(end, knots[-1][0] + _LEAST_APART), float(width)))
    rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(knots)]
    bends = [(knots[0][0], rates[0])]
    bends += [(knot[0], b - a) for knot, (a, b) in zip(knots[1:], pairwise(rates), strict=False)]
    return Alignment(span[0], span[1], answer, "text", tuple(bends))


@torch.inference_mode()
def _draw(
    parts: EngineParts,
    sampling: Sampling,
    request: InfillRequest,
    lengths: Sequence[int],
    max_length: int,
) -> Generator[None, None, list[_Draw]]:
    """Return all draws of all lengths."""
    prompt = aligned_prompt(request.as_generation(), parts.text, parts.encoding)
    parts.budget(len(prompt.ids) + GROUP_SIZE * (request.codes.groups + max(lengths)), max_length)
    base = parts.layout.audio_base
    before = request.codes.slice_groups(0, request.start)
    forced = [base + int(token) for token in before.interleave()]
    rows = [prompt.ids + forced]
    if sampling.guided:
        rows.append(hide_words(prompt.ids, parts.text) + forced)
    priors = None
    if parts.model.config.source_alignment is not None:
        span = (prompt.alignment.start, prompt.alignment.stop)
        slots = _slots(parts, request.text, [word.letter for word in request.words_at])
        priors = [
            position_prior(request, span, len(prompt.ids), length, slots) for length in lengths
        ]
    decoder, logits = _read_once(parts, rows, priors, len(lengths))
    yield
    tokens = yield from _generate(parts, sampling, request.seed, decoder, logits, lengths, rows[0])
    found = []
    for place, length in enumerate(lengths):
        own = slice(place * DRAWS, (place + 1) * DRAWS)
        part = tokens[own, : GROUP_SIZE * length]
        rejoins = _rejoin(parts, request, decoder, part, own, len(rows[0]))
        for drawn, rejoin in zip(part.tolist(), rejoins, strict=True):
            yield
            codes = _spliced(request, drawn)
            found.append(_Draw(codes, length, rejoin, _reading(parts, codes, request.text)))
    return found


def _slots(parts: EngineParts, text: str, letters: Sequence[int]) -> list[float]:
    """Return how much of a text's ids comes before each letter, 0..1."""
    total = max(1, len(parts.text.encode(text)))
    return [min(1.0, len(parts.text.encode(text[:letter])) / total) if letter else 0.0
            for letter in letters]  # fmt: skip


def _read_once(
    parts: EngineParts,
    rows: Sequence[list[int]],
    priors: Sequence[Alignment] | None,
    lengths: int,
) -> tuple[Decoder, Tensor]:
    """Read prompt and forced codes once; return a decoder of all draws, and the logits.

    What stands before the change is the same for all lengths, so that one pass is enough.
    """
    model = parts.model
    head = audio_head(model, parts.layout.audio_base, CODE_COUNT, parts.layout.eot)
    device = model.model.embed_tokens.weight.device
    ids = torch.tensor(rows, device=device)
    decoder = Decoder(model, len(rows), ids.shape[1], head)
    record = None
    if priors is not None:
        record = alignment_tensor([priors[len(priors) // 2]] * len(rows)).to(device)
    logits = decoder.prefill(ids, None, record)
    draws = DRAWS * lengths
    owners = torch.arange(len(rows), device=device).repeat_interleave(draws)
    each = None
    if priors is not None:
        placed = [prior for prior in priors for _ in range(DRAWS)]
        each = alignment_tensor(placed * len(rows)).to(device)
    decoder.fork(owners, 256, each)
    return decoder, logits[owners]


def _generate(
    parts: EngineParts,
    sampling: Sampling,
    seed: int,
    decoder: Decoder,
    logits: Tensor,
    lengths: Sequence[int],
    row: Sequence[int],
) -> Generator[None, None, Tensor]:
    """Return audio tokens, int64 ``(draws, 5 * longest)``; shorter draws have some to spare."""
    draws, steps = DRAWS * len(lengths), GROUP_SIZE * max(lengths)
    seeds = [
        int(np.random.SeedSequence(abs(seed), spawn_key=(n,)).generate_state(1, np.uint32)[0])
        for n in range(draws)
    ]
    keys = noise_keys(seeds, steps).to(logits.device)
    base, window = parts.layout.audio_base, max(1, sampling.repetition_window)
    recent = torch.tensor([([-1] * window + list(row))[-window:]] * draws, device=logits.device)
    out = torch.zeros(draws, steps, dtype=torch.int64, device=logits.device)
    for step in range(steps):
        scores = guided(logits, sampling.guidance) if sampling.guided else logits.float()
        scores = scores.masked_fill(~_allowed(step, scores.device), -torch.inf)
        if sampling.repetition_window:
            banned = repeated_id(recent, sampling.repetition_count) - base
            scores = without_column(scores, banned, CODE_COUNT)
        token = pick(scores, sampling, keys[:, step])
        out[:, step] = token
        recent = torch.cat([recent, (token + base)[:, None]], dim=1)[:, -window:]
        if step + 1 < steps:
            fed = (token + base)[:, None]
            logits = decoder.step(torch.cat([fed, fed]) if sampling.guided else fed)
        yield
    return out


def _allowed(step: int, device: torch.device) -> Tensor:
    """Return the columns that a step's phase allows, bool ``(codes + end of turn,)``."""
    column = torch.arange(CODE_COUNT + 1, device=device)
    if step % GROUP_SIZE < LINGUISTIC_PER_GROUP:
        return column < LINGUISTIC_SIZE
    return (column >= LINGUISTIC_SIZE) & (column < CODE_COUNT)


def _rejoin(
    parts: EngineParts,
    request: InfillRequest,
    decoder: Decoder,
    tokens: Tensor,
    own: slice,
    start: int,
) -> list[float]:
    """Return the log probability of the recording's next codes after each draw.

    Where the change reaches the end, it is that of the end of the turn.
    """
    rest = request.codes.slice_groups(
        request.stop, min(request.codes.groups, request.stop + REJOINED)
    ).interleave()
    base, ends = parts.layout.audio_base, len(rest) < GROUP_SIZE * REJOINED
    wanted = [*map(int, rest), *([CODE_COUNT] if ends else [])]
    count, length = tokens.shape
    at = start + length - 1
    again = decoder.select(torch.arange(own.start, own.stop, device=tokens.device), at)
    following = torch.tensor([wanted[:-1]] * count, dtype=torch.int64, device=tokens.device)
    fed = torch.cat([tokens[:, -1:], following], dim=1) + base
    hidden = again.hidden(fed)
    total = torch.zeros(count)
    for step, token in enumerate(wanted):
        scores = decoder.head(hidden[:, step]).float()
        allowed = _allowed(step, scores.device)
        if step % GROUP_SIZE == 0:
            allowed = allowed | (torch.arange(CODE_COUNT + 1, device=scores.device) == CODE_COUNT)
        scores = scores.masked_fill(~allowed, -torch.inf).log_softmax(-1)
        total += scores[:, token].cpu()
    return [float(value) for value in total]


def _spliced(request: InfillRequest, drawn: Sequence[int]) -> DualCodes:
    """Return the recording's codes with a draw in place of what goes."""
    new = DualCodes.from_interleaved(list(drawn))
    pieces = [
        request.codes.slice_groups(0, request.start),
        new,
        request.codes.slice_groups(request.stop, request.codes.groups),
    ]
    streams: list[npt.NDArray[np.int64]] = [
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("linguistic", "semantic")
    ]
    return DualCodes(streams[0], streams[1], request.codes.start)


def _reading(parts: EngineParts, codes: DualCodes, text: str) -> float:
    """Return the total log probability of the words' phones; 0 where nobody can read them."""
    if parts.reader is None or not parts.reader.reads(text):
        return 0.0
    score = parts.reader.score(codes, text)
    phones = parts.reader.count(text)
    return -1e4 if score is None or not np.isfinite(score) else score * phones
