#include "examples/shared/checkpoint.h"

#include <torch/serialize/archive.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "examples/shared/read_on_rank_0.h"

namespace examples {

void save_checkpoint(const std::string& file, const torch::nn::Module& model,
                     const torch::optim::Optimizer& optimizer, std::int64_t done,
                     const std::string& made_for) {
  torch::serialize::OutputArchive archive;
  torch::serialize::OutputArchive model_archive;
  torch::serialize::OutputArchive optimizer_archive;
  model.save(model_archive);
  optimizer.save(optimizer_archive);
  archive.write("model", model_archive);
  archive.write("optimizer", optimizer_archive);
  archive.write("done", c10::IValue(done));
  archive.write("made_for", c10::IValue(made_for));
  const std::string unfinished = file + ".unfinished";
  archive.save_to(unfinished);
  std::filesystem::rename(unfinished, file);
}

std::int64_t load_checkpoint(const std::string& file, torch::nn::Module& model,
                             torch::optim::Optimizer& optimizer, const std::string& made_for) {
  std::istringstream in(read_on_rank_0([&] {
    std::ifstream bytes(file, std::ios::binary);
    if (!bytes) throw std::runtime_error("--resume: cannot read the checkpoint '" + file + "'");
    return std::string(std::istreambuf_iterator<char>(bytes), {});
  }));

  torch::serialize::InputArchive archive;
  torch::serialize::InputArchive model_archive;
  torch::serialize::InputArchive optimizer_archive;
  archive.load_from(in);
  c10::IValue found;
  archive.read("made_for", found);
  if (found.toStringRef() != made_for) {
    throw std::runtime_error("--resume: the checkpoint '" + file + "' was made for " + found.toStringRef() +
                             ", and this run has " + made_for);
  }
  archive.read("model", model_archive);
  archive.read("optimizer", optimizer_archive);
  model.load(model_archive);
  optimizer.load(optimizer_archive);
  c10::IValue done;
  archive.read("done", done);
  return done.toInt();
}

}  // namespace examples
