#include "bindings/runtime/meeting.h"

#include <algorithm>

#include "bindings/runtime/plugin_loader.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "horovod_cpp/transport/shm/memfd_exchange.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"
#include "horovod_cpp/transport/tcp/tcp_transport.h"

namespace hvd {
namespace {

Result<std::vector<TcpContact>> decode_contacts(const std::vector<Bytes>& encoded) {
  std::vector<TcpContact> contacts;
  for (std::size_t rank = 0; rank < encoded.size(); ++rank) {
    Result<TcpContact> contact = decode_tcp_contact(encoded[rank]);
    if (!contact.is_ok()) return contact.status().with_prefix(text("rank ", rank, ": "));
    contacts.push_back(std::move(contact).value());
  }
  return contacts;
}

Result<std::unique_ptr<Transport>> meet_by_rendezvous(const LaunchEnvironment& launch,
                                                      const std::string& job_key,
                                                      std::chrono::seconds timeout) {
  const auto [rank, size] = std::pair{launch.placement.rank, launch.placement.size};
  const Result<TcpListener> listener = TcpListener::open();
  HVD_RETURN_IF_ERROR(listener.status());
  const auto met = rendezvous(launch.rendezvous, job_key, rank, size, encode(listener.value().contact()),
                              Deadline::after(timeout));
  HVD_RETURN_IF_ERROR(met.status());
  const auto contacts = decode_contacts(met.value());
  HVD_RETURN_IF_ERROR(contacts.status());
  const Deadline deadline = Deadline::after(timeout);
  auto links = connect_tcp_links(rank, size, listener.value(), contacts.value(), job_key,
                                 LinkPurpose::control, deadline);
  HVD_RETURN_IF_ERROR(links.status());
  auto sockets = secure_links(rank, std::move(links).value(), deadline);
  HVD_RETURN_IF_ERROR(sockets.status());
  return make_tcp_transport(rank, std::move(sockets).value());
}

Result<std::unique_ptr<Transport>> meet_by_mpi() {
  const auto plugin = load_plugin("mpi");
  if (!plugin.is_ok()) return plugin.status().with_prefix("this process was started by mpirun, but ");
  std::unique_ptr<Transport> transport;
  HVD_RETURN_IF_ERROR(plugin.value()->open_transport(&transport));
  return transport;
}

}  // namespace

Result<Meeting> meet(const LaunchEnvironment& launch, std::chrono::seconds timeout) {
  Meeting meeting;
  meeting.placement = launch.placement;
  if (launch.launcher == Launcher::mpi) {
    auto transport = meet_by_mpi();
    HVD_RETURN_IF_ERROR(transport.status());
    meeting.transport = std::move(transport).value();
    meeting.placement.rank = meeting.transport->rank();
    meeting.placement.size = meeting.transport->size();
    // mpirun tells local ranks only; hosts are taken to be filled evenly, in order.
    meeting.placement.cross_size = std::max(1, meeting.placement.size / meeting.placement.local_size);
    meeting.placement.cross_rank =
        std::min(meeting.placement.cross_size - 1, meeting.placement.rank / meeting.placement.local_size);
  } else if (launch.placement.size > 1) {
    auto key = read_job_key(launch.job_key);
    if (!key.is_ok()) {
      return key.status().with_prefix(
          text("rank ", launch.placement.rank, " of ", launch.placement.size, ": "));
    }
    meeting.job_key = std::move(key).value();
    auto transport = meet_by_rendezvous(launch, meeting.job_key, timeout);
    HVD_RETURN_IF_ERROR(transport.status());
    meeting.transport = std::move(transport).value();
  } else {
    auto alone = make_inproc_transports(1);
    if (alone.empty()) return Status::unavailable("out of memory");
    meeting.transport = std::move(alone.front());
  }
  return meeting;
}

Result<LocalGroup> join_local_group(Transport& bootstrap, Deadline deadline) {
  LocalGroup group;
  if (bootstrap.size() == 1) {
    auto alone = make_inproc_memory(1);
    if (alone.empty()) return Status::internal("no memory exchange for a single rank");
    group.memory = std::move(alone.front());
    return group;
  }
  auto links = connect_local_mesh(bootstrap, deadline);
  HVD_RETURN_IF_ERROR(links.status());
  group.links = std::move(links).value();
  // The exchange lives as long as the Session, beside the watcher: they must not read each other's messages.
  auto exchange_links = connect_local_mesh(bootstrap, deadline);
  HVD_RETURN_IF_ERROR(exchange_links.status());
  group.memory = make_memfd_exchange(bootstrap.rank(), std::move(exchange_links).value());
  return group;
}

Result<std::vector<UniqueFd>> open_remote_links(Transport& bootstrap, const std::string& job_key,
                                                Deadline deadline) {
  const Result<TcpListener> listener = TcpListener::open();
  HVD_RETURN_IF_ERROR(listener.status());
  std::vector<Bytes> encoded;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather(encode(listener.value().contact()), encoded, deadline));
  const auto contacts = decode_contacts(encoded);
  HVD_RETURN_IF_ERROR(contacts.status());
  auto links = connect_tcp_links(bootstrap.rank(), bootstrap.size(), listener.value(), contacts.value(),
                                 job_key, LinkPurpose::life, deadline);
  if (!links.is_ok()) return links.status();
  std::vector<UniqueFd> sockets;
  for (TcpLink& link : links.value()) sockets.push_back(std::move(link.socket));
  return sockets;
}

}  // namespace hvd
