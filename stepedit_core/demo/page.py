"""The demo's page: one self-contained HTML file with players, pictures and what was done."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
import soundfile as sf

from stepedit_core.demo.picture import frequency_place, spectrogram_png, waveform_path
from stepedit_core.demo.running import Column, Demo, Planned, Take
from stepedit_core.utterance import Utterance

__all__ = ["level_db", "render_page"]

_WIDE, _NARROW = 1080, 560
_WAVE_HEIGHT, _PICTURE_HEIGHT = 44, 150


def level_db(utterance: Utterance) -> float:
    """Return the root-mean-square level in dB relative to full scale."""
    power = float(np.mean(utterance.samples.astype(np.float64) ** 2)) if utterance.seconds else 0.0
    return 10 * float(np.log10(power + 1e-12))


def _wav(utterance: Utterance) -> bytes:
    """Return the utterance as a 16-bit WAV file."""
    file = io.BytesIO()
    sf.write(file, utterance.samples, utterance.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    """Return content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _player(utterance: Utterance, longest: float, width: int) -> str:
    """Return waveform, spectrogram, time axis and player; ``longest`` fills the whole width."""
    share = 100 * utterance.seconds / longest
    pixels = max(16, round(width * utterance.seconds / longest))
    png = spectrogram_png(utterance, width=pixels, height=_PICTURE_HEIGHT)
    path = waveform_path(utterance, width=pixels, height=_WAVE_HEIGHT)
    ticks = "".join(
        f'<span style="left:{100 * second / longest:.2f}%">{second} s</span>'
        for second in range(int(utterance.seconds) + 1)
    )
    pitches = "".join(
        f'<span class="pitch" style="bottom:{frequency_place(hertz) * _PICTURE_HEIGHT:.0f}px">'
        f"{label}</span>"
        for hertz, label in ((300, "300 Hz"), (1000, "1 kHz"), (4000, "4 kHz"))
    )
    return (
        f'<div data-audio><div class="picture" data-width="{share:.3f}" '
        f'data-seconds="{utterance.seconds:.4f}">'
        f'<svg class="wave" viewBox="0 0 {pixels} {_WAVE_HEIGHT}" preserveAspectRatio="none" '
        f'style="width:{share:.3f}%;height:{_WAVE_HEIGHT}px" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
        f'<img src="{_data_uri("image/png", png)}" alt="spectrogram, 60 Hz to 8 kHz" '
        f'style="width:{share:.3f}%;height:{_PICTURE_HEIGHT}px">{pitches}'
        '<div class="head"></div></div>'
        f'<div class="axis">{ticks}</div>'
        f'<audio controls preload="metadata" src="{_data_uri("audio/wav", _wav(utterance))}">'
        "</audio></div>"
    )


def _details(take: Take) -> str:
    """Return a route's report as a folded section."""
    if take.step is None:
        return ""
    facts = json.dumps(dict(take.step.details), ensure_ascii=False, indent=2)
    plugin = take.step.plugin
    origin = f"plugin {plugin.name}, {plugin.distribution} {plugin.version}"
    return (
        f"<details><summary>What the route reports; {escape(origin)}</summary>"
        f"<pre>{escape(facts)}</pre></details>"
    )


def _take_html(take: Take, longest: float, width: int) -> str:
    """Return the result of one route of a step as HTML."""
    engine = f"engine {escape(take.engine)}, " if take.engine else ""
    before, after = take.before, take.utterance
    return (
        f'<div class="run"><p><span class="badge {take.way}">{take.way}</span>'
        f'<span class="meta">{engine}{before.seconds:.2f} s to {after.seconds:.2f} s, '
        f"{level_db(before):.1f} to {level_db(after):.1f} dB, computed in "
        f"{take.seconds:.2f} s</span></p>"
        f"{_player(take.utterance, longest, width)}{_details(take)}</div>"
    )


def _card(planned: Planned, columns: Sequence[Column], longest: float, width: int) -> str:
    """Return the card of one step, a column for each way."""
    cells = []
    for column in columns:
        take = column.takes.get(planned.title)
        if take is not None:
            cells.append(_take_html(take, longest, width))
            continue
        reason = escape(column.problems.get(planned.title, "not run"))
        heading = f"{escape(column.title)}: " if len(columns) > 1 else ""
        cells.append(f'<div class="run"><p class="problem">{heading}{reason}</p></div>')
    return (
        f'<section class="card"><header><span class="number">{planned.number}</span>'
        f"<h2>{escape(planned.title)}</h2><code>{escape(str(planned.edit))}</code></header>"
        f'<p class="listen">{escape(planned.listen)}</p>'
        f'<div class="columns">{"".join(cells)}</div></section>'
    )


def _table(demo: Demo, columns: Sequence[Column]) -> str:
    """Return the summary of all takes, step by step."""
    rows = []
    found = [column.takes.get(planned.title) for planned in demo.steps for column in columns]
    for take in (take for take in found if take is not None):
        cells = (
            escape(take.planned.title),
            f"<code>{escape(str(take.planned.edit))}</code>",
            f"{take.way}{' / ' + escape(take.engine) if take.engine else ''}",
        )
        figures = (
            f"{take.before.seconds:.2f} s → {take.utterance.seconds:.2f} s",
            f"{level_db(take.utterance):.1f} dB",
            f"{take.seconds:.2f} s",
        )
        text = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(text + "".join(f'<td class="figure">{cell}</td>' for cell in figures))
    headings = ("step", "edit", "by", "length", "level", "time")
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _source_card(demo: Demo, longest: float, width: int) -> str:
    """Return the card of the recording that goes in."""
    about = demo.recording
    return (
        '<section class="card"><header><span class="number">0</span><h2>What goes in</h2></header>'
        f'<p class="words">“{escape(about.transcript)}”</p>'
        f'<p class="listen">{escape(about.credit)}; licence: {escape(about.licence)}. '
        f"To this recording, {escape(demo.added)}, for the first steps to take away.</p>"
        f"{_player(demo.source, longest, width)}</section>"
    )


def render_page(
    demo: Demo, columns: Sequence[Column], version: str, *, seed: int = 0, notes: Sequence[str] = ()
) -> str:
    """Return the page as HTML text; audio and pictures are inside it.

    Args:
        demo: what was planned.
        columns: the ways to show beside each other.
        version: version of stepedit, for the foot of the page.
        seed: that it was made with.
        notes: what is to be said of the engine above everything else.
    """
    takes = [take for column in columns for take in column.takes.values()]
    longest = max(u.seconds for u in (demo.source, *(take.utterance for take in takes)))
    width = _WIDE if len(columns) == 1 else _NARROW
    cards = [_source_card(demo, longest, _WIDE)]
    cards += [_card(planned, columns, longest, width) for planned in demo.steps]
    left_out = "".join(f"<br>Left out: {escape(text)}" for text in demo.left_out)
    page = files("stepedit_core.demo").joinpath("page.html").read_text(encoding="utf-8")
    return Template(page).substitute(
        page_width=_WIDE + 80 if len(columns) == 1 else len(columns) * _NARROW + 120,
        columns=len(columns),
        count=len(demo.steps),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        cards="".join(cards),
        table=_table(demo, columns),
        footer=f"Made by stepedit {escape(version)}, seed {seed}.{left_out}",
    )
