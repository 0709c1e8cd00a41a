"""The kernels as this machine has them, and as lesser ones would."""

import ctypes
import shutil
from pathlib import Path

import pytest
from pipecat_csm.model import native
from pipecat_csm.model.native import library as library_module
from pipecat_csm.model.native import operators

# What the compiler is asked to do without.
VARIANTS = {
    "native": (),
    "avx2": ("-mno-avx512f",),
    "portable": ("-DCSM_PORTABLE",),
}


def _flags_of_processor() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("flags") for word in line.split()}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Each variant's library, built when it is first asked for."""
    folder, found = tmp_path_factory.mktemp("kernels"), {}

    def build(variant: str) -> ctypes.CDLL:
        if variant not in found:
            found[variant] = library_module.load(folder, flags=VARIANTS[variant])
            library_module.share_threads(found[variant])
        return found[variant]

    return build


@pytest.fixture(params=VARIANTS)
def kernels(request, built, monkeypatch):
    """Has the operators use one variant after the other."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("there is no C++ compiler")
    if request.param == "avx2" and not {"avx2", "fma", "avx512f"} <= _flags_of_processor():
        pytest.skip("this processor has no AVX-512 to do without")
    found = built(request.param)
    for module in (native, operators):
        monkeypatch.setattr(module, "kernels", lambda: found)
    return request.param
