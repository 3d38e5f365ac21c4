#include "tests/harness/process_case.h"

int main(int argc, char** argv) { return hvd::run_test_program(argc, argv); }
