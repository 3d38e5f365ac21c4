// The declarations of the CUDA driver and of NCCL: types and signatures only, nothing is linked.
//
// nccl.h includes CUDA's half, bfloat16 and fp8 headers, uses nothing of them, and they need CCCL, which the
// pip packages leave out. Their include guards are defined here so that they stay out.
#pragma once

// NOLINTBEGIN(bugprone-reserved-identifier)
#define __CUDA_FP16_H__
#define __CUDA_BF16_H__
#define __CUDA_FP8_H__
// NOLINTEND(bugprone-reserved-identifier)

#include <cuda.h>
#include <nccl.h>
