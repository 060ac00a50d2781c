"""Have one generation's rows join another's batch, between two steps."""

from __future__ import annotations

import torch

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.models.lm.session import Session

__all__ = ["can_join", "is_time", "join"]


def can_join(session: Session, other: Session) -> bool:
    """Tell whether another generation of the same rules of sampling can ever join a session.

    Both rest between steps. Rows can join where they are held to whole groups and their prompts
    are kept apart from what they say: in float32 and without graphs.
    """
    mine, its = session.decoder, other.decoder
    return (
        mine is not None
        and its is not None
        and mine.joins
        and its.joins
        and session.constraint is not None
        and other.constraint is not None
        and (session.constraint.following is None) == (other.constraint.following is None)
        and session.columns.equal(other.columns)
    )


def is_time(session: Session, other: Session) -> bool:
    """Tell whether both stand at the same place of a group."""
    late = session.done_steps - other.done_steps
    return late >= 0 and late % GROUP_SIZE == 0


@torch.inference_mode()
def join(session: Session, other: Session) -> int:
    """Take in the rows of another generation, which is not to go on by itself.

    Returns:
        What the numbers of its items are raised by.
    """
    assert session.decoder is not None and other.decoder is not None
    assert session.constraint is not None and other.constraint is not None
    for one in (session, other):
        one.compact(len(one.state))
    _forget_first_steps(session)
    mine = torch.arange(len(session.state), device=session.device)
    its = torch.arange(len(other.state), device=session.device)
    if session.against is None:
        order = torch.cat([mine, its + len(mine)])
    else:  # the rows of the second prompts come after all others
        its = its + 2 * len(mine)
        order = torch.cat([mine, its, mine + len(mine), its + len(its)])
    session.decoder.join(other.decoder, order)
    first, late = session.count, session.done_steps - other.done_steps
    session.state = session.state.join(other.state, late, first)
    session.constraint = session.constraint.join(other.constraint)
    session.steps = max(session.steps, late + other.steps)
    session.count += other.count
    session.open_items |= {first + item for item in other.open_items}
    session.dropped |= {first + item for item in other.dropped}
    session.left.update({first + item: given for item, given in other.left.items()})
    if session.plans is not None and other.plans is not None:
        session.plans.update({first + item: plan for item, plan in other.plans.items()})
    return first


def _forget_first_steps(session: Session) -> None:
    """Count steps from where the oldest row began, so that a batch that never ends stays small."""
    gone = int(session.state.begun.min())
    gone -= gone % GROUP_SIZE
    if gone:
        session.state = session.state.without_first(gone)
        session.done_steps -= gone
        session.looked -= gone
        session.steps -= gone
