#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Draws the state diagram of a conflict: docs/conflict_states.svg. The same script gives the same bytes."""
import pathlib

from retry_diagrams import draw

STATES = [
    ("parked", 0, 0, "a rule or a guard asks"), ("open", 1, 0, "waits for a person"),
    ("decided", 2, 0, "its mutation is sent"), ("forgotten", 3, 0, "past its retention"),
]
MOVES = [
    ("*", "parked", "", 0), ("parked", "open", "raise", 0), ("open", "decided", "resolve", -46),
    ("decided", "open", "undo (redo: back)", -46), ("decided", "forgotten", "forget", 0),
]
LABEL = "A conflict: open until it is decided; a new remote renews it; a decision can be undone and done again"
(pathlib.Path(__file__).parent / "conflict_states.svg").write_text(draw(LABEL, STATES, MOVES))
