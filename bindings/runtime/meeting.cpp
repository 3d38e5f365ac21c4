#include "bindings/runtime/meeting.h"

#include <algorithm>

#include "bindings/runtime/agreement.h"
#include "bindings/runtime/placement.h"
#include "bindings/runtime/plugin_loader.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "horovod_cpp/transport/shm/memfd_exchange.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"
#include "horovod_cpp/transport/tcp/tcp_transport.h"

namespace hvd {
namespace {

// What a rank brings to the rendezvous.
struct Visitor {
  std::int32_t host = 0;
  TcpContact contact;
};

Bytes encode(std::int32_t host, const TcpContact& contact) {
  ByteWriter out;
  out.put(host);
  out.put_bytes(hvd::encode(contact));
  return out.take();
}

Result<Visitor> decode_visitor(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  Visitor visitor;
  visitor.host = in.get<std::int32_t>();
  const auto contact = decode_tcp_contact(in.get_bytes());
  HVD_RETURN_IF_ERROR(contact.status());
  visitor.contact = contact.value();
  return visitor;
}

Result<std::vector<TcpContact>> decode_contacts(const std::vector<Bytes>& encoded) {
  std::vector<TcpContact> contacts;
  for (std::size_t rank = 0; rank < encoded.size(); ++rank) {
    Result<TcpContact> contact = decode_tcp_contact(encoded[rank]);
    if (!contact.is_ok()) return contact.status().with_prefix(text("rank ", rank, ": "));
    contacts.push_back(std::move(contact).value());
  }
  return contacts;
}

LossWatch watch_of(LossLine& line) {
  return {[&line] { return line.fd(); }, [&line] { return line.check(); }};
}

Result<std::unique_ptr<Transport>> meet_nobody() {
  auto alone = make_inproc_transports(1);
  if (alone.empty()) return Status::unavailable("out of memory");
  return std::move(alone.front());
}

// hvdrun answers when it has decided who is left; that it does not hang is the only thing to wait for here.
Deadline meeting_deadline(std::chrono::seconds timeout, Meet whom) {
  return whom == Meet::all ? Deadline::after(timeout) : Deadline::never();
}

Result<Meeting> meet_by_rendezvous(const LaunchEnvironment& launch, std::string job_key,
                                   std::chrono::seconds timeout, Meet whom, LogLevel log_level) {
  const Result<TcpListener> listener = TcpListener::open();
  if (!listener.is_ok()) return listener.status().with_prefix(text("rank ", launch.placement.rank, ": "));
  const MeetingRemark remark = [&](const std::string& words) {
    Log(log_level, launch.placement.rank)
        .warning(text(words, " (HVD_START_TIMEOUT ends it after ", timeout.count(), " s)"));
  };
  auto met = rendezvous(launch.rendezvous, job_key, launch.placement.rank, launch.placement.size,
                        encode(launch.placement.cross_rank, listener.value().contact()),
                        meeting_deadline(timeout, whom), whom == Meet::survivors, remark);
  HVD_RETURN_IF_ERROR(met.status());
  std::vector<int> hosts;
  std::vector<TcpContact> contacts;
  for (std::size_t i = 0; i < met.value().ranks.size(); ++i) {
    Result<Visitor> visitor = decode_visitor(met.value().payloads[i]);
    if (!visitor.is_ok()) return visitor.status().with_prefix(text("rank ", met.value().ranks[i], ": "));
    hosts.push_back(visitor.value().host);
    contacts.push_back(std::move(visitor.value().contact));
  }
  const int mine = position_in(met.value().ranks, launch.placement.rank);
  if (mine < 0) return Status::internal("the rendezvous server answered without this rank");
  Meeting meeting{place_among(hosts, mine), nullptr, std::move(job_key), std::move(met.value().line), {}};
  if (contacts.size() == 1) {
    auto alone = meet_nobody();
    HVD_RETURN_IF_ERROR(alone.status());
    meeting.transport = std::move(alone).value();
    return meeting;
  }
  const Deadline deadline = Deadline::after(timeout);
  auto links = connect_tcp_links(mine, meeting.placement.size, listener.value(), contacts, meeting.job_key,
                                 LinkPurpose::control, deadline, watch_of(meeting.losses));
  HVD_RETURN_IF_ERROR(links.status());
  auto sockets = secure_links(mine, std::move(links).value(), deadline);
  HVD_RETURN_IF_ERROR(sockets.status());
  for (const SecureSocket& socket : sockets.value()) meeting.sockets.push_back(socket.fd());
  auto transport = make_tcp_transport(mine, std::move(sockets).value());
  HVD_RETURN_IF_ERROR(transport.status());
  meeting.transport = std::move(transport).value();
  return meeting;
}

// Collective. Authenticated connections between all ranks, for `purpose`.
Result<std::vector<TcpLink>> connect_all(Meeting& meeting, LinkPurpose purpose, Deadline deadline) {
  Transport& bootstrap = *meeting.transport;
  const Result<TcpListener> listener = TcpListener::open();
  HVD_RETURN_IF_ERROR(agree(bootstrap, listener.status(), deadline));
  std::vector<Bytes> encoded;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather(encode(listener.value().contact()), encoded, deadline));
  const auto contacts = decode_contacts(encoded);
  HVD_RETURN_IF_ERROR(contacts.status());
  return connect_tcp_links(bootstrap.rank(), bootstrap.size(), listener.value(), contacts.value(),
                           meeting.job_key, purpose, deadline, watch_of(meeting.losses));
}

Result<std::unique_ptr<Transport>> meet_by_mpi() {
  const auto plugin = load_plugin("mpi");
  if (!plugin.is_ok()) return plugin.status().with_prefix("this process was started by mpirun, but ");
  std::unique_ptr<Transport> transport;
  HVD_RETURN_IF_ERROR(plugin.value()->open_transport(&transport));
  return transport;
}

}  // namespace

Result<Meeting> meet(const LaunchEnvironment& launch, std::chrono::seconds timeout, Meet whom,
                     LogLevel log_level) {
  if (whom == Meet::survivors && (launch.launcher != Launcher::hvdrun || launch.placement.size == 1)) {
    return Status::unavailable(
        "the ranks that are left can meet again only in a job of hvdrun, started with --min-np");
  }
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
    return meet_by_rendezvous(launch, std::move(key).value(), timeout, whom, log_level);
  } else {
    auto alone = meet_nobody();
    HVD_RETURN_IF_ERROR(alone.status());
    meeting.transport = std::move(alone).value();
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
  for (const UniqueFd& socket : exchange_links.value()) group.sockets.push_back(socket.get());
  group.memory = make_memfd_exchange(bootstrap.rank(), std::move(exchange_links).value());
  return group;
}

Result<std::unique_ptr<Transport>> open_data_transport(Meeting& meeting, bool encrypt, Deadline deadline) {
  const int rank = meeting.transport->rank();
  auto links = connect_all(meeting, LinkPurpose::data, deadline);
  HVD_RETURN_IF_ERROR(links.status());
  Result<std::vector<SecureSocket>> sockets =
      encrypt ? secure_links(rank, std::move(links).value(), deadline)
              : Result<std::vector<SecureSocket>>(plain_sockets(sockets_of(std::move(links).value())));
  HVD_RETURN_IF_ERROR(sockets.status());
  for (const SecureSocket& socket : sockets.value()) meeting.sockets.push_back(socket.fd());
  return make_tcp_transport(rank, std::move(sockets).value());
}

Result<std::vector<SecureSocket>> open_remote_links(Meeting& meeting, std::chrono::seconds host_silence,
                                                    Deadline deadline) {
  auto links = connect_all(meeting, LinkPurpose::life, deadline);
  HVD_RETURN_IF_ERROR(links.status());
  for (const TcpLink& link : links.value()) {
    if (link.socket.is_open() && host_silence.count() > 0)
      HVD_RETURN_IF_ERROR(end_when_host_is_silent(link.socket.get(), host_silence));
  }
  return secure_links(meeting.transport->rank(), std::move(links).value(), deadline);
}

}  // namespace hvd
