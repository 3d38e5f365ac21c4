#!/usr/bin/env bash
# Compiles the kernels for AArch64, looks for NEON in them, and runs their tests in an emulator.
#
# neon_test.sh CMAKE_ARGUMENT... From the environment: CMAKE, and BUILD, where it all goes (kept: the next run compiles what has changed).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
jobs=${HVD_JOBS:-2}

"$CMAKE" -S project -B "$BUILD" --toolchain "$PWD/toolchain.cmake" "$@" >/dev/null
"$CMAKE" --build "$BUILD" -j "$jobs" >"$BUILD/build.log" 2>&1 || {
  tail -n 60 "$BUILD/build.log" >&2
  exit 1
}

# expect_vectors SOURCE INSTRUCTION: what it does to float32 it does to vectors.
expect_vectors() {
  local code
  code=$(aarch64-linux-gnu-objdump -d --no-show-raw-insn "$BUILD/host/CMakeFiles/hvd_ops_host.dir/$1.o")
  if ! grep -Eq "\b$2\s+v[0-9]+\.(4s|2d)" <<<"$code"; then
    echo "neon_test.sh: no NEON: $1 has no $2 of vectors" >&2
    exit 1
  fi
  if grep -Eq "\b$2\s+s[0-9]" <<<"$code"; then
    echo "neon_test.sh: $1 has $2 of single numbers too" >&2
    exit 1
  fi
}
for instruction in fadd fmul fcmgt; do expect_vectors reduce_baseline.cpp $instruction; done
expect_vectors float_conversion.cpp fadd
expect_vectors sum_of_squares.cpp fadd

qemu-aarch64 "$BUILD/neon_tests"
