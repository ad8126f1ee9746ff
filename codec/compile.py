"""Compiles the entries of a package ahead of time, into the shared library that `codec.library` opens.

numba compiles each entry for the types that its annotations promise, llvmlite makes one object of them all, for this
machine or another kind, and a linker makes that a library. Kernels that allocate or raise are refused.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

from codec.kernel import Entry, entries
from codec.library import MACHINES, library_path, sealed, stamp, symbol
from codec.signature import Array, Fields, Number, Parameter, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = ir.IntType(64)


class CannotCompile(Exception):
    """No library comes of it; the message says why, and what to do."""


def compile_package(package: Path, machine: str | None = None, to: Path | None = None) -> Path:
    """Compiles all entries of a package that has been imported. Returns where the library is.

    For this machine numba's settings hold (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES), for another `MACHINES`.
    """
    machine = machine or platform.machine()
    mine = [one for one in entries if one.package == package]
    if not mine:
        raise CannotCompile(
            f"{package} has no entries, kernels that Python calls: there is nothing to compile"
        )
    path = to or library_path(package, machine)
    linker = _linker(machine)  # before the work is done
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "kernels.o"
        compiled.write_bytes(_object(mine, machine))
        linked = Path(folder) / "kernels.so"
        _link(linker, compiled, linked)
        beside = path.with_suffix(".new")  # whoever has the old one open keeps it
        beside.write_bytes(sealed(linked.read_bytes(), stamp(package)))
        beside.replace(path)
    return path


def _object(mine: Sequence[Entry], machine: str) -> bytes:
    """An ELF object with a symbol for each entry."""
    module = llvm.parse_assembly("")
    exported = {symbol(one.function) for one in mine}
    for one in mine:
        module.link_in(llvm.parse_assembly(_entry_code(one)))
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in exported:
            value.linkage = llvm.Linkage.internal
    target = _target_machine(machine)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(target, tuning)
    builder.getModulePassManager().run(module, builder)
    return bytes(target.emit_object(module))


def _entry_code(one: Entry) -> str:
    """LLVM code of an entry, as a C function of a pointer to words that returns a word."""
    takes = [_numba_type(parameter) for parameter in parameters(one.function).values()]
    kernel, arguments = one.jit, _arguments(takes)

    def call(words):  # type: ignore[no-untyped-def]
        return kernel(*arguments(words))

    compiled = numba.njit(
        error_model="numpy", nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(call)
    compiled.compile((types.voidptr,))
    result = compiled.overloads[types.voidptr,]
    code = str(result.library._final_module)
    if result.signature.return_type not in {types.none, types.int64}:
        raise CannotCompile(
            f"{symbol(one.function)} returns {result.signature.return_type}, not an integer or None"
        )
    if "picklebuf" in code:  # where numba keeps the exceptions of a function
        raise CannotCompile(f"{symbol(one.function)}, or a kernel that it calls, can raise")
    return f"""{code}
define i64 @"{symbol(one.function)}"(ptr %words) {{
  %result = alloca i64
  %exception = alloca ptr
  store i64 0, ptr %result
  call i32 @"{result.fndesc.llvm_func_name}"(ptr %result, ptr %exception, ptr %words)
  %value = load i64, ptr %result
  ret i64 %value
}}
"""


def _numba_type(parameter: Parameter) -> Any:
    match parameter:
        case Number():
            return {int: types.int64, float: types.float64, bool: types.boolean}[parameter.type]
        case Array():
            return types.Array(numba.from_dtype(parameter.dtype), parameter.dimensions, "C")
        case Fields():
            return types.NamedTuple(
                [_numba_type(one) for one in parameter.parameters.values()], parameter.type
            )


def _arguments(takes: list[Any]) -> Any:
    """An intrinsic that makes a tuple of values of these types of the words at an address."""

    @intrinsic  # type: ignore[untyped-decorator]
    def arguments(_typing: Any, words: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            words = _Words(context, builder, given[0])
            return context.make_tuple(builder, signature.return_type, [words.value(one) for one in takes])

        return types.Tuple(takes)(words), generate

    return arguments


class _Words:
    """Code that reads arguments, one after the other."""

    def __init__(self, context: Any, builder: Any, address: Any) -> None:
        self._context = context
        self._builder = builder
        self._address = builder.bitcast(address, _WORD.as_pointer())
        self._at = 0

    def value(self, wanted: Any) -> Any:
        """Code for a value of numba's type `wanted`."""
        context, builder = self._context, self._builder
        if isinstance(wanted, types.BaseTuple):
            return context.make_tuple(builder, wanted, [self.value(one) for one in wanted])
        word = self._word()
        if isinstance(wanted, types.Array):
            return self._array(wanted, word)
        if wanted == types.boolean:
            return cgutils.is_not_null(builder, word)
        return builder.bitcast(word, context.get_value_type(wanted))

    def _word(self) -> Any:
        self._at += 1
        return self._builder.load(self._builder.gep(self._address, [_WORD(self._at - 1)]))

    def _array(self, wanted: Any, address: Any) -> Any:
        context, builder = self._context, self._builder
        element = context.get_data_type(wanted.dtype)
        size = context.get_constant(types.intp, context.get_abi_sizeof(element))
        shape = [self._word() for _ in range(wanted.ndim)]
        strides = [size]
        for length in shape[:0:-1]:
            strides.insert(0, builder.mul(strides[0], length))
        array = context.make_array(wanted)(context, builder)
        data = builder.inttoptr(address, element.as_pointer())
        arrayobj.populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()


def _target_machine(machine: str) -> llvm.TargetMachine:
    if machine not in MACHINES:
        raise CannotCompile(f"kernels can be compiled ahead for {' and '.join(MACHINES)}, not for {machine}")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    if machine == platform.machine():
        numbas = cpu_target.target_context.codegen()
        cpu, features = numbas._get_host_cpu_name(), numbas._get_host_cpu_features()
    else:
        cpu, features = MACHINES[machine], ""
    target = llvm.Target.from_triple(f"{machine}-unknown-linux-gnu")
    return target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default")


def _linker(machine: str) -> str:
    native = machine == platform.machine()
    names = [f"{machine}-linux-gnu-ld", "ld.lld", *(["ld"] if native else [])]
    for name in names:
        if found := shutil.which(name):
            return found
    package = "binutils" if native else f"binutils-{machine.replace('_', '-')}-linux-gnu"
    raise CannotCompile(
        f"no linker for {machine} here, none of {', '.join(names)}; on Debian and Ubuntu: apt install {package}"
    )


def _link(linker: str, compiled: Path, library: Path) -> None:
    command = [linker, "-shared", "-z", "noexecstack", "-o", str(library), str(compiled)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CannotCompile(f"{' '.join(command)}: {ran.stderr.strip()}")
