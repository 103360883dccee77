"""Random programs with operations: each backend does what the model allows, and what others do.

NETCORE_TEST_EXAMPLES says how many programs to try, other ones each time; by default it is a few,
always the same.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from completion_model import KINDS
from completion_steps import EVENTS
from completion_world import World
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import netcore
from netcore import EDGE, EVENT_HANGUP, EVENT_READ, EVENT_WRITE, ONESHOT

BACKENDS = netcore.available_backends()
if "epoll" in BACKENDS:
    BACKENDS.append("stacked:Stacked")
LONG = int(os.environ.get("NETCORE_TEST_EXAMPLES", "0"))

SIZES = (1, 10, 1000, 5000, 70000, 300000)
TIMEOUTS = (None, None, None, None, 0, 0.0005, 0.003, 30)
MASKS = (
    *(EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE, 0, EVENT_READ | EVENT_HANGUP),
    *(EVENT_READ | ONESHOT, EVENT_READ | EVENT_WRITE | ONESHOT, EVENT_READ | EDGE),
)

SOME = st.integers(0, 7)


#: What is left of a buffer after all the small ones still has room for them, the huge one has not.
SMALL, HUGE = (1, 10, 300), 1_000_000
#: Steps that have one outcome, if the program settles after each.
STEPS = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(list(KINDS))),
    st.tuples(
        *(st.just("submit"), SOME, SOME, st.sampled_from((*SMALL, HUGE)), st.none(), st.booleans())
    ),
    st.tuples(st.just("again"), SOME, st.sampled_from((*SMALL, HUGE))),
    st.tuples(st.just("cancel_all"), SOME),
    st.tuples(st.just("peer"), SOME, st.just("send"), st.sampled_from(SMALL)),
    st.tuples(st.just("drain"), SOME),
    st.tuples(st.just("peer"), SOME, st.sampled_from(["shut", "close", "reset"]), st.just(1)),
    st.tuples(st.just("shut"), SOME),
    st.tuples(st.just("shut_down"), SOME, st.booleans()),
    st.tuples(st.just("watch"), SOME, st.sampled_from([*EVENTS, 0, None])),
    st.tuples(st.just("watch"), SOME, st.sampled_from([event | ONESHOT for event in EVENTS])),
)


def how_often(examples: int, steps: int = 40) -> settings:
    return settings(
        max_examples=LONG or examples,
        stateful_step_count=steps,
        derandomize=not LONG,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Machine(RuleBasedStateMachine):
    """A random program, compared with the model at each step."""

    backend: str

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.backend)
        self.over = False

    @initialize(kind=st.sampled_from(list(KINDS)))
    def begin(self, kind: str) -> None:
        self.world.open(kind)

    @rule(kind=st.sampled_from(list(KINDS)))
    def open(self, kind: str) -> None:
        self.world.open(kind)

    @rule(
        which=SOME,
        kind=SOME,
        size=st.sampled_from(SIZES),
        timeout=st.sampled_from(TIMEOUTS),
        pin=st.booleans(),
    )
    def submit(self, **how: Any) -> None:
        self.world.submit(**how)

    @rule(which=SOME, kind=SOME, size=st.sampled_from(SIZES))
    def submit_plain(self, which: int, kind: int, size: int) -> None:
        self.world.submit(which, kind, size, None, False)

    @rule(which=SOME, size=st.sampled_from(SIZES))
    def again(self, which: int, size: int) -> None:
        self.world.again(which, size)

    @rule()
    def again_too_early(self) -> None:
        self.world.again_too_early()

    @rule()
    def post(self) -> None:
        self.world.post()

    @rule(which=SOME)
    def cancel(self, which: int) -> None:
        self.world.cancel(which)

    @rule(which=SOME)
    def cancel_all(self, which: int) -> None:
        self.world.cancel_all(which)

    @rule(
        timeout=st.sampled_from([0, 0, 0, 0.0005, 0.003]),
        most=st.sampled_from([None, None, 1, 2]),
        serve=st.booleans(),
    )
    def wait(self, timeout: float, most: int | None, serve: bool) -> None:
        self.world.wait(timeout, most, serve)

    @rule(serve=st.booleans())
    def wait_plain(self, serve: bool) -> None:
        self.world.wait(0, None, serve)

    @rule(timeout=st.sampled_from([0, 0.0005]), most=st.sampled_from([None, 1]))
    def select(self, timeout: float, most: int | None) -> None:
        self.world.select(timeout, most)

    @rule(which=SOME, mask=st.sampled_from((*MASKS, None, None, None)))
    def watch(self, which: int, mask: int | None) -> None:
        self.world.watch(which, mask)

    @rule(which=SOME, send=st.booleans(), size=st.sampled_from(SIZES))
    def peer(self, which: int, send: bool, size: int) -> None:
        self.world.peer(which, "send" if send else "receive", size)

    @rule(which=SOME, how=st.sampled_from(["shut", "close", "reset"]))
    def peer_ends(self, which: int, how: str) -> None:
        self.world.peer(which, how, 1)

    @rule(which=SOME)
    def shut(self, which: int) -> None:
        self.world.shut(which)

    @rule(which=SOME, politely=st.booleans(), kind=st.sampled_from(list(KINDS)))
    def close_one(self, which: int, politely: bool, kind: str) -> None:
        """Its number is used again at once."""
        self.world.shut_down(which, politely)
        self.world.open(kind)

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule(which=SOME)
    def drain(self, which: int) -> None:
        self.world.drain(which)

    @invariant()
    def check(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            if len(self.world.all_ends) % 2:
                self.world.end_early()
            else:
                self.world.audit()
        finally:
            self.world.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.timeout(0 if LONG else 60)
def test_random_programs_do_what_the_model_allows(backend: str) -> None:
    """Each operation comes out once, in its turn, with what the model allows; no byte is lost."""
    machine = type("Machine", (Machine,), {"backend": backend})
    run_state_machine_as_test(machine, settings=how_often(150))


@pytest.mark.skipif(
    len(BACKENDS) < 2 or sys.platform == "win32",
    reason="needs two backends; and a port cannot be asked whether it is done with all it can do",
)
@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.timeout(0 if LONG else 60)
def test_backends_agree(backend: str) -> None:
    """If everything that can be done is done before the next step, a program has one outcome."""

    @how_often(60)
    @given(program=st.lists(STEPS, min_size=10, max_size=30), kind=st.sampled_from(list(KINDS)))
    def agree(program: list[Any], kind: str) -> None:
        program = [("open", kind), *program]
        mine, theirs = outcomes(backend, program), outcomes(BACKENDS[0], program)
        for step, a, b in zip(program, mine, theirs):
            assert a == b, f"{backend} and {BACKENDS[0]} differ after {step}"

    agree()


def outcomes(backend: str, program: list[Any]) -> list[Any]:
    """After each step: what came out of which socket, and what was ready."""
    world = World(backend)
    try:
        story = []
        for name, *arguments in program:
            getattr(world, name)(*arguments)
            world.settle()
            world.check()
            story.append((sorted(world.outcomes), sorted(world.ready)))
            world.outcomes.clear()
            world.ready.clear()
        return story
    finally:
        world.close()
