// World: makes the Session of this process from what the launcher, the machine and the settings say. The composition root: the
// only place that knows every backend.
//
// How ranks meet: under hvdrun through its rendezvous server and TCP, under mpirun through the MPI plugin. If all of them turn out to
// share a host, they swap memory over local sockets, and negotiation and reduction go through that memory; otherwise they stay with
// TCP (ring) or MPI. Started by hand, a process is a world of one.
#pragma once

#include <memory>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/session.h"

namespace hvd {

// Collective over the ranks of the job. Errors: invalid_argument for bad settings, timed_out or aborted if ranks do not come,
// unavailable if what a setting asks for is not there.
Result<std::unique_ptr<Session>> open_session(const EnvironmentLookup& lookup);
// Of this process's own environment.
Result<std::unique_ptr<Session>> open_session();

// After a Session of this process has ended because the job lost a rank, and is destroyed: collective over the ranks that are left, as hvdrun
// knows them (--min-np). They are numbered anew, in their order. Errors as above; invalid_argument: hvdrun refuses, with its reason (too few
// are left; this process was given up and must end); aborted: another rank was lost meanwhile, try again; unavailable: not in a job of hvdrun.
Result<std::unique_ptr<Session>> open_session_of_survivors(const EnvironmentLookup& lookup);

}  // namespace hvd
