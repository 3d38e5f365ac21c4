#include "ops/host/reduce.h"

#include "ops/host/reduce_tables.h"

namespace hvd {
namespace {

// The default floating-point mode while it lives: round to nearest even, denormals as they are, no traps.
class DefaultFloatMode {
 public:
#if defined(__x86_64__)
  DefaultFloatMode() : saved_(__builtin_ia32_stmxcsr()) {
    if (saved_ != kDefault) __builtin_ia32_ldmxcsr(kDefault);
  }
  // Also takes back the sticky exception flags that a kernel raised.
  ~DefaultFloatMode() { __builtin_ia32_ldmxcsr(saved_); }

 private:
  static constexpr unsigned kDefault = 0x1f80;
  unsigned saved_;
#elif defined(__aarch64__)
  DefaultFloatMode() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(0UL));
  }
  ~DefaultFloatMode() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  unsigned long saved_;
#endif
};

#if defined(__x86_64__)
constexpr std::array<const ReduceKernels*, 3> kBySpeed{&kBaselineKernels, &kAvx2Kernels, &kAvx512Kernels};

std::size_t runnable_count() {
  if (!__builtin_cpu_supports("avx2")) return 1;
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has_avx512 ? 3 : 2;
}
#else
constexpr std::array<const ReduceKernels*, 1> kBySpeed{&kBaselineKernels};

std::size_t runnable_count() { return 1; }
#endif

}  // namespace

std::span<const ReduceKernels* const> runnable_reduce_kernels() {
  return std::span<const ReduceKernels* const>(kBySpeed).first(runnable_count());
}

const ReduceKernels& fastest_reduce_kernels() { return *runnable_reduce_kernels().back(); }

bool is_reducible(ReduceOp op) {
  return op == ReduceOp::sum || op == ReduceOp::min || op == ReduceOp::max || op == ReduceOp::product;
}

void reduce(const ReduceKernels& kernels, const ReduceArguments& arguments) {
  // The kernel is called through a pointer, so that no compiler moves its arithmetic out of the mode's scope.
  const DefaultFloatMode mode;
  const auto op = static_cast<std::size_t>(arguments.op) - static_cast<std::size_t>(ReduceOp::sum);
  const ReduceKernel kernel = kernels.table[static_cast<std::size_t>(arguments.dtype)][op];
  kernel(arguments.inputs.data(), arguments.inputs.size(), arguments.output, arguments.second_output,
         arguments.count, arguments.scale);
}

}  // namespace hvd
