"""Completion with one fault inside each, and the rule that names it; applied by ``mutants``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcore import Operation, _attempts, _connection_operations, _socket_operations
from netcore._channels import Channel
from netcore._emulation import CompletionOverReadiness


def pinning_nothing() -> None:
    """A copy does as well."""
    original = _socket_operations.pinned

    def pinned(buffer: Any, writable: bool = False) -> memoryview:
        view = original(buffer, writable)
        return view if writable else memoryview(bytes(view))

    _socket_operations.pinned = pinned


def keeping_the_pin() -> None:
    """What came out is still held."""
    held = []
    original = _socket_operations.pinned

    def pinned(buffer: Any, writable: bool = False) -> memoryview:
        held.append(memoryview(buffer))
        return original(buffer, writable)

    _socket_operations.pinned = pinned


def interleaving() -> None:
    """A large message lets a small one pass."""
    original = _attempts.what_is_left

    def what_is_left(operation: Any) -> memoryview:
        for small in list(operation._channel.writers)[:1]:
            small._call(small._argument)
        return original(operation)

    _attempts.what_is_left = what_is_left


def last_come_first_served() -> None:
    """The queue is a stack."""
    original = Channel.append

    def append(self: Channel, operation: Operation) -> bool:
        turn = original(self, operation)
        for queue in (self.readers, self.writers):
            if queue and queue[-1] is operation:
                queue.rotate(1)
        return turn

    Channel.append = append  # type: ignore[method-assign]


def failing_with_one_client() -> None:
    """What accept() says is what comes out."""
    _attempts._ITS_OWN.clear()


def knowing_no_limit() -> None:
    """More than was asked for."""
    original = CompletionOverReadiness.hand_out
    CompletionOverReadiness.hand_out = (  # type: ignore[method-assign]
        lambda self, limit: original(self, None)
    )


def looking_names_up() -> None:
    """As connect() of the socket module does."""
    for module in (_socket_operations, _connection_operations):
        module.check_address = lambda sock, address: None


def closing_and_no_more() -> None:
    """What is pending is left to itself."""
    CompletionOverReadiness.close = lambda self: self.native.close()  # type: ignore[method-assign]


def going_on_in_children() -> None:
    """What is pending is everybody's."""
    CompletionOverReadiness.orphan = lambda self, lock: None  # type: ignore[method-assign]


def believing_in_open_sockets() -> None:
    """Nobody closes what is in use."""
    Channel.is_closed = lambda self: False  # type: ignore[method-assign]


#: Every mutant and the test that is to fail: the rule that names the fault.
INNER_MUTANTS: dict[Callable[[], None], str] = {
    pinning_nothing: "test_what_is_sent_cannot_be_resized",
    keeping_the_pin: "test_the_buffer_cannot_be_resized_until_it_has_come_out",
    interleaving: "test_those_who_send_are_served_in_order",
    last_come_first_served: "test_those_who_receive_are_served_in_order",
    failing_with_one_client: "test_a_failure_of_one_connection_does_not_end_the_accept",
    knowing_no_limit: "test_no_more_than_so_many_come_out",
    looking_names_up: "test_an_address_that_is_no_number_is_refused",
    closing_and_no_more: "test_close_ends_everything",
    going_on_in_children: "test_what_is_pending_belongs_to_the_parent",
    believing_in_open_sockets: "test_a_socket_that_is_closed_ends_what_is_pending",
}
