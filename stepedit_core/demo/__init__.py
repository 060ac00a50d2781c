"""The demo: a packaged recording through a chain, as WAVs and a page to look at and listen to."""

from __future__ import annotations

from stepedit_core.demo.page import render_page
from stepedit_core.demo.running import Column, Demo, Planned, Take, load_demo, run_demo

__all__ = ["Column", "Demo", "Planned", "Take", "load_demo", "render_page", "run_demo"]
