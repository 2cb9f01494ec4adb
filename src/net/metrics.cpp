// SPDX-License-Identifier: Apache-2.0
#include "sluice/metrics.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "runtime/prometheus.hpp"
#include "sluice/reactor.hpp"

namespace sluice {

namespace {

enum class kind : bool { counter, gauge };

struct description {
    const char* name;
    const char* help;
    kind what;
    std::int64_t (*value)(const reactor_metrics&);
};

// Where a member of reactor_stats or net_stats comes from.
template <auto Part, auto Member>
std::int64_t get(const reactor_metrics& m) {
    return static_cast<std::int64_t>(m.*Part.*Member);
}
template <auto Member>
constexpr auto runtime = get<&reactor_metrics::runtime, Member>;
template <auto Member>
constexpr auto net = get<&reactor_metrics::net, Member>;

using r = reactor_stats;
using n = net_stats;

// One line for each; a new counter needs nothing else.
constexpr description descriptions[] = {
    {"sluice_reactor_current", "1 when the reactor answered this scrape, 0 for older values.",
     kind::gauge, [](const reactor_metrics& m) -> std::int64_t { return m.current ? 1 : 0; }},
    {"sluice_turns_total", "Turns of the loop.", kind::counter, runtime<&r::turns>},
    {"sluice_enters_total", "Calls of io_uring_enter.", kind::counter, runtime<&r::enters>},
    {"sluice_sqes_total", "Requests submitted.", kind::counter, runtime<&r::sqes>},
    {"sluice_cqes_total", "Completions reaped.", kind::counter, runtime<&r::cqes>},
    {"sluice_resumes_total", "Coroutines taken from the ready list.", kind::counter,
     runtime<&r::resumes>},
    {"sluice_cq_overflows_total", "Turns that found the completion queue overflowed.",
     kind::counter, runtime<&r::cq_overflows>},
    {"sluice_sq_full_parks_total", "Submissions that waited for room in the submission queue.",
     kind::counter, runtime<&r::sq_full_parks>},
    {"sluice_timers_expired_total", "Sleeps and timeouts that came due.", kind::counter,
     runtime<&r::timers_expired>},
    {"sluice_wake_ups_total", "Wake-ups by other threads.", kind::counter, runtime<&r::wake_ups>},
    {"sluice_wake_ups_sent_total", "Wake-ups of other reactors.", kind::counter,
     runtime<&r::wake_ups_sent>},
    {"sluice_messages_sent_total", "Calls, replies and stops sent to other reactors.",
     kind::counter, runtime<&r::messages_sent>},
    {"sluice_messages_received_total", "Calls, replies and stops from other reactors.",
     kind::counter, runtime<&r::messages_received>},
    {"sluice_call_queue_waits_total", "Calls that waited for room in a queue.", kind::counter,
     runtime<&r::call_queue_waits>},
    {"sluice_posts_refused_total", "Posts from other threads refused at the limit.", kind::counter,
     runtime<&r::posts_refused>},
    {"sluice_task_failures_total", "Failures in nurseries that collect.", kind::counter,
     runtime<&r::task_failures>},
    {"sluice_tasks_destroyed_total", "Tasks destroyed at the hard deadline of a stop.",
     kind::counter, runtime<&r::tasks_destroyed>},
    {"sluice_stalls_total", "Turns that took longer than stall_limit.", kind::counter,
     runtime<&r::stalls>},
    {"sluice_ready_coroutines", "Length of the ready list.", kind::gauge, runtime<&r::ready>},
    {"sluice_live_operations", "Operations at the kernel.", kind::gauge,
     runtime<&r::live_operations>},
    {"sluice_live_frames", "Coroutine frames and pooled objects in use.", kind::gauge,
     runtime<&r::live_frames>},
    {"sluice_pooled_frames", "Frames that are kept for the next.", kind::gauge,
     runtime<&r::pooled_frames>},
    {"sluice_live_timers", "Sleeps and timeouts that wait.", kind::gauge, runtime<&r::live_timers>},
    {"sluice_connections_accepted_total", "Connections accepted.", kind::counter,
     net<&n::accepted>},
    {"sluice_connections_made_total", "Connections made to others.", kind::counter,
     net<&n::connected>},
    {"sluice_connections_closed_total", "Connections closed.", kind::counter, net<&n::closed>},
    {"sluice_connections_moved_in_total", "Connections that came from other reactors.",
     kind::counter, net<&n::moved_in>},
    {"sluice_connections_moved_out_total", "Connections that went to other reactors.",
     kind::counter, net<&n::moved_out>},
    {"sluice_open_connections", "Connections, those being closed included.", kind::gauge,
     net<&n::open>},
    {"sluice_received_bytes_total", "Payload received.", kind::counter, net<&n::bytes_in>},
    {"sluice_sent_bytes_total", "Payload taken by the kernel.", kind::counter, net<&n::bytes_out>},
    {"sluice_receives_total", "Completions with data.", kind::counter, net<&n::receives>},
    {"sluice_sends_total", "Send requests that went to the kernel.", kind::counter, net<&n::sends>},
    {"sluice_sends_joined_total", "Sends that shared a request.", kind::counter,
     net<&n::sends_joined>},
    {"sluice_enobufs_total", "Receives that ended for want of buffers.", kind::counter,
     net<&n::enobufs>},
    {"sluice_receives_rearmed_total", "Of those, armed again.", kind::counter, net<&n::rearmed>},
    {"sluice_receives_capped_total", "Receives not armed again because too much waited.",
     kind::counter, net<&n::capped>},
    {"sluice_slices_copied_total", "Slices copied out to free their buffer.", kind::counter,
     net<&n::copied_out>},
    {"sluice_accept_pauses_total", "Pauses in accepting, at a limit.", kind::counter,
     net<&n::accept_pauses>},
    {"sluice_accepts_refused_total", "Connections closed at once for want of descriptors.",
     kind::counter, net<&n::accept_refused>},
    {"sluice_send_limit_hits_total", "Sends refused because too many waited.", kind::counter,
     net<&n::send_limit_hit>},
    {"sluice_zero_copy_climbed_total",
     "Connections that changed to zero copy when the rx queue could be had.", kind::counter,
     net<&n::zero_copy_climbed>},
    {"sluice_zero_copy_connections_total", "Connections that began with zero copy.", kind::counter,
     net<&n::zero_copy_connections>},
    {"sluice_zero_copy_received_bytes_total", "Received bytes that stayed where they arrived.",
     kind::counter, net<&n::zero_copy_bytes>},
    {"sluice_enospc_total", "Receives that ended for want of room for a completion.", kind::counter,
     net<&n::enospc>},
    {"sluice_heap_receives_total", "Receives into heap memory for want of a buffer.", kind::counter,
     net<&n::heap_receives>},
    {"sluice_lease_grants_cut_total", "Connections granted fewer chunks than they may have.",
     kind::counter, net<&n::grants_cut>},
    {"sluice_accepts_right_total", "Connections accepted by the reactor that owns their rx queue.",
     kind::counter, net<&n::accepts_right>},
    {"sluice_accepts_handed_over_total", "Connections handed over to the owner of their rx queue.",
     kind::counter, net<&n::accepts_handed_over>},
    {"sluice_accepts_taken_over_total", "Connections that other reactors have accepted for it.",
     kind::counter, net<&n::accepts_taken_over>},
    {"sluice_accepts_misplaced_total", "Connections kept here that belong to another reactor.",
     kind::counter, net<&n::accepts_misplaced>},
    {"sluice_accepts_unknown_total", "Connections by no rx queue that the kernel names.",
     kind::counter, net<&n::accepts_unknown>},
    {"sluice_connects_right_total", "Connections opened to the own rx queue that came by it.",
     kind::counter, net<&n::connects_right>},
    {"sluice_connects_elsewhere_total", "Connections opened to the own rx queue that did not.",
     kind::counter, net<&n::connects_elsewhere>},
    {"sluice_receive_detours_total", "Receives that went on by another reactor's rx queue.",
     kind::counter, net<&n::detours>},
    {"sluice_receive_detour_bytes_total", "Received bytes copied out of another reactor's area.",
     kind::counter, net<&n::detoured_bytes>},
    {"sluice_zero_copy_sends_total", "Send requests that were to be made without a copy.",
     kind::counter, net<&n::zero_copy_sends>},
    {"sluice_zero_copy_copied_total", "Of those, reported as copied by the kernel.", kind::counter,
     net<&n::zero_copy_copied>},
    {"sluice_zero_copy_refused_total", "Of those, refused and done again with a copy.",
     kind::counter, net<&n::zero_copy_refused>},
    {"sluice_zero_copy_ended_total", "Connections that do without zero copy since.", kind::counter,
     net<&n::zero_copy_ended>},
    {"sluice_held_limit_hits_total", "Sends copied because too much memory was held.",
     kind::counter, net<&n::held_limit_hit>},
    {"sluice_held_resets_total", "Connections reset to get memory back.", kind::counter,
     net<&n::held_resets>},
    {"sluice_held_sends", "Zero-copy sends whose memory the kernel has.", kind::gauge,
     net<&n::held_sends>},
    {"sluice_held_bytes", "Bytes of those.", kind::gauge, net<&n::held_bytes>},
    {"sluice_lingering_connections", "Closed connections that wait for their zero-copy sends.",
     kind::gauge, net<&n::lingering>},
    {"sluice_fixed_regions", "Memory regions that are registered with the ring.", kind::gauge,
     net<&n::fixed_regions>},
    {"sluice_fixed_refused_total", "Memory regions that could not be registered.", kind::counter,
     net<&n::fixed_refused>},
    {"sluice_provided_buffers", "Receive buffers.", kind::gauge, net<&n::buffers_total>},
    {"sluice_kernel_buffers", "Receive buffers that the kernel has or can have.", kind::gauge,
     net<&n::buffers_kernel>},
    {"sluice_posted_buffers", "Receive buffers that the kernel has.", kind::gauge,
     net<&n::buffers_posted>},
    {"sluice_held_buffers", "Handles of received memory that are alive.", kind::gauge,
     net<&n::buffers_lent>},
};

// The rungs of one ladder, as series of one family.
void write_ladder(std::span<const reactor_metrics> reactors, std::string& to, bool entered) {
    const char* name = entered ? "sluice_ladder_entered_total" : "sluice_ladder_left_total";
    detail::prometheus_family(to, name,
                              entered ? "Times that a rung of the copy ladder was entered."
                                      : "Times that it was left.",
                              "counter");
    for (const reactor_metrics& m : reactors)
        for (const auto& [buffers, ladder] :
             {std::pair{"copy", m.net.copy_ladder}, std::pair{"zc", m.net.zc_ladder}})
            for (std::size_t i = 0; i < rung_count; ++i)
                to += fmt::format("{}{{reactor=\"{}\",buffers=\"{}\",rung=\"{}\"}} {}\n", name,
                                  m.reactor, buffers, name_of(static_cast<rung>(i)),
                                  entered ? ladder.rungs[i].entered : ladder.rungs[i].left);
}

}  // namespace

reactor_metrics metrics_of(reactor& home) {
    reactor_metrics m;
    m.reactor = home.index();
    m.runtime = home.stats();
    m.net = net_stats_of(home);
    return m;
}

void write_prometheus(std::span<const reactor_metrics> reactors, std::string& to) {
    for (const description& d : descriptions) {
        detail::prometheus_family(to, d.name, d.help,
                                  d.what == kind::counter ? "counter" : "gauge");
        for (const reactor_metrics& m : reactors)
            to += fmt::format("{}{{reactor=\"{}\"}} {}\n", d.name, m.reactor, d.value(m));
    }
    write_ladder(reactors, to, true);
    write_ladder(reactors, to, false);
}

}  // namespace sluice
