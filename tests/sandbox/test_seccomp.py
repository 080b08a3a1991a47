from __future__ import annotations

import errno
import struct

import pytest

from arena.sandbox.seccomp import denied_calls, filter_program

ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": (0xC000003E, 56, 41, 16), "aarch64": (0xC00000B7, 220, 198, 29)}  # audit, clone, socket, ioctl


def answer(program: bytes, *, audit: int, call: int, arguments: tuple[int, int] = (0, 0)) -> int:
    """What the filter answers to a call, by the rules of the classic Berkeley packet filter."""
    seen = struct.pack("<IIQQQ", call, audit, 0, *arguments)
    instructions = list(struct.iter_unpack("<HBBI", program))
    place, held = 0, 0
    while True:
        code, yes, no, operand = instructions[place]
        if code == 0x06:
            return operand
        if code == 0x20:
            (held,) = struct.unpack_from("<I", seen, operand)
        holds = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}.get(code)
        place += 1 + (0 if holds is None else yes if holds else no)


@pytest.mark.parametrize("machine", MACHINES)
def test_rare_calls_fail_and_usual_ones_do_not(machine: str):
    audit, clone, socket, ioctl = MACHINES[machine]
    program = filter_program(machine)
    assert program is not None

    def of(call: int, *arguments: int) -> int:
        first, second = (*arguments, 0, 0)[:2]
        return answer(program, audit=audit, call=call, arguments=(first, second))

    assert {of(number) for number in denied_calls(machine).values()} == {FAIL | errno.EPERM}
    assert of(435) == FAIL | errno.ENOSYS  # clone3
    assert [of(clone, flags) for flags in (0x11, 0x10000000, 0x40000011)] == [ALLOW, *[FAIL | errno.EPERM] * 2]
    assert [of(socket, family) for family in (1, 2, 10)] == [ALLOW] * 3
    assert [of(socket, family) for family in (16, 17, 40)] == [FAIL | errno.EAFNOSUPPORT] * 3
    assert [of(ioctl, 0, request) for request in (0x5401, 0x5412)] == [ALLOW, FAIL | errno.EPERM]
    assert of(0) == ALLOW


def test_calls_of_another_processor_end_the_program():
    program = filter_program("x86_64")
    assert program is not None
    assert answer(program, audit=0x40000003, call=1) == KILL
    assert answer(program, audit=0xC000003E, call=0x40000000 | 1) == FAIL | errno.ENOSYS


def test_there_is_no_filter_for_a_processor_without_a_table():
    assert filter_program("riscv64") is None
