#include "bindings/torch/sparse_rows.h"

#include <ATen/ops/sparse_coo_tensor.h>
#include <ATen/ops/zeros.h>

namespace hvd {

bool is_sparse_rows(const at::Tensor& gradient) {
  return gradient.layout() == c10::kSparse && gradient.sparse_dim() == 1;
}

at::Tensor pack_rows(const at::Tensor& gradient, const at::Tensor& parameter) {
  const std::int64_t rows = parameter.size(0);
  const std::int64_t width = rows == 0 ? 0 : parameter.numel() / rows;
  auto options = parameter.options().requires_grad(false);
  if (gradient.defined()) options = options.dtype(gradient.scalar_type());
  at::Tensor packed = at::zeros({rows, width + 1}, options);
  if (!gradient.defined()) return packed;
  const at::Tensor coalesced = gradient.detach().coalesce();
  const at::Tensor touched = coalesced.indices().select(0, 0);
  packed.narrow(1, 0, width).index_copy_(0, touched, coalesced.values().reshape({touched.size(0), width}));
  packed.select(1, width).index_fill_(0, touched, 1);
  return packed;
}

at::Tensor unpack_rows(const at::Tensor& packed, const at::Tensor& parameter) {
  const std::int64_t width = packed.size(1) - 1;
  const at::Tensor touched = packed.select(1, width).nonzero().select(1, 0);
  std::vector<std::int64_t> shape = parameter.sizes().vec();
  shape[0] = touched.size(0);
  const at::Tensor values = packed.narrow(1, 0, width).index_select(0, touched).view(shape);
  return at::sparse_coo_tensor(touched.unsqueeze(0), values, parameter.sizes(), values.options())
      ._coalesced_(true);
}

at::Tensor add_gradient(const at::Tensor& a, const at::Tensor& b) {
  if (a.layout() == c10::kStrided) {
    a.detach().add_(b.detach());
    return a;
  }
  // Autograd's order too: a sparse tensor cannot take up a dense one.
  return b.layout() == c10::kStrided ? b.detach().add(a.detach()) : a.detach().add(b.detach());
}

}  // namespace hvd
