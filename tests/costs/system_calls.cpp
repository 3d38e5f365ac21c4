#include "tests/costs/system_calls.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "horovod_cpp/base/text.h"

#if defined(__x86_64__) && defined(PR_SET_SYSCALL_USER_DISPATCH)

// The handler's way back is a system call, too: the only one that the kernel lets through, by its address.
asm(R"(
  .text
  .globl hvd_costs_return
  .type hvd_costs_return, @function
hvd_costs_return:
  mov $15, %eax
  syscall
  nop
  nop
  .size hvd_costs_return, .-hvd_costs_return
)");
extern "C" void hvd_costs_return();

namespace hvd {
namespace {

constexpr std::size_t kReturnBytes = 9;
constexpr std::size_t kNumbers = 512;

thread_local constinit volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
thread_local constinit std::array<int, kNumbers> counts{};

long call(long number, const greg_t* registers) {
  long result = number;
  register long fourth asm("r10") = registers[REG_R10];
  register long fifth asm("r8") = registers[REG_R8];
  register long sixth asm("r9") = registers[REG_R9];
  asm volatile("syscall"
               : "+a"(result)
               : "D"(registers[REG_RDI]), "S"(registers[REG_RSI]), "d"(registers[REG_RDX]), "r"(fourth),
                 "r"(fifth), "r"(sixth)
               : "rcx", "r11", "memory");
  return result;
}

void on_call(int, siginfo_t* info, void* context) {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  ++counts[static_cast<std::size_t>(info->si_syscall) % kNumbers];
  registers[REG_RAX] = call(info->si_syscall, registers);
  selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

// As the kernel has it: the C library would put in a way back of its own.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  unsigned long mask;
};
constexpr unsigned long kHasRestorer = 0x04000000;

bool install_handler() {
  const KernelAction action{&on_call, SA_SIGINFO | kHasRestorer, &hvd_costs_return, 0};
  return ::syscall(SYS_rt_sigaction, SIGSYS, &action, nullptr, sizeof action.mask) == 0;
}

bool dispatch(bool on) {
  if (!on) return ::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0;
  return ::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, &hvd_costs_return, kReturnBytes,
                 &selector) == 0;
}

}  // namespace

bool SystemCalls::can_be_counted() { return install_handler() && dispatch(true) && dispatch(false); }

SystemCalls::SystemCalls() {
  static const bool is_installed = install_handler();
  counts = {};
  if (is_installed && dispatch(true)) selector = SYSCALL_DISPATCH_FILTER_BLOCK;
}

SystemCalls::~SystemCalls() {
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  dispatch(false);
}

int SystemCalls::count() const {
  int sum = 0;
  for (const int one : counts) sum += one;
  return sum;
}

int SystemCalls::count(long number) const { return counts[static_cast<std::size_t>(number)]; }

std::string SystemCalls::describe() const {
  std::string words;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    if (counts[i] > 0) words += text(words.empty() ? "" : ", ", counts[i], " x ", i);
  }
  return words;
}

}  // namespace hvd

#else

namespace hvd {

bool SystemCalls::can_be_counted() { return false; }
SystemCalls::SystemCalls() = default;
SystemCalls::~SystemCalls() = default;
int SystemCalls::count() const { return 0; }
int SystemCalls::count(long) const { return 0; }
std::string SystemCalls::describe() const { return {}; }

}  // namespace hvd

#endif
