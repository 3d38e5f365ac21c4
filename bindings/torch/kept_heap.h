// The heap of a process whose gradients lie in an arena.
//
// Gradients are the last that a backward allocates, and they stay: they hold the end of the heap in place. In an arena they do not, so
// glibc gives what activations leave back to the system at the end of every backward, and the next one faults it in again, page by page: of a
// step of char_gpt that was 6 %.
#pragma once

namespace hvd {

// From now on memory below 32 MiB that this process frees stays with it. Does nothing if MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ or
// GLIBC_TUNABLES is set, or without glibc. Any thread.
void keep_heap();

}  // namespace hvd
