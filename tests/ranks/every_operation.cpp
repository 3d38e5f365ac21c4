#include "tests/ranks/every_operation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

std::string words_of(const std::vector<float>& values) {
  std::string out = "[";
  for (const float value : values) out += text(' ', value);
  return out + " ]";
}

// Averages over 3 or 7 ranks are rounded.
bool is_close(float got, float expected) {
  return std::abs(got - expected) <= 1e-5F * std::max(1.0F, std::abs(expected));
}

std::string compare(const std::string& what, const std::vector<float>& got,
                    const std::vector<float>& expected) {
  if (got.size() == expected.size() && std::equal(got.begin(), got.end(), expected.begin(), is_close))
    return "";
  return text(what, ": expected ", words_of(expected), ", got ", words_of(got));
}

std::string compare(const std::string& what, const Work& work, const std::vector<float>& got,
                    const std::vector<float>& expected, const std::vector<std::int64_t>& rows) {
  const Status status = work.wait(soon());
  if (!status.is_ok()) return status.message();
  if (work.result() != rows) return text(what, ": the rows from each member are wrong");
  return compare(what, got, expected);
}

// Member i brings a number of rows of 3 that depends on the variant; often none.
std::string gather(Session& session, const Membership& set, const std::string& name, int variant) {
  const auto rows_of = [&](int member) { return static_cast<std::int64_t>((member + variant) % 4); };
  const std::vector<float> input(static_cast<std::size_t>(rows_of(set.position)) * 3,
                                 static_cast<float>(set.position));
  std::vector<float> expected;
  std::vector<std::int64_t> rows;
  for (int member = 0; member < static_cast<int>(set.members.size()); ++member) {
    rows.push_back(rows_of(member));
    expected.insert(expected.end(), static_cast<std::size_t>(rows.back()) * 3, static_cast<float>(member));
  }
  std::vector<float> result;
  const Work work = submit_rows(session, float_tensor(OpKind::allgather, name, {3}, set.id), input,
                                {rows_of(set.position)}, result);
  return compare(name, work, result, expected, rows);
}

// Member a sends (a + b + variant) % 3 rows of 2 to member b.
std::string exchange(Session& session, const Membership& set, const std::string& name, int variant) {
  const int n = static_cast<int>(set.members.size());
  const auto rows = [variant](int a, int b) { return static_cast<std::int64_t>((a + b + variant) % 3); };
  const auto value = [n](int a, int b) { return static_cast<float>(a * n + b); };
  std::vector<float> input;
  std::vector<float> expected;
  Extents splits;
  std::vector<std::int64_t> received;
  for (int other = 0; other < n; ++other) {
    splits.push_back(rows(set.position, other));
    received.push_back(rows(other, set.position));
    input.insert(input.end(), static_cast<std::size_t>(splits.back()) * 2, value(set.position, other));
    expected.insert(expected.end(), static_cast<std::size_t>(received.back()) * 2,
                    value(other, set.position));
  }
  std::vector<float> result;
  const Work work =
      submit_rows(session, float_tensor(OpKind::alltoall, name, {2}, set.id), input, splits, result);
  return compare(name, work, result, expected, received);
}

std::string scatter(Session& session, const Membership& set, const std::string& name, int variant) {
  const std::int64_t rows = 2 * static_cast<std::int64_t>(set.members.size()) + variant % 3;
  std::vector<float> input(static_cast<std::size_t>(rows) * 5);
  std::iota(input.begin(), input.end(), static_cast<float>(set.position));
  const auto parts = reducescatter_rows(rows, set.members.size());
  std::vector<float> result(static_cast<std::size_t>(parts[static_cast<std::size_t>(set.position)]) * 5,
                            -1.0F);
  const auto first = std::accumulate(parts.begin(), parts.begin() + set.position, std::int64_t{0}) * 5;
  std::vector<float> expected(result.size());
  std::iota(expected.begin(), expected.end(),
            static_cast<float>(first) + static_cast<float>(set.members.size() - 1) / 2.0F);
  const Work work = submit(session, float_tensor(OpKind::reducescatter, name, {rows, 5}, set.id),
                           input.data(), result.data());
  return compare(name, work, result, expected, {});
}

std::string average(Session& session, const Membership& set, const std::string& name, int variant) {
  std::vector<float> data(static_cast<std::size_t>(17 + variant), static_cast<float>(set.position + variant));
  const std::vector<float> expected(
      data.size(), static_cast<float>(set.members.size() - 1) / 2.0F + static_cast<float>(variant));
  const Work work =
      submit(session, float_tensor(OpKind::allreduce, name, {static_cast<std::int64_t>(data.size())}, set.id),
             data.data());
  return compare(name, work, data, expected, {});
}

std::string broadcast(Session& session, const Membership& set, const std::string& name, int variant) {
  Declaration declaration = float_tensor(OpKind::broadcast, name, {9}, set.id);
  declaration.root = set.members[static_cast<std::size_t>(variant) % set.members.size()];
  std::vector<float> data(9, static_cast<float>(session.rank()));
  const Work work = submit(session, declaration, data.data());
  return compare(name, work, data, std::vector<float>(9, static_cast<float>(declaration.root)), {});
}

std::string barrier(Session& session, const Membership& set, const std::string& name, int) {
  return submit(session, float_tensor(OpKind::barrier, name, {}, set.id), nullptr).wait(soon()).message();
}

// The first that is not "".
std::string first_of(const std::vector<std::string>& all) {
  const auto found =
      std::find_if(all.begin(), all.end(), [](const std::string& one) { return !one.empty(); });
  return found == all.end() ? "" : *found;
}

// Runs all at once, each on a thread of its own.
std::string at_once(const std::vector<std::function<std::string()>>& jobs) {
  std::vector<std::string> wrong(jobs.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < jobs.size(); ++i) threads.emplace_back([&, i] { wrong[i] = jobs[i](); });
  for (std::thread& thread : threads) thread.join();
  return first_of(wrong);
}

}  // namespace

Membership all_ranks(const Session& session) { return {0, *session.process_set(0), session.rank()}; }

Membership add_set(Session& session, const std::vector<int>& ranks) {
  const Work work = session.add_process_set(ranks);
  if (const Status status = work.wait(soon()); !status.is_ok()) throw std::runtime_error(status.message());
  const int id = static_cast<int>(work.result().front());
  const std::vector<int> members = *session.process_set(id);
  return {id, members, position_in(members, session.rank())};
}

std::string do_step(Session& session, const Membership& set, Step step, const std::string& name,
                    int variant) {
  switch (step) {
    case Step::gather:
      return gather(session, set, name, variant);
    case Step::exchange:
      return exchange(session, set, name, variant);
    case Step::scatter:
      return scatter(session, set, name, variant);
    case Step::average:
      return average(session, set, name, variant);
    case Step::broadcast:
      return broadcast(session, set, name, variant);
    case Step::barrier:
      return barrier(session, set, name, variant);
  }
  return "no such step";
}

std::string do_every_step(Session& session, const Membership& set, const std::string& name, int variant) {
  for (int step = 0; step < kSteps; ++step) {
    const std::string wrong =
        do_step(session, set, static_cast<Step>(step), text(name, " step ", step), variant);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string use_overlapping_sets(Session& session, int rounds) {
  std::vector<Membership> sets;
  for (const std::vector<int>& ranks :
       std::vector<std::vector<int>>{{0, 1}, {1, 2, 3}, {2}, {0, 1, 2, 3}, {0, 3}})
    sets.push_back(add_set(session, ranks));
  std::vector<std::function<std::string()>> jobs;
  for (const Membership& set : sets) {
    if (set.position < 0) continue;
    jobs.push_back([&session, &set, rounds] {
      std::string wrong;
      for (int round = 0; round < rounds && wrong.empty(); ++round)
        wrong = do_every_step(session, set, "x", round);
      return wrong;
    });
  }
  if (std::string wrong = at_once(jobs); !wrong.empty()) return wrong;
  for (const Membership& set : sets) {
    const Status status = session.remove_process_set(set.id).wait(soon());
    if (!status.is_ok()) return status.message();
    if (session.process_set(set.id)) return text("process set ", set.id, " is still there");
  }
  return do_every_step(session, all_ranks(session), "after", 1);
}

std::string join_when_out_of_data(Session& session) {
  const int n = session.size();
  for (int batch = 0; batch <= session.rank(); ++batch) {
    const auto with_data = static_cast<float>(n - batch);
    std::vector<float> average(1, 1.0F);
    std::string wrong =
        submit(session, float_tensor(OpKind::allreduce, "x", {}), average.data()).wait(soon()).message();
    if (wrong.empty()) wrong = compare("average", average, {with_data / static_cast<float>(n)});
    std::vector<float> rows;
    if (wrong.empty())
      wrong = submit_rows(session, float_tensor(OpKind::allgather, "rows", {}), {1.0F}, {1}, rows)
                  .wait(soon())
                  .message();
    if (wrong.empty())
      wrong = compare("rows", rows, std::vector<float>(static_cast<std::size_t>(n - batch), 1.0F));
    const std::vector<float> input(static_cast<std::size_t>(n), static_cast<float>(n));
    std::vector<float> part(1);
    if (wrong.empty())
      wrong = submit(session, float_tensor(OpKind::reducescatter, "part", {n}), input.data(), part.data())
                  .wait(soon())
                  .message();
    if (wrong.empty()) wrong = compare("part", part, {with_data});
    Declaration from_last = float_tensor(OpKind::broadcast, "from the last", {2});
    from_last.root = n - 1;
    std::vector<float> data(2, static_cast<float>(session.rank()));
    if (wrong.empty()) wrong = submit(session, from_last, data.data()).wait(soon()).message();
    if (wrong.empty()) wrong = compare("broadcast", data, std::vector<float>(2, static_cast<float>(n - 1)));
    if (!wrong.empty()) return text("batch ", batch, ": ", wrong);
  }
  const Work join = session.join();
  if (const Status status = join.wait(soon()); !status.is_ok()) return status.message();
  if (join.result() != std::vector<std::int64_t>{n - 1}) return "the last rank to join is another one";
  return do_every_step(session, all_ranks(session), "after", 2);
}

std::string interleave(Session& session, std::uint64_t seed, int rounds) {
  constexpr int kGradients = 12;
  constexpr int kAdHoc = 8;
  const Membership all = all_ranks(session);
  std::mt19937_64 common(seed);  // the same on every rank
  std::mt19937_64 own(seed + 1 + static_cast<std::uint64_t>(session.rank()));
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::pair<Step, int>> ad_hoc;
    for (int i = 0; i < kAdHoc; ++i)
      ad_hoc.emplace_back(static_cast<Step>(common() % kSteps), static_cast<int>(common() % 5));
    std::vector<int> gradient_order(kGradients);
    std::vector<int> ad_hoc_order(kAdHoc);
    std::iota(gradient_order.begin(), gradient_order.end(), 0);
    std::iota(ad_hoc_order.begin(), ad_hoc_order.end(), 0);
    std::shuffle(gradient_order.begin(), gradient_order.end(), own);
    std::shuffle(ad_hoc_order.begin(), ad_hoc_order.end(), own);

    const auto train = [&]() -> std::string {
      std::vector<std::vector<float>> gradients;
      for (int i = 0; i < kGradients; ++i)
        gradients.emplace_back(static_cast<std::size_t>(100 * i),
                               static_cast<float>(session.rank() + i + round));
      std::vector<Work> work;
      for (const int i : gradient_order) {
        work.push_back(submit(session, float_tensor(OpKind::allreduce, text("gradient ", i), {100 * i}),
                              gradients[static_cast<std::size_t>(i)].data()));
      }
      for (const Work& one : work) {
        if (const Status status = one.wait(soon()); !status.is_ok()) return status.message();
      }
      for (int i = 0; i < kGradients; ++i) {
        const std::vector<float> expected(
            static_cast<std::size_t>(100 * i),
            static_cast<float>(i + round) + static_cast<float>(session.size() - 1) / 2.0F);
        if (std::string wrong =
                compare(text("gradient ", i), gradients[static_cast<std::size_t>(i)], expected);
            !wrong.empty())
          return wrong;
      }
      return "";
    };
    // Ranks wait for each operation before the next, in orders of their own: each needs a thread, or they would wait for each other.
    std::vector<std::function<std::string()>> jobs{train};
    for (const int i : ad_hoc_order) {
      jobs.push_back([&session, &all, &ad_hoc, i] {
        const auto& [step, variant] = ad_hoc[static_cast<std::size_t>(i)];
        return do_step(session, all, step, text("ad hoc ", i), variant);
      });
    }
    if (const std::string wrong = at_once(jobs); !wrong.empty()) return text("round ", round, ": ", wrong);
  }
  return "";
}

}  // namespace hvd
