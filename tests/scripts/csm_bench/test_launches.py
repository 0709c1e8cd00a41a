"""What is counted as work that the host asks for."""

from types import SimpleNamespace

import torch
from torch.profiler import ProfilerActivity, profile

from scripts.csm_bench.launches import count_cpu, count_cuda


def event(name: str, device: str = "CPU", *, annotation: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, device_type=SimpleNamespace(name=device), is_user_annotation=annotation
    )


def test_an_operator_that_another_one_calls_is_not_counted():
    x = torch.ones(4, 4)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        torch.nn.functional.linear(x, x)
        torch.add(x, x)
    # The product calls a transposition, which makes a view, ...
    assert sum(e.name.startswith("aten::") for e in found.events() or []) > 2
    assert count_cpu(found.events() or []) == {"operators": 2}


def test_on_cuda_launches_by_the_host_and_kernels_on_the_device_are_told_apart():
    timeline = [
        event("aten::mm"),
        event("cudaLaunchKernel"),
        event("cuLaunchKernelEx"),
        event("cudaGraphLaunch"),
        event("cudaMemcpyAsync"),
        event("cudaDeviceSynchronize"),
        event("gemv_kernel", "CUDA"),
        event("triton_red_fused", "CUDA"),
        event("triton_red_fused", "CUDA"),
        event("a whole region", "CUDA", annotation=True),
        event("Memcpy DtoH (Device -> Pinned)", "CUDA"),
        event("Memset (Device)", "CUDA"),
    ]
    assert count_cuda(timeline) == {
        "graph_launches": 1,
        "kernel_launches": 2,
        "kernels": 3,
        "moves": 2,
    }
