"""The test kit that ships with stepedit: fakes, signals, and the contract that plugins keep."""

from __future__ import annotations

import sys

if "pytest" in sys.modules:
    import pytest

    # Before the import below, so that asserts in subclasses' helpers read well when they fail.
    pytest.register_assert_rewrite("stepedit_core.testing.contract")

from stepedit_core.testing.contract import CheckResult, EditContract, run_contract
from stepedit_core.testing.corpus import contract_corpus
from stepedit_core.testing.fake_engine import FakeEngine
from stepedit_core.testing.fake_measures import FailingMeasures, FakeJudge, FakeMeasures
from stepedit_core.testing.signals import (
    add_noise,
    clipped,
    noise,
    silence,
    speech_like,
    tone,
)
from stepedit_core.testing.subject import ContractFailure, Subject

__all__ = [
    "CheckResult",
    "ContractFailure",
    "EditContract",
    "FailingMeasures",
    "FakeEngine",
    "FakeJudge",
    "FakeMeasures",
    "Subject",
    "add_noise",
    "clipped",
    "contract_corpus",
    "noise",
    "run_contract",
    "silence",
    "speech_like",
    "tone",
]
