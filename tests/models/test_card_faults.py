"""What libraries say of a broken card, and who may be blamed for it."""

import pytest

from models.card_faults import CardFault, fault_in, fault_of
from models.errors import DetectorFailed

UNDER_WORK = [
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: unspecified launch failure",
    "CUDA error: device-side assert triggered",
    "CUDA error: misaligned address",
    "CUDA error: an illegal instruction was encountered",
    "CUDA error: the launch timed out and was terminated",
    "CUDA error: unknown error",
    "CUDA driver error: unspecified launch failure",
    "Triton Error [CUDA]: an illegal memory access was encountered",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, opb, m, n, k)`",
    "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "cuDNN error: CUDNN_STATUS_MAPPING_ERROR",
]
BY_ITSELF = [
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: uncorrectable NVLink error detected during the execution",
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "CUDA error: no CUDA-capable device is detected",
    "CUDA error: device lost",
    "NVML: GPU is lost",
]
NONE_OF_IT = [
    "CUDA out of memory. Tried to allocate 48.00 MiB. GPU 0 has a total capacity of 23.5 GiB",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    "CUDA error: invalid argument",
    "mat1 and mat2 shapes cannot be multiplied (4x16 and 32x8)",
    "",
]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        *((words, CardFault.UNDER_WORK) for words in UNDER_WORK),
        *((words, CardFault.BY_ITSELF) for words in BY_ITSELF),
        *((words, None) for words in NONE_OF_IT),
    ],
)
def test_a_broken_card_is_told_from_a_full_one_and_from_a_mistake(words: str, fault: CardFault | None) -> None:
    assert fault_in(words) is fault


def test_a_fault_is_found_under_what_was_raised_from_it() -> None:
    wrapped = DetectorFailed("openpose", "broke on a photo")
    wrapped.__cause__ = RuntimeError(UNDER_WORK[0])

    assert fault_of(wrapped) is CardFault.UNDER_WORK
    assert fault_of(DetectorFailed("openpose", "not a photo")) is None
