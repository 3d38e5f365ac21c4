#!/usr/bin/env python3
"""Tests of include_rules.py on small trees, good and bad."""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

# A git command (a hook, a rebase --exec) hands these down; git would then look at its repository, not at the sample tree.
for variable in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[variable]

sys.path.insert(0, str(Path(__file__).parent))
import include_rules  # noqa: E402

# Headers that the samples include.
TARGETS = [
    "horovod_cpp/base/status.h",
    "horovod_cpp/ports/transport.h",
    "horovod_cpp/coordinator/negotiator.h",
    "horovod_cpp/rendezvous/server.h",
    "horovod_cpp/session.h",
    "ops/host/reduce.h",
    "ops/host/float_conversion.h",
    "ops/mpi/mpi_transport.h",
    "bindings/runtime/include/horovod_cpp/world.h",
    "bindings/runtime/plugin_loader.h",
    "bindings/torch/include/horovod_cpp/torch/context.h",
    "launcher/job.h",
    "tests/harness/seed.h",
]

GOOD = [
    ("horovod_cpp/base/a.cpp", "#include <vector>\n#include <sys/socket.h>\n#include \"horovod_cpp/base/status.h\""),
    ("horovod_cpp/coordinator/a.cpp", '#include "horovod_cpp/ports/transport.h"'),
    ("horovod_cpp/session.cpp", '#include "horovod_cpp/coordinator/negotiator.h"'),
    ("ops/shm/a.cpp", '#include "ops/host/reduce.h"'),
    ("ops/mpi/c.cpp", '#include "ops/host/float_conversion.h"'),
    ("ops/mpi/a.cpp", "#include <mpi.h>"),
    ("ops/mpi/b.cpp", "#if defined(OMPI_MPI_H)\n#endif"),
    ("ops/cuda/a.cpp", "#include <nccl.h>\n#if NCCL_VERSION_CODE > 22900\n#endif"),
    ("bindings/runtime/plugin_loader.cpp", "#if HVD_WITH_MPI\n#endif"),
    ("bindings/torch/a.cpp", '#include <torch/types.h>\n#include "horovod_cpp/world.h"'),
    ("bindings/torch/b.cpp", '#include "horovod_cpp/torch/context.h"'),
    ("launcher/a.cpp", '#include <CLI/CLI.hpp>\n#include "horovod_cpp/rendezvous/server.h"'),
    ("examples/a.cpp", "#include <torch/torch.h>\n#include <horovod_cpp/torch/context.h>"),
    ("tests/unit/a.cpp", '#include <gtest/gtest.h>\n#include "ops/mpi/mpi_transport.h"'),
    ("tests/bench/a.cpp", "#include <mpi.h>\n#include <benchmark/benchmark.h>"),
    ("tests/gpu/a.cpp", "#include <cuda.h>\n#include <cuda_runtime.h>"),
    ("horovod_cpp/base/log.cpp", "const std::time_t now = std::time(nullptr);"),
    ("horovod_cpp/base/c.cpp", "const auto now = std::chrono::steady_clock::now();  // not system_clock"),
    ("horovod_cpp/base/b.cpp", "#if defined(__x86_64__)\n#endif\n#ifdef __AVX2__\n#endif"),
]

BAD = [
    ("horovod_cpp/base/a.cpp", "const auto now = std::chrono::system_clock::now();", "the time of day jumps"),
    ("ops/shm/a.cpp", "::clock_gettime(CLOCK_REALTIME, &now);", "the time of day jumps"),
    ("launcher/a.cpp", "const std::time_t now = ::time(nullptr);", "the time of day jumps"),
    ("launcher/a.cpp", "pthread_cond_timedwait(&a, &b, &until);", "the time of day jumps"),
    ("horovod_cpp/base/a.cpp", '#include "horovod_cpp/ports/transport.h"', "may not include"),
    ("horovod_cpp/ports/a.cpp", '#include "horovod_cpp/coordinator/negotiator.h"', "may not include"),
    ("horovod_cpp/coordinator/a.cpp", '#include "horovod_cpp/session.h"', "may not include"),
    ("horovod_cpp/transport/a.cpp", '#include "horovod_cpp/coordinator/negotiator.h"', "may not include"),
    ("horovod_cpp/session.cpp", '#include "ops/host/reduce.h"', "may not include"),
    ("ops/host/a.cpp", '#include "horovod_cpp/coordinator/negotiator.h"', "may not include"),
    ("ops/cuda/a.cpp", '#include "ops/mpi/mpi_transport.h"', "may not include"),
    ("ops/host/b.cpp", '#include "horovod_cpp/session.h"', "may not include"),
    ("launcher/a.cpp", '#include "horovod_cpp/world.h"', "may not include"),
    ("launcher/b.cpp", '#include "horovod_cpp/session.h"', "may not include"),
    ("horovod_cpp/b.cpp", '#include "horovod_cpp/world.h"', "may not include"),
    ("bindings/runtime/include/horovod_cpp/x.h", '#pragma once\n#include "bindings/runtime/plugin_loader.h"', "may not include"),
    ("bindings/torch/a.cpp", '#include "tests/harness/seed.h"', "may not include"),
    ("bindings/torch/b.cpp", '#include "launcher/job.h"', "may not include"),
    ("examples/a.cpp", '#include "horovod_cpp/session.h"', "may not include"),
    ("bindings/torch/include/horovod_cpp/torch/x.h", '#pragma once\n#include "horovod_cpp/world.h"', "may not include"),
    ("ops/host/c.cpp", "#include <mpi.h>", "only ops/mpi"),
    ("horovod_cpp/base/c.cpp", "#include <cuda.h>", "only ops/cuda"),
    ("ops/mpi/c.cpp", "  #  include <nccl.h>", "only ops/cuda"),
    ("bindings/runtime/a.cpp", "#include <torch/types.h>", "only bindings/torch"),
    ("horovod_cpp/base/d.cpp", "#include <fmt/format.h>", "only launcher"),
    ("horovod_cpp/base/e.cpp", "#include <boost/any.hpp>", "does not know"),
    ("horovod_cpp/base/f.cpp", '#include "status.h"', "path from the repository root"),
    ("horovod_cpp/base/g.cpp", '#include "horovod_cpp/base/../base/status.h"', "path from the repository root"),
    ("horovod_cpp/base/h.cpp", '#include "horovod_cpp/base/none.h"', "no such file"),
    ("horovod_cpp/base/i.h", "int i;", "#pragma once"),
    ("horovod_cpp/session.cpp", "#ifdef HVD_WITH_MPI\n#endif", "preprocessor condition"),
    ("bindings/torch/c.cpp", "#if defined(HAVE_CUDA)\n#endif", "preprocessor condition"),
    ("bindings/runtime/b.cpp", "#if 1\n#elif HVD_HAVE_NCCL\n#endif", "preprocessor condition"),
    ("horovod_cpp/base/j.cpp", "\n" * 351, "351 lines"),
    ("tests/unit/j.py", "\n" * 400, "400 lines"),
]


def check(samples, with_git=False):
    with tempfile.TemporaryDirectory(prefix="hvd-test-") as folder:
        root = Path(folder)
        for path, text in [(target, "#pragma once\n") for target in TARGETS] + samples:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        if with_git:
            subprocess.run(["git", "init", "-q", folder], check=True)
        return include_rules.check_tree(root)


class IncludeRules(unittest.TestCase):
    def test_good_files_pass(self):
        self.assertEqual(check(GOOD), [])

    def test_each_bad_file_is_found(self):
        for path, text, expected in BAD:
            with self.subTest(path=path, text=text[:60]):
                violations = check([(path, text)])
                self.assertEqual(len(violations), 1, violations)
                self.assertTrue(violations[0].startswith(path + ":"), violations)
                self.assertIn(expected, violations[0])

    def test_the_line_is_named(self):
        self.assertTrue(check([("ops/host/a.cpp", "\n\n#include <mpi.h>\n")])[0].startswith("ops/host/a.cpp:3: "))

    def test_ignored_files_do_not_count(self):
        bad = ("build/x.cpp", '#include "status.h"')
        self.assertEqual(check([bad, (".gitignore", "/build/\n")], with_git=True), [])
        self.assertEqual(len(check([bad], with_git=True)), 1)

    def test_every_area_of_the_table_is_in_the_tree(self):
        root = Path(__file__).resolve().parents[2]
        for area in include_rules.LAYERS:
            self.assertTrue((root / area).is_dir(), area)

    def test_the_program_fails_on_a_violation(self):
        with tempfile.TemporaryDirectory(prefix="hvd-test-") as folder:
            (Path(folder) / "a.h").write_text("")
            run = subprocess.run([sys.executable, include_rules.__file__, folder], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stdout, "a.h:1: a header without #pragma once\n")


if __name__ == "__main__":
    unittest.main()
