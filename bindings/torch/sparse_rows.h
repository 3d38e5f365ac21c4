// Sparse gradients (of embeddings) in a form that an all-reduce can work on, and sums of gradients of any layout.
//
// The form: a dense tensor [rows, width + 1]; a row's last column says on how many ranks the row was touched, so that the sum's rows are the
// union of all ranks' rows, also those whose values are or become zero. It costs the memory and the bytes of the whole table.
#pragma once

#include <ATen/core/Tensor.h>

namespace hvd {

// Whether this gradient can have that form: sparse COO whose first dimension alone is sparse.
bool is_sparse_rows(const at::Tensor& gradient);

// `gradient` (undefined: no row is touched) of a parameter.
at::Tensor pack_rows(const at::Tensor& gradient, const at::Tensor& parameter);
// The gradient again, coalesced.
at::Tensor unpack_rows(const at::Tensor& packed, const at::Tensor& parameter);

// a + b: in the memory of `a` where that is dense, otherwise a new tensor. Dense if one of them is.
at::Tensor add_gradient(const at::Tensor& a, const at::Tensor& b);

}  // namespace hvd
