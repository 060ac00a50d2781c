"""The command ``stepedit pairs-settings``."""

from __future__ import annotations

import click

__all__ = ["pairs_settings"]


@click.command("pairs-settings", short_help="List the settings of a pair builder.")
@click.argument("edit")
@click.option("--builder", help="Plugin whose builder to ask, where several bring one.")
def pairs_settings(edit: str, builder: str | None) -> None:
    """List the settings of EDIT's pair builder, and the margin scorers and corpus layouts."""
    from stepedit_core.registry.registry import get_registry

    registry = get_registry()
    chosen = registry.pair_builder(registry.edit_class(edit), builder)
    summary = (type(chosen).__doc__ or "").strip().split("\n")[0]
    click.echo(f"{type(chosen).__name__} version {chosen.version}: {summary}")
    click.echo(f"least margin {chosen.min_margin:g}, from {chosen.default_margin or 'the builder'}")
    for name, text in chosen.options.items():
        click.echo(f"  --set {name}=...  {text}")
    scorers = registry.named("stepedit_margin_scorers", lambda scorer: str(scorer.name))
    for name, scorer in scorers.items():
        click.echo(f"  --margin {name}  {scorer.validation}")
    layouts = registry.named("stepedit_corpora", lambda reader: str(reader.name))
    click.echo(f"  --layout  {', '.join(layouts)}")
