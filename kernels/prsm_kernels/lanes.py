"""Sixteen operations side by side: vector types for Numba kernels.

One operation of the simulator is a lane. The types map to LLVM's ``<16 x float>``, ``<16 x i32>`` and ``<16 x i1>``, which
become two AVX2 registers, one AVX-512 register or four SSE or NEON registers, with the same results to the bit on each.
With ``NUMBA_DISABLE_JIT=1`` the same names work on NumPy arrays of 16 elements, so a kernel written with them also runs as
plain Python.

Lanes are values: ``+ - * /`` work on two float lanes or on lanes and a ``float32``; ``+ - & | ^`` on two integer lanes or on
lanes and a ``uint32``; ``<<`` and ``>>`` (logical) take a ``uint32``; ``< <= == >=`` give masks, and masks combine by ``& |``.
Integer comparisons are unsigned.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.core.typing.templates import signature as signature_of
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16

_FLOAT = ir.VectorType(ir.FloatType(), LANES)
_INT = ir.VectorType(ir.IntType(32), LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


class FloatLanes(types.Type):
    """Numba type of 16 float32 values."""


class IntLanes(types.Type):
    """Numba type of 16 uint32 values."""


class MaskLanes(types.Type):
    """Numba type of 16 truth values."""


float_lanes = FloatLanes(f"float32x{LANES}")
int_lanes = IntLanes(f"uint32x{LANES}")
mask_lanes = MaskLanes(f"bool x{LANES}")
_IR = {FloatLanes: _FLOAT, IntLanes: _INT, MaskLanes: _MASK}


def _register(lane_type: type[types.Type]) -> None:
    class LaneModel(models.PrimitiveModel):
        def __init__(self, manager: Any, fe_type: Any) -> None:
            super().__init__(manager, fe_type, _IR[lane_type])

    register_model(lane_type)(LaneModel)


for _lane_type in _IR:
    _register(_lane_type)


def _spread(builder: Any, scalar: Any, vector: ir.VectorType) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(_INT, [0] * LANES))


def _define(op: Any, out: types.Type, lane: types.Type, scalar: types.Type | None, emit: Callable[..., Any]) -> None:
    """Give operator `op` the meaning `emit(builder, x, y)` on (lane, lane) and on (lane, scalar)."""
    cases_ = [signature_of(out, lane, lane)]
    lower_builtin(op, lane, lane)(lambda ctx, builder, sig, args: emit(builder, *args))
    if scalar is not None:
        cases_.append(signature_of(out, lane, scalar))
        lower_builtin(op, lane, scalar)(
            lambda ctx, builder, sig, args: emit(builder, args[0], _spread(builder, args[1], _IR[type(lane)]))
        )

    class Operator(ConcreteTemplate):  # type: ignore[misc]
        cases = cases_

    infer_global(op)(Operator)


for _op, _name in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
                   (operator.truediv, "fdiv")):  # fmt: skip
    _define(_op, float_lanes, float_lanes, types.float32, lambda b, x, y, name=_name: getattr(b, name)(x, y))
for _op, _name in ((operator.add, "add"), (operator.sub, "sub"), (operator.and_, "and_"), (operator.or_, "or_"),
                   (operator.xor, "xor"), (operator.lshift, "shl"), (operator.rshift, "lshr")):  # fmt: skip
    _define(_op, int_lanes, int_lanes, types.uint32, lambda b, x, y, name=_name: getattr(b, name)(x, y))
for _op, _name in ((operator.lt, "<"), (operator.le, "<="), (operator.eq, "=="), (operator.ge, ">=")):
    _define(_op, mask_lanes, float_lanes, types.float32, lambda b, x, y, name=_name: b.fcmp_ordered(name, x, y))
    _define(_op, mask_lanes, int_lanes, types.uint32, lambda b, x, y, name=_name: b.icmp_unsigned(name, x, y))
for _op, _name in ((operator.and_, "and_"), (operator.or_, "or_")):
    _define(_op, mask_lanes, mask_lanes, None, lambda b, x, y, name=_name: getattr(b, name)(x, y))


def _operation(out: types.Type, *arguments: types.Type) -> Callable[[Callable[..., Any]], Any]:
    """Make an intrinsic of `emit(builder, *values)` with fixed lane types."""

    def decorate(emit: Callable[..., Any]) -> Any:
        signature = out(*arguments)

        def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            return emit(builder, *args)

        if len(arguments) == 1:
            return intrinsic(lambda typing, a: (signature, generate))
        if len(arguments) == 2:
            return intrinsic(lambda typing, a, b: (signature, generate))
        return intrinsic(lambda typing, a, b, c: (signature, generate))

    return decorate


def _element(ctx: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: ir.VectorType) -> Any:
    data = ctx.make_array(array_type)(ctx, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def _load(typing: Any, array: Any, index: Any) -> Any:
    lane = float_lanes if array.dtype == types.float32 else int_lanes

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_element(ctx, builder, sig.args[0], *args, _IR[type(lane)]))
        value.align = 4
        return value

    return lane(array, types.intp), generate


@intrinsic
def _store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        target = _element(ctx, builder, sig.args[0], args[0], args[1], _IR[type(sig.args[2])])
        builder.store(args[2], target).align = 4
        return ctx.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Let the line of the cache that holds an element be on its way from memory; changes nothing else."""
    number, byte = ir.IntType(32), ir.IntType(8).as_pointer()

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.gep(ctx.make_array(sig.args[0])(ctx, builder, args[0]).data, [args[1]])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        # to read, to stay in the second level, data
        builder.call(function, [builder.bitcast(place, byte), *(ir.Constant(number, flag) for flag in (0, 2, 1))])
        return ctx.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def _gather(typing: Any, array: Any, index: Any) -> Any:
    addresses = ir.VectorType(ir.IntType(64), LANES)

    def generate(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = ctx.make_array(sig.args[0])(ctx, builder, args[0]).data
        first = _spread(builder, builder.ptrtoint(data, ir.IntType(64)), addresses)
        offset = builder.shl(builder.zext(args[1], addresses), ir.Constant(addresses, [2] * LANES))
        places = builder.inttoptr(builder.add(first, offset), ir.VectorType(data.type, LANES))
        name = f"llvm.masked.gather.v{LANES}f32.v{LANES}p0"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(_FLOAT, [places.type, ir.IntType(32), _MASK, _FLOAT]), name
        )
        aligned = ir.Constant(ir.IntType(32), 4)
        return builder.call(function, [places, aligned, ir.Constant(_MASK, [1] * LANES), ir.Constant(_FLOAT, ir.Undefined)])

    return float_lanes(array, int_lanes), generate


@intrinsic
def _select(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    return yes(mask_lanes, yes, yes), lambda ctx, builder, sig, args: builder.select(*args)


def _vector_call(builder: Any, name: str, *values: Any, flags: tuple[str, ...] = ()) -> Any:
    full_name = f"llvm.{name}.v{LANES}f32"
    function = builder.module.globals.get(full_name) or ir.Function(
        builder.module, ir.FunctionType(_FLOAT, [_FLOAT] * len(values)), full_name
    )
    return builder.call(function, values, fastmath=flags)


# As a comparison and a select, LLVM would turn "store the lesser where it was loaded" into a slow masked store.
_NO_NAN = ("nnan", "nsz")


if config.DISABLE_JIT:

    def load(array, index):
        return array[index : index + LANES].copy()

    def store(array, index, value):
        array[index : index + LANES] = value

    def gather(array, index):
        return array[index]

    def prefetch(array, index):
        pass

    def spread(scalar):
        return np.full(LANES, scalar, np.float32)

    def spread_int(scalar):
        return np.full(LANES, scalar, np.uint32)

    def lesser(x, y):
        return np.where(x < y, x, y)

    def greater(x, y):
        return np.where(x > y, x, y)

    def select(mask, yes, no):
        return np.where(mask, yes, no)

    def any_lane(mask):
        return bool(mask.any())

    def add_mask(counts, mask):
        return counts + mask.astype(np.uint32)

    def bits_of(value):
        return value.view(np.uint32)

    def float_of_bits(bits):
        return bits.view(np.float32)

    def to_float(value):
        return value.view(np.int32).astype(np.float32)

    def multiply_add(x, y, z):
        with np.errstate(invalid="ignore"):
            return (x.astype(np.float64) * y + z).astype(np.float32)

else:
    load = _load
    store = _store
    gather = _gather
    prefetch = _prefetch
    select = _select
    spread = _operation(float_lanes, types.float32)(lambda b, x: _spread(b, x, _FLOAT))
    spread_int = _operation(int_lanes, types.uint32)(lambda b, x: _spread(b, x, _INT))
    lesser = _operation(float_lanes, float_lanes, float_lanes)(lambda b, x, y: _vector_call(b, "minnum", x, y, flags=_NO_NAN))
    greater = _operation(float_lanes, float_lanes, float_lanes)(lambda b, x, y: _vector_call(b, "maxnum", x, y, flags=_NO_NAN))
    any_lane = _operation(types.boolean, mask_lanes)(
        lambda b, m: b.icmp_unsigned("!=", b.bitcast(m, ir.IntType(LANES)), ir.Constant(ir.IntType(LANES), 0))
    )
    add_mask = _operation(int_lanes, int_lanes, mask_lanes)(lambda b, c, m: b.sub(c, b.sext(m, _INT)))
    bits_of = _operation(int_lanes, float_lanes)(lambda b, x: b.bitcast(x, _INT))
    float_of_bits = _operation(float_lanes, int_lanes)(lambda b, x: b.bitcast(x, _FLOAT))
    to_float = _operation(float_lanes, int_lanes)(lambda b, x: b.sitofp(x, _FLOAT))
    multiply_add = _operation(float_lanes, float_lanes, float_lanes, float_lanes)(
        lambda b, x, y, z: _vector_call(b, "fma", x, y, z)
    )
