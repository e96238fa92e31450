"""Where micro-kernels go: whole numbers, branches and loops, as LLVM instructions."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

INT32 = ir.IntType(32)
INT = ir.IntType(64)  # addresses, counts and offsets in bytes


class Flow:
    """Emits instructions where `builder` stands, on integers and between blocks of instructions."""

    def __init__(self, builder: ir.IRBuilder):
        self.builder = builder

    def plus(self, a: ir.Value, b: ir.Value | int) -> ir.Value:
        return self.builder.add(a, INT(b) if isinstance(b, int) else b)

    def times(self, a: ir.Value, b: ir.Value | int) -> ir.Value:
        return self.builder.mul(a, INT(b) if isinstance(b, int) else b)

    def load_int(self, address: ir.Value) -> ir.Value:
        return self.builder.load(self.builder.inttoptr(address, INT.as_pointer()), align=8)

    def load_ints(self, address: ir.Value, count: int) -> list[ir.Value]:
        return [self.load_int(self.plus(address, 8 * i)) for i in range(count)]

    def minus_int(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.sub(a, b)

    def either(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """a if the integer condition is not 0, else b."""
        return self.builder.select(self.builder.icmp_signed("!=", condition, INT(0)), a, b)

    def at_most_int(self, a: ir.Value, most: ir.Value | int) -> ir.Value:
        """The smaller of two integers."""
        most = INT(most) if isinstance(most, int) else most
        return self.builder.select(self.builder.icmp_signed("<", a, most), a, most)

    def divided(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Quotient and remainder of numbers that are not negative."""
        return self.builder.udiv(a, b), self.builder.urem(a, b)

    def branch(self, comparison: str, a: ir.Value, b: int) -> tuple[ir.Block, ir.Block]:
        """Ends the block by a branch; returns the blocks where it goes if the comparison holds, and if not."""
        yes, no = (self.builder.function.append_basic_block() for _ in range(2))
        self.builder.cbranch(self.builder.icmp_signed(comparison, a, INT(b)), yes, no)
        return yes, no

    def choose(
        self, condition: ir.Value, yes: Callable[[], list[ir.Value]], no: Callable[[], list[ir.Value]]
    ) -> list[ir.Value]:
        """What yes() gives if the condition (one bit) holds, else what no() gives; only that one is run."""
        starts = [self.builder.function.append_basic_block() for _ in range(2)]
        self.builder.cbranch(condition, *starts)
        after = self.builder.function.append_basic_block()
        results = []
        for start, emit in zip(starts, (yes, no), strict=True):
            self.builder.position_at_end(start)
            values = emit()
            results.append([(value, self.builder.block) for value in values])
            self.builder.branch(after)
        self.builder.position_at_end(after)
        return [self._phi([*pair]) for pair in zip(*results, strict=True)]

    def when(self, condition: ir.Value, values: list[ir.Value], step: Callable[..., list[ir.Value]]) -> list[ir.Value]:
        """step(values) if the condition (one bit) holds, else the values."""
        before = self.builder.block
        with self.builder.if_then(condition):
            new, end = step(values), self.builder.block
        return [a if a is b else self._phi([(a, before), (b, end)]) for a, b in zip(values, new, strict=True)]

    def loop(
        self, count: ir.Value, initial: list[ir.Value], step: Callable[[ir.Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """values = initial; for i in range(count): values = step(i, values); returns values."""
        before = self.builder.block
        body, after = self.branch(">", count, 0)
        self.builder.position_at_end(body)
        i = self._phi([(INT(0), before)])
        values = [self._phi([(value, before)]) for value in initial]
        new = step(i, values)
        following, end = self.builder.add(i, INT(1)), self.builder.block
        self.builder.cbranch(self.builder.icmp_signed("<", following, count), body, after)
        for phi, value in zip([i, *values], [following, *new], strict=True):
            phi.add_incoming(value, end)
        self.builder.position_at_end(after)
        return [self._phi([(a, before), (b, end)]) for a, b in zip(initial, new, strict=True)]

    def _phi(self, incoming: list[tuple[ir.Value, ir.Block]]) -> ir.PhiInstr:
        phi = self.builder.phi(incoming[0][0].type)
        for value, block in incoming:
            phi.add_incoming(value, block)
        return phi
