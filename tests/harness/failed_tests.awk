# Repeats from ctest's LastTest.log what a reader needs of each test that failed: its name, and up to 40 lines of its output from
# the first that tells of a failure on (its last 15, if none does).
function close_block(   i, first, last) {
  if (!in_block || !block_failed) return
  print name
  first = told ? told : (lines > 15 ? lines - 14 : 1)
  last = first + 39 < lines ? first + 39 : lines
  for (i = first; i <= last; ++i) print "  " output[i]
}
/^[0-9]+\/[0-9]+ Testing: / { close_block(); in_block = 1; block_failed = 1; lines = 0; told = 0; name = $3; next }
/^Test Passed\.$/ || /^Test Pass Reason:/ { block_failed = 0 }
in_block && !told && (/: Failure$/ || /runtime error:|ERROR: AddressSanitizer|WARNING: ThreadSanitizer|ERROR: LeakSanitizer/) { told = lines + 1 }
in_block { output[++lines] = $0 }
END { close_block() }
