# Counts test cases in ctest's LastTest.log: prints "PASSED FAILED". A gtest program counts as its cases, any other test as one.
# Under mpirun every rank prints its own summary: the largest counts.
function close_block() {
  if (!in_block) return
  if (block_failed && cases_failed == 0) cases_failed = 1
  if (!block_failed && cases_passed + cases_failed == 0) cases_passed = 1
  passed += cases_passed
  failed += cases_failed
  in_block = 0
}
/^[0-9]+\/[0-9]+ Testing: / { close_block(); in_block = 1; block_failed = 1; cases_passed = 0; cases_failed = 0 }
/^\[  PASSED  \] [0-9]+ test/ { if ($4 > cases_passed) cases_passed = $4 }
/^\[  FAILED  \] [0-9]+ test/ { if ($4 > cases_failed) cases_failed = $4 }
/^Test Passed\.$/ || /^Test Pass Reason:/ { block_failed = 0 }
END { close_block(); print passed + 0, failed + 0 }
