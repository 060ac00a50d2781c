"""The model card: a template, filled from the model's files, its figures and the runs' logs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import yaml
from safetensors import safe_open

from stepedit_core.atomic import write_atomically
from stepedit_core.config import GenerationPolicy
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.languages import language_name
from stepedit_core.models.checkpoint.hyperyaml import Component, read_hyperyaml
from stepedit_core.models.checkpoint.layout import DECODER_FOLDER, TOKENIZER_NAME, CheckpointFolders
from stepedit_core.models.checkpoint.load import fingerprint
from stepedit_core.models.checkpoint.model_files import (
    FIGURES_FILE,
    ROUTES_FILE,
    Figure,
    RouteTable,
    experimental,
    folder_sampling,
    read_figures,
)
from stepedit_core.models.checkpoint.naming import languages_of
from stepedit_core.models.lm.step1.loading import read_config
from stepedit_core.models.reader import READER
from stepedit_core.models.speaker.ge2e import RESEMBLYZER_FILE
from stepedit_core.models.tokenizer.semantic import GRAPH
from stepedit_train.assembly.facts import (
    PairFacts,
    corpus_facts,
    licences_of,
    machine,
    pair_facts,
    run_facts,
)
from stepedit_train.assembly.settings import AssembleSettings
from stepedit_train.settings import resolve_path

__all__ = [
    "CARD",
    "figure_table",
    "markdown_table",
    "render_card",
    "renew_card",
    "short_table",
    "write_card",
]

CARD = "MODEL_CARD.md"
MARKS = ("<!-- figures of the embedded model -->", "<!-- end of the figures -->")
_KINDS = {
    "ReferencedMelDecoder": "the mel decoder predicts the mel spectrogram itself, without flow "
    "matching, and looks the voice up in the reference by attention",
    "HarmonicNoiseVocoder": "the vocoder sums harmonics and shaped noise",
}

BESIDE = ("original", "dsp", "world", "identity", "target")
KINDS = ("real", "synthetic", "all")
NOT_MEASURED = "The figures of these weights have not been measured yet."


def _state(figures: Sequence[Figure]) -> str:
    """Return in a sentence whether the model is experimental."""
    reason = experimental(figures)
    return f"**Experimental**: {reason}." if reason else "It passes every gate."


def _parameters(path: Path) -> int:
    """Return the number of parameters in a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        count = 1
        for length in shape:
            count *= int(length)
        total += count
    return total


def _classes(folder: Path) -> dict[str, str]:
    """Return the class that the configuration names for flow and vocoder."""
    text = (folder / "cosyvoice.yaml").read_text(encoding="utf-8")
    found = re.findall(r"(?m)^(\w+): !new:(\S+)", text)
    return {key: name.rpartition(".")[2] for key, name in found}


def _label_weights(folder: Path) -> dict[str, str]:
    """Return the files with weights of single labels that a decoder folder names, by label."""
    entry = read_hyperyaml(folder / "cosyvoice.yaml").get("flow")
    given = entry.arguments.get("label_weights") if isinstance(entry, Component) else None
    return dict(given or {})


def _parts(folder: Path) -> str:
    """Return the table of parts: what each is, its parameters and its size."""
    config, _ = read_config(folder)
    decoder, tokenizer = folder / DECODER_FOLDER, folder / TOKENIZER_NAME
    classes = _classes(decoder)
    stack = f"Step1, {config.num_hidden_layers} layers of {config.hidden_size}"
    linguistic = next(tokenizer.glob("**/model.safetensors"))
    encoder = yaml.safe_load((linguistic.parent / "config.yaml").read_text(encoding="utf-8"))
    blocks = encoder["encoder_conf"]["num_blocks"]
    speaker = decoder / RESEMBLYZER_FILE
    rows = [
        ("language model", stack, folder / "model.safetensors"),
        ("linguistic encoder", f"SANM, {blocks} blocks, and k-means", linguistic),
        ("semantic encoder", "ONNX graph, 4096 codes", tokenizer / GRAPH),
        ("mel decoder", classes.get("flow", "flow"), decoder / "flow.safetensors"),
        ("vocoder", classes.get("hift", "vocoder"), decoder / "hift.safetensors"),
        ("speaker encoder", "Resemblyzer (GE2E)", speaker)
        if speaker.is_file()
        else ("speaker encoder", "CAM++", decoder / "campplus.onnx"),
    ]
    policy = GenerationPolicy.model_validate(folder_sampling(folder)[1])
    for name, edits in policy.named_weights().items():
        part = f"language model of {', '.join(sorted(edits))}"
        what = f"{stack}: taught on from it, for these alone"
        rows.insert(1, (part, what, folder / name / "model.safetensors"))
    kind = classes.get("flow", "flow")
    at = 1 + next(n for n, row in enumerate(rows) if row[0] == "mel decoder")
    for label, file in _label_weights(decoder).items():
        what = f"{kind}: taught on from it, for this alone; the rest is shared"
        rows.insert(at, (f"mel decoder of {label}", what, decoder / file))
    if (folder / READER).is_file():
        rows.append(("phone reader", "ConvNeXt blocks over codes", folder / READER))
    cells = [
        (
            name,
            what,
            f"{_parameters(path) / 1e6:.2f} M" if path.suffix == ".safetensors" else "",
            f"{path.stat().st_size / 1e6:.2f} MB",
        )
        for name, what, path in rows
    ]
    return markdown_table(("part", "what it is", "parameters", "stored"), cells)


def _differences(folder: Path) -> str:
    """Return the parts that differ in kind from the public model, as sentences."""
    decoder = folder / DECODER_FOLDER
    classes, config = _classes(decoder), read_config(folder)[0]
    found = [text for name, text in _KINDS.items() if name in classes.values()]
    if (decoder / RESEMBLYZER_FILE).is_file():
        found.insert(0, "the speaker encoder is Resemblyzer's (GE2E) instead of CAM++")
    if getattr(config, "source_alignment", None) is not None:
        found.append(
            "some attention heads of the language model begin with a prior on where in the source "
            "an answer's token comes from, which knows the rate of the edit: speed is in part "
            "given, not learned"
        )
    chosen = (decoder / "cosyvoice.yaml").read_text("utf-8")
    if re.search(r"(?m)^  places: true$", chosen):
        found.append(
            "the mel decoder is told what the engine knows of an edit beside the codes: its name, "
            "and where in the source each moment lies, if the edit goes through it at an even pace "
            "(speed, denoise) or is confined to a part; what is said there is in large part taken "
            "from the source, whatever the language model says"
        )
    if re.search(r"(?m)^  prosody:$", chosen):
        found.append(
            "pitch, level and colour of emotions and styles are moved by the vocoder to what each "
            "label usually does, as studies have it: given, not learned"
        )
    return "; ".join(found) or "none"


def _data(settings: AssembleSettings) -> tuple[str, str]:
    """Return the tables of recordings and pairs, and the licences in words."""
    if not settings.caches:
        return "Not stated.", "not stated"
    corpora = corpus_facts(resolve_path(settings, path) for path in settings.caches)
    rows = [
        (c.name, ", ".join(c.licences), str(c.speakers), *map(_hours, (c.hours, c.dev_hours)))
        for c in corpora
    ]
    sums = sum(c.hours for c in corpora), sum(c.dev_hours for c in corpora)
    rows.append(("together", "", "", *map(_hours, sums)))
    text = markdown_table(("corpus", "licence", "speakers", "trained on, h", "validation, h"), rows)
    unseen = sum(c.test_hours for c in corpora)
    text += f"\n\n{_hours(unseen)} h of other speakers were kept for tests and never trained on."
    pairs = pair_facts(resolve_path(settings, path) for path in settings.pairs)
    pairs += [PairFacts(known.name, known.rows, known.hours) for known in settings.known_pairs]
    if pairs:
        table = [(p.name, str(p.pairs), _hours(p.hours)) for p in pairs]
        text += "\n\n" + markdown_table(("pairs of", "rows", "source and target, h"), table)
    return text, ", ".join(licences_of(corpora))


def _hours(hours: float) -> str:
    return f"{hours:.2f}"


def _training(settings: AssembleSettings) -> str:
    """Return the table of runs."""
    rows, total = [], 0.0
    for run in settings.runs:
        facts = run_facts(resolve_path(settings, run.folder), run.threads)
        hours = facts.core_hours if run.core_hours is None else run.core_hours
        spent = "not logged" if hours is None else f"{hours:.2f}"
        total += hours or 0.0
        steps = facts.steps if run.steps is None else run.steps
        rows.append((run.name, f"{steps:,}", spent))
    if not rows:
        return "Not stated."
    rows.append(("together", "", f"{total:.2f}"))
    return markdown_table(("run", "steps", "core-hours"), rows)


def _routes(folder: Path) -> str:
    """Return which route ``auto`` takes for which edit."""
    routes = RouteTable.load(folder).routes
    if not routes:
        return "There is no table of routes yet: `auto` takes the llm route wherever there is one."
    rows = [(f"`{name}`", route) for name, route in sorted(routes.items())]
    return markdown_table(("edit", "better route"), rows)


def _template() -> str:
    """Return the card with places to be filled in."""
    return files("stepedit_train.assembly").joinpath("card.md").read_text(encoding="utf-8")


def _measured_parts(folder: Path) -> dict[str, str]:
    """Return what a benchmark decides of a card: state, figures and routes."""
    figures = read_figures(folder)
    return {
        "state": _state(figures),
        "figures": figure_table(figures),
        "routes": _routes(folder),
    }


def renew_card(folder: Path) -> str:
    """Return the card of an engine folder with state, figures and routes as they are now.

    Raises:
        StepeditError: if the card lacks their places.
    """
    path = folder / CARD
    card, template, found = path.read_text(encoding="utf-8"), _template(), _measured_parts(folder)
    state = re.compile(r"(\*\*Experimental\*\*: [^\n]*|It passes every gate)\.\n\nTogether ")
    places = [(state, f"{found['state']}\n\nTogether ")]
    for heading in ("Figures", "Routes"):
        section = re.compile(rf"(?ms)^## {heading}\n.*?(?=^## )")
        place = section.search(template)
        assert place is not None
        places.append((section, Template(place.group()).substitute(found)))
    for pattern, text in places:
        if len(pattern.findall(card)) != 1:
            raise StepeditError(f"{path}: has no place for the figures; leave out keep_card")
        card = pattern.sub(lambda _, text=text: text, card)  # type: ignore[misc]
    return card


def render_card(settings: AssembleSettings, folder: Path) -> str:
    """Return the card of an engine folder as Markdown."""
    data, licences = _data(settings)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Template(_template()).substitute(
        _measured_parts(folder),
        name=settings.name,
        size=f"{size / 1e6:.1f} MB",
        parts=_parts(folder),
        differences=_differences(folder),
        languages=", ".join(map(language_name, languages_of(folder) or ())) or "not said",
        data=data,
        licences=licences,
        training=_training(settings),
        machine=settings.machine or machine(),
        notes="\n\n".join(settings.notes),
    )


def write_card(settings: AssembleSettings, folder: Path) -> Iterator[str]:
    """Copy figures and routes into an engine folder, write its card and the README's table.

    Both are copied for the weights alone that they say they were measured with.

    Raises:
        StepeditError: if a named file is damaged, or the README has no place for the table.
    """
    for given, name in ((settings.figures, FIGURES_FILE), (settings.routes, ROUTES_FILE)):
        if given is not None:
            yield from _copy(resolve_path(settings, given), folder / name)
    figures = read_figures(folder)
    card = renew_card(folder) if settings.keep_card else render_card(settings, folder)
    write_atomically(folder / CARD, card)
    if settings.readme is not None:
        readme = resolve_path(settings, settings.readme)
        _fill_readme(readme, f"{_state(figures)}\n\n{short_table(figures)}")
        yield f"wrote the figures into {readme}"


def _copy(source: Path, target: Path) -> Iterator[str]:
    """Copy what was measured, unless it is not there or of other weights: say which."""
    if not source.is_file():
        yield f"{source} is not there yet; the model goes without {target.name}"
        return
    folder = target.parent
    places = CheckpointFolders(folder, folder / DECODER_FOLDER, folder / TOKENIZER_NAME)
    try:
        measured = json.loads(source.read_text(encoding="utf-8"))["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise StepeditError(f"{source} does not say which model it is of") from error
    if measured == fingerprint(places):
        if source != target:
            shutil.copyfile(source, target)
        return
    target.unlink(missing_ok=True)
    yield (
        f"{source} is of other weights ({measured}); the model goes without {target.name}: "
        "measure it, then run the card stage"
    )


def _fill_readme(path: Path, text: str) -> None:
    """Replace what lies between the marks of a file.

    Raises:
        StepeditError: if the marks are not there, once each and in order.
    """
    content = path.read_text(encoding="utf-8")
    begin, end = MARKS
    if content.count(begin) != 1 or content.count(end) != 1:
        raise StepeditError(f"{path} needs the marks {begin} and {end}, once each")
    before, rest = content.split(begin)
    _, after = rest.split(end)
    write_atomically(path, f"{before}{begin}\n{text}\n{end}{after}")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _measured(figure: Figure) -> str:
    """Return value, interval and number of cases."""
    if figure.value is None:
        return "not measured"
    between = "" if figure.low is None else f" [{_value(figure.low)}, {_value(figure.high)}]"
    return f"{_value(figure.value)}{between}" + (f" n={figure.n}" if figure.n else "")


def _verdict(figures: Sequence[Figure]) -> str:
    """Return the verdict on the figures of one name."""
    if any(figure.passes is None for figure in figures):
        return "reported only"
    if not all(figure.passes for figure in figures):
        return "**missed**"
    return "goal" if all(figure.reaches_goal for figure in figures) else "gate"


def figure_table(figures: Sequence[Figure]) -> str:
    """Return a Markdown table of figures by kind of speech, with what was measured beside."""
    if not figures:
        return NOT_MEASURED
    beside = [name for name in BESIDE if any(name in figure.beside for figure in figures)]
    heads = ("figure", "speech", "value", "gate", "goal", "met", *beside)
    rows = [
        (
            f"{figure.name} ({figure.unit})" if figure.unit else figure.name,
            figure.kind,
            _measured(figure),
            _value(figure.gate),
            _value(figure.goal),
            _verdict([figure]),
            *(_value(figure.beside.get(name)) for name in beside),
        )
        for figure in figures
    ]
    return markdown_table(heads, rows)


def short_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table with one row for each, for a README.

    Real and synthetic speech have a column each; of longer recordings all of it has one for each
    stratum. A gate is met where it is met in each row of the figure.
    """
    if not figures:
        return NOT_MEASURED
    named: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        named.setdefault(figure.name, {})[figure.kind] = figure
    longer = [kind for kind in dict.fromkeys(one.kind for one in figures) if _is_longer(kind)]
    columns = (*KINDS, *longer)
    rows = []
    for name, by_kind in named.items():
        values = [_measured(by_kind[kind]) if kind in by_kind else "" for kind in columns]
        first = next(iter(by_kind.values()))
        unit = f" ({first.unit})" if first.unit else ""
        parted = [figure for kind, figure in by_kind.items() if not kind.startswith("all")]
        verdict = _verdict(parted or list(by_kind.values()))
        rows.append((f"{name}{unit}", *values, _value(first.gate), _value(first.goal), verdict))
    return markdown_table(("figure", *columns, "gate", "goal", "met"), rows)


def _is_longer(kind: str) -> bool:
    """Return whether a kind is all speech of a stratum of longer recordings."""
    return kind.startswith("all, ")
