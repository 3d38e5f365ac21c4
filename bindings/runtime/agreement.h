// Agreement: what fails or differs on one rank while a world comes up is told on every rank, so that nobody waits for who has left.
#pragma once

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Collective. ok if every rank's `mine` is ok; otherwise the failure of the lowest rank that has one, on every rank.
Status agree(Transport& bootstrap, const Status& mine, Deadline deadline);

// Collective. invalid_argument on every rank, with all such settings, ranks and values, if the ranks disagree on settings that decide
// what they do together.
Status agree_on_settings(Transport& bootstrap, const Config& config, Deadline deadline);

}  // namespace hvd
