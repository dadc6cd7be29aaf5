"""Networks compiled by torch.compile: on a GPU with CUDA graphs, on a CPU by its C++ compiler.

Guarantees: the whole network is compiled as one graph, for one number of images, or it is refused; a pass of fewer
images is filled up and cut again, so that nothing is compiled anew and no CUDA graph recorded anew; what a pass gives
back is a copy, which the next pass does not write over. Compiled code hangs on a code object that belongs to one
`Compiled`, and is let go of with it: it counts towards no limit of the process. Not guaranteed: the bits of the same
network uncompiled, or of one compiled by another version of torch or another compiler.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from itertools import count
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn
from torch._C._dynamo.eval_frame import reset_code
from torch._dynamo.exc import RecompileError

from overlap.errors import CheckpointError, gist
from overlap.penultimate import NoFeatures, Tap

OPTIONS: dict[str, dict[str, Any]] = {
    "cuda": {"triton.cudagraphs": True, "deterministic": True},
    "cpu": {"compile_threads": 1, "deterministic": True},
}
"""Of inductor, by kind of device. The first is mode "reduce-overhead"; `deterministic` has no kernel chosen by how long
it took, and a predictor on a CPU has one core, which it shares with no pool of compilers."""

WARM = {"cuda": 3, "cpu": 2}
"""Passes until a device does what it will go on doing: a CUDA graph is recorded by the second, and first replayed by
the third. The second also shows whether the code of the first serves again."""

_numbers = count()


class Compiled:
    """One network on one device, compiled when its first images come."""

    def __init__(self, name: str, module: nn.Module, tap: Tap | None, device: torch.device) -> None:
        """Nothing is compiled yet.

        Args:
            name: of the checkpoint, for who reads an error.
            module: in evaluation mode, on the device; not to be changed afterwards.
            tap: of the module, where features are wanted.
            device: where the images will be.
        """
        self._name = name
        self._module, self._tap, self._device = module, tap, device
        self._compiled: Callable[..., tuple[Any, torch.Tensor | None, bool]] | None = None
        self._code: CodeType | None = None
        self._shape: torch.Size | None = None
        self._features: torch.Tensor | None = None
        self.seconds = 0.0
        """Wall time that compiling has taken so far, and the passes that are part of it."""

    def __call__(self, images: torch.Tensor) -> Any:
        """What the network returns for normalised images, compiled for their shape at the first call with it.

        Gradients are to be off, and inference mode too.

        Raises:
            CheckpointError: it has no form as one graph, or there is no compiler.
            NoFeatures: features are wanted and there are none.
            Exception: of any kind, that the network itself raises.
        """
        if images.shape != self._shape:
            self._prepare(images)
        output, self._features = self._ask(images)
        return output

    def taken(self, images: int) -> torch.Tensor:
        """Features of the leading images of the pass that just ended, float32 (images, D); forgotten here.

        Raises:
            NoFeatures: there are none.
        """
        features, self._features = self._features, None
        if features is None:
            raise NoFeatures("no tap is in the compiled network")
        return features[:images]

    def let_go(self) -> None:
        """Forget what was compiled, with its CUDA graphs; the next pass compiles again."""
        self._compiled, self._shape, self._features = None, None, None
        if self._code is not None:
            reset_code(self._code)  # the compiler's own caches keep code objects
            self._code = None
            gc.collect()  # and it holds what it made in circles

    def _prepare(self, images: torch.Tensor) -> None:
        """Compile for a shape; what a device cannot hold leaves nothing of it behind."""
        started = time.perf_counter()
        self.let_go()  # of what was compiled for another shape
        self._plain(images[:1])  # what the network itself complains of is told in its own words
        try:
            own = _of_its_own(_pass)
            self._code = own.__code__
            self._compiled = torch.compile(own, fullgraph=True, dynamic=False, options=OPTIONS[self._device.type])
            for _ in range(WARM[self._device.type]):
                self._ask(images)
        except (torch.OutOfMemoryError, torch.AcceleratorError, CheckpointError):
            self._compiled = None
            raise
        except Exception as error:  # dynamo, inductor and compilers raise of their own, around anything
            self._compiled = None
            if _ran_out(error):
                raise torch.OutOfMemoryError(gist(error)) from None
            raise self._not_compiled(_why(error)) from error
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._shape = images.shape
        self.seconds += time.perf_counter() - started

    def _plain(self, images: torch.Tensor) -> None:
        self._module(images)
        if self._tap is not None:
            self._tap.taken(len(images))

    def _ask(self, images: torch.Tensor) -> tuple[Any, torch.Tensor | None]:
        assert self._compiled is not None
        if self._tap is not None:
            self._tap.forget()  # of a pass of the network as it is
        if self._device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with torch._dynamo.config.patch(error_on_recompile=True):
            try:
                output, features, is_compiled = self._compiled(self._module, self._tap, images)
            except RecompileError:
                raise self._not_compiled("what it does changes from pass to pass") from None
        if not is_compiled:
            raise self._not_compiled("torch.compile is switched off in this process")
        copied = output.clone() if isinstance(output, torch.Tensor) else output
        return copied, None if features is None else features.clone()

    def _not_compiled(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"checkpoint '{self._name}' cannot be compiled on {self._device} ({why}); set compile = false "
            "beside its id (or predict.compile = false)"
        )


def _pass(module: nn.Module, tap: Tap | None, images: torch.Tensor) -> tuple[Any, torch.Tensor | None, bool]:
    """What is compiled; the module is an argument, for whatever keeps the function is not to keep the module."""
    output = module(images)
    features = None if tap is None else tap.taken(len(images))
    return output, features, torch.compiler.is_compiling()


def _of_its_own(function: Any) -> Any:
    """The same function with a code object of its own, for compiled code to hang on and to go with."""
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
    return FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)


def _ran_out(error: BaseException | None) -> bool:
    """Whether memory that ran out is at the bottom of an error of a compiler."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
    return error is not None


def _why(error: Exception) -> str:
    """An error in one line: what the compiler complained of first, where it was one."""
    complaint = next((line.strip() for line in str(error).splitlines() if " error: " in line), None)
    return gist(error) if complaint is None else f"{gist(error)}: {complaint}"
