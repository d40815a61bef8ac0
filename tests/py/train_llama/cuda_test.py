"""On a GPU, in bf16: as near to fp32 as Transformers and PEFT are, the same bits every time, no waiting."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bullion.data.supervise import IGNORED
from bullion.train.llama import LlamaStepper, obstacle
from bullion.train.llama.fp8 import product, quantised, unsupported

from .conftest import gradients, pack, record, spec, tuned, worst

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

from bullion.train.llama import kernels

CUDA = torch.device("cuda")
SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "head_dim": 64,
    "num_attention_heads": 4,
    "vocab_size": 2000,
}
EXAMPLES = [record(i, 5 + i, 20 + 37 * i, 2000) for i in range(8)]


def model_in(dtype: torch.dtype, **changes: Any) -> Any:
    """The same weights, rounded to bf16, whatever dtype they are kept in; the adapter in fp32."""
    model = tuned(**SHAPE, **changes).to(CUDA)
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.to(torch.bfloat16).to(dtype)
    return model


def separate(model: Any, cast: bool) -> dict[str, Any]:
    trained = sum(label != IGNORED for e in EXAMPLES for label in e.labels[1:])
    for example in EXAMPLES:
        with torch.autocast("cuda", torch.bfloat16, enabled=cast):
            logits = model(input_ids=torch.tensor([example.input_ids], device=CUDA)).logits[0, :-1]
        labels = torch.tensor(example.labels[1:], device=CUDA)
        loss = torch.nn.functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORED, reduction="sum"
        )
        (loss / trained).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_the_error_against_fp32_is_within_twice_that_of_peft(recompute: Any) -> None:
    exact = separate(model_in(torch.float32), cast=False)
    theirs = worst(separate(model_in(torch.bfloat16), cast=True), exact)
    model = model_in(torch.bfloat16)
    assert obstacle(model, spec(), CUDA) is None
    stepper = LlamaStepper(model, spec(), CUDA, recompute)
    _, ours = gradients(stepper, [pack(EXAMPLES)])
    assert worst(ours, exact) < 2 * theirs
    _, again = gradients(stepper, [pack(EXAMPLES)])
    assert all(torch.equal(ours[n], again[n]) for n in ours)


@pytest.mark.skipif(bool(unsupported(CUDA)), reason="this device has no fp8 products")
def test_fp8_products_are_near_bf16_and_the_same_bits_every_time() -> None:
    def gentle() -> Any:
        """Weights as small as a true model's: with larger ones attention magnifies any rounding."""
        return model_in(torch.bfloat16, initializer_range=0.02)

    loss, expected = gradients(LlamaStepper(gentle(), spec(), CUDA), [pack(EXAMPLES)])
    stepper = LlamaStepper(gentle(), spec(compute_dtype="fp8"), CUDA)
    found_loss, found = gradients(stepper, [pack(EXAMPLES)])
    assert abs(found_loss / loss - 1) < 0.002
    off = [((found[n] - expected[n]).norm() / expected[n].norm()).item() for n in found]
    assert 0.02 < sum(off) / len(off) < 0.15  # emulated on a processor: 0.10
    _, again = gradients(stepper, [pack(EXAMPLES)])
    assert all(torch.equal(found[n], again[n]) for n in found)


@pytest.mark.skipif(bool(unsupported(CUDA)), reason="this device has no fp8 products")
@pytest.mark.parametrize("rows", [1, 70, 3004])
def test_an_fp8_product_is_that_of_the_quantised_numbers(rows: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(rows, 4096, device=CUDA).to(torch.bfloat16)
    w = torch.randn(6144, 4096, device=CUDA).to(torch.bfloat16)
    left, right = quantised(x, kernels), quantised(w, kernels)
    out = torch.empty(rows, 6144, dtype=torch.bfloat16, device=CUDA)
    product(left, right, out)
    expected = (left.values.float() * left.scales) @ (right.values.float() * right.scales).t()
    assert (out.float() - expected).norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize("compute_dtype", ["auto", "fp8"])
def test_a_step_waits_for_nothing(compute_dtype: str) -> None:
    if compute_dtype == "fp8" and (reason := unsupported(CUDA)):
        pytest.skip(reason)
    stepper = LlamaStepper(model_in(torch.bfloat16), spec(compute_dtype=compute_dtype), CUDA)
    whole = pack(EXAMPLES)
    stepper.accumulate(whole, 100)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.accumulate(whole, 100)
    finally:
        torch.cuda.set_sync_debug_mode("default")
