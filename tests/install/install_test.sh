#!/usr/bin/env bash
# Installs the build, looks at what came out, builds programs against it and runs them, moves it, and runs them again.
#
# install_test.sh CMAKE_ARGUMENT...: the arguments (generator, compiler) are for each program's configuration. From the environment:
#   BUILD    the build folder; everything happens in install_test/ there, which is removed at the end
#   CMAKE    the cmake to use           CXX    the compiler
#   PLUGINS  those that were built      TORCH  folder of TorchConfig.cmake, or nothing
#   MPIEXEC  mpirun, if PLUGINS has mpi
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C.UTF-8
unset LD_LIBRARY_PATH HVD_PLUGIN_PATH CMAKE_PREFIX_PATH
configure_arguments=("$@")
consumer=$PWD/consumer
work=$BUILD/install_test
prefix=$work/first
jobs=${HVD_JOBS:-2}
[ "$TORCH" = Torch_DIR-NOTFOUND ] && TORCH=

say() { printf '== %4d s  %s\n' $SECONDS "$*"; }
fail() {
  printf 'install_test.sh: %s\n' "$*" >&2
  exit 1
}

# expect "WHAT" PATTERN TEXT, and the opposite
expect() { grep -Eq -- "$2" <<<"$3" || fail "$1: expected /$2/ in:"$'\n'"$3"; }
expect_no() { if grep -Eq -- "$2" <<<"$3"; then fail "$1: did not expect /$2/ in:"$'\n'"$3"; fi; }

# configure PROGRAM [ARGUMENT...]: into $work/PROGRAM
configure() {
  local program=$1
  shift
  "$CMAKE" -S "$consumer/$program" -B "$work/$program" "${configure_arguments[@]}" "$@" 2>&1
}

# refused WHAT PATTERN ARGUMENT...: find_package must fail, and say why
refused() {
  local what=$1 pattern=$2 output
  shift 2
  rm -rf "$work/refused"
  if output=$(configure refused -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON "$@"); then
    fail "$what was accepted"
  fi
  # CMake breaks long lines.
  expect "$what" "$pattern" "$(tr -s ' \n' ' ' <<<"$output")"
}

run_two() { timeout 120 "$prefix/bin/hvdrun" -np 2 "$@" 2>&1; }

needed() { readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
exports() { nm -DC --defined-only "$1" | cut -d ' ' -f 3-; }

look_at_files() {
  local file
  for file in bin/hvdrun bin/hvd_check_build include/horovod_cpp/{session,world,torch}.h share/doc/horovod_cpp/LICENSE; do
    [ -e "$prefix/$file" ] || fail "$file is not installed"
  done
  [ "$(ls "$prefix/include")" = horovod_cpp ] || fail "headers of others are installed: $(ls "$prefix/include")"
  for file in $PLUGINS; do
    [ -e "$prefix/lib/horovod_cpp/hvd_$file.so" ] || fail "the plugin $file is not installed"
  done
  # Nothing may name the tree it was built from.
  file=$(grep -rlF -- "$(cd ../.. && pwd)/" "$prefix/lib/cmake" "$prefix/share" "$prefix/include" || true)
  [ -z "$file" ] || fail "the source tree is named in $file"
}

look_at_libraries() {
  local core=$prefix/lib/libhorovod_cpp.so file others
  expect "SONAME of the core" 'SONAME.*\[libhorovod_cpp\.so\.[0-9]+\.[0-9]+\]' "$(readelf -dW "$core")"
  for file in "$core" "$prefix"/bin/*; do
    others=$(needed "$file" | grep -Ev '^(libstdc\+\+|libm|libgcc_s|libc|libpthread|libdl|librt|ld-linux[^.]*|libssl|libcrypto|libhorovod_cpp)\.so' || true)
    [ -z "$others" ] || fail "$file needs $others"
  done
  expect "the core's functions" '^hvd::open_session\(\)$' "$(exports "$core")"
  # The public API has some fifty functions. Without exports.map it would be hundreds, inner ones and the standard library's.
  expect_no "the core's exports" '^(std::|vtable|typeinfo|hvd::(Coordinator|Session::Body)|.*anonymous)' "$(exports "$core")"
  for file in $PLUGINS; do
    file=$prefix/lib/horovod_cpp/hvd_$file.so
    expect "$file" '^hvd_plugin_entry$' "$(exports "$file")"
    expect_no "$file" '^hvd::' "$(exports "$file")"
    expect_no "$file: looked up at run time, in the copy that the process has" '^lib(cuda|cudart|nccl)' "$(needed "$file")"
  done
}

# Every header compiles alone, and finds what it includes. Headers that see torch take long: the source of the same name
# shows it, by including its own header before anything else. One without a source sees none.
look_at_headers() {
  local header source first
  (cd "$prefix/include" && find horovod_cpp -name '*.h' ! -path 'horovod_cpp/torch*') |
    xargs -n 1 -P "$jobs" sh -c 'echo "#include <$1>" | "$CXX" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I "$0" -x c++ -' "$prefix/include" ||
    fail "a header does not compile alone"
  for header in "$prefix"/include/horovod_cpp/torch/*.h; do
    header=$(basename "$header" .h)
    source=$prefix/share/horovod_cpp/bindings/torch/$header.cpp
    if [ ! -e "$source" ]; then
      echo "#include <horovod_cpp/torch/$header.h>" | "$CXX" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I "$prefix/include" -x c++ - ||
        fail "$header.h does not compile without torch, and $source is not installed"
      continue
    fi
    first=$(grep -m 1 '^#include' "$source")
    [ "$first" = "#include \"horovod_cpp/torch/$header.h\"" ] || fail "$source includes $first before its own header"
  done
}

look_at_check_build() {
  local output plugin
  output=$("$prefix/bin/hvdrun" --check-build)
  expect "--check-build" '\[X\] shared memory' "$output"
  expect_no "--check-build" 'looked for.*/hvd_('"$(tr ' ' '|' <<<"${PLUGINS% }")"')\.so' "$output"
  case $PLUGINS in *mpi*) expect "--check-build" '\[X\] MPI: ' "$output" ;; esac

  # In another place they are found by name.
  [ -n "$PLUGINS" ] || return 0
  plugin=hvd_${PLUGINS%% *}.so
  mv "$prefix/lib/horovod_cpp" "$work/plugins"
  output=$("$prefix/bin/hvdrun" --check-build)
  expect "--check-build without plugins" "looked for .*$prefix/lib/horovod_cpp/$plugin.*HVD_PLUGIN_PATH" "$output"
  output=$(HVD_PLUGIN_PATH=$work/plugins "$prefix/bin/hvdrun" --check-build)
  expect_no "--check-build with HVD_PLUGIN_PATH" "looked for .*/$plugin" "$output"
  mv "$work/plugins" "$prefix/lib/horovod_cpp"
}

build_sum() {
  rm -rf "$work/sum"
  configure sum -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON >"$work/log" || fail "sum: $(cat "$work/log")"
  "$CMAKE" --build "$work/sum" -j "$jobs" >"$work/log" 2>&1 || fail "sum: $(cat "$work/log")"
}

run_sum() {
  local output
  output=$("$(dirname "$CMAKE")/ctest" --test-dir "$work/sum" -V 2>&1) || fail "sum: $output"
  expect "sum" 'rank 0 of 2: right' "$output"
  expect "sum" 'rank 1 of 2: right' "$output"
  case $PLUGINS in *mpi*)
    output=$(HVD_CONTROL=mpi HVD_CPU_OPERATIONS=mpi timeout 120 "$MPIEXEC" -np 2 "$work/sum/sum" 2>&1) || fail "sum on MPI: $output"
    expect "sum on MPI" 'rank 1 of 2: right, control mpi, cpu mpi' "$output"
    ;;
  esac
}

build_train() {
  configure train -DCMAKE_PREFIX_PATH="$prefix;$TORCH" >"$work/log" || fail "train: $(cat "$work/log")"
  "$CMAKE" --build "$work/train" -j "$jobs" >"$work/log" 2>&1 || fail "train: $(cat "$work/log")"
  # One core in the process: the shared one.
  expect "train" '^libhorovod_cpp\.so\.' "$(needed "$work/train/train")"
  expect_no "train" ' [TWV] hvd::Session::create' "$(nm -C "$work/train/train")"
}

run_train() {
  local output
  output=$(LD_LIBRARY_PATH=${1:-} run_two "$work/train/train") || fail "train: $output"
  expect "train" 'rank 0 of 2: loss .*, replicas are equal' "$output"
  expect "train" 'rank 1 of 2: loss .*, replicas are equal' "$output"
}

rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say "install"
"$CMAKE" --install "$BUILD" --prefix "$prefix" >"$work/log" 2>&1 || fail "$(tail -n 5 "$work/log"): is everything built?"
look_at_files
look_at_libraries
look_at_headers
look_at_check_build

say "what find_package refuses"
refused "version 0.9" 'requested version "0\.9"' -DWANTED_VERSION=0.9
refused "component tensorflow" "there is no component 'tensorflow'" -DWANTED_COMPONENTS=tensorflow
refused "torch without LibTorch" 'component torch needs LibTorch.*CMAKE_PREFIX_PATH' -DWANTED_COMPONENTS=torch

say "a program on horovod_cpp::core"
build_sum
run_sum

if [ -n "$TORCH" ]; then
  say "a program on horovod_cpp::torch"
  build_train
  run_train
fi

say "moved"
mkdir "$work/elsewhere"
mv "$prefix" "$work/elsewhere/second"
prefix=$work/elsewhere/second
look_at_check_build
build_sum
run_sum
if [ -n "$TORCH" ]; then
  # A program knows where the core was when it was linked.
  run_train "$prefix/lib"
  rm -rf "$work/train"
  configure train -DCMAKE_PREFIX_PATH="$prefix;$TORCH" >"$work/log" || fail "train, moved: $(cat "$work/log")"
fi
say "done"
