// SPDX-License-Identifier: Apache-2.0
#include "net/zc_supply.hpp"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <new>

#include "net/net_context.hpp"
#include "runtime/mesh.hpp"
#include "sluice/log.hpp"

namespace sluice::detail {

namespace {

constexpr std::uint32_t reserve_part = 16;    // of the area, for the kernel's own copies
constexpr std::uint32_t most_of_rest = 4;     // to one connection at most this part of what is left
constexpr int usual_receive_buffer = 131072;  // bytes, net.ipv4.tcp_rmem
constexpr std::uint32_t least_grant = 2;      // chunks; with fewer a connection always copies

const char* name_of(page_kind k) noexcept {
    switch (k) {
        case page_kind::huge: return "huge pages";
        case page_kind::transparent: return "transparent huge pages";
        case page_kind::small: return "small pages";
    }
    return "?";
}

sharing_group group_of(net_context& net) noexcept {
    const zcrx_options& options = net.options().zcrx;
    const unsigned number = net.home().index() / std::max(options.reactors_per_queue, 1U);
    mesh_port* port = net.home().port();
    const bool shares = options.reactors_per_queue > 1;
    if (port == nullptr && !shares) return {&net, number, true};
    const bool among_others = port != nullptr && port->group().size() > 1 && !options.device_less;
    return {port != nullptr ? &port->group() : nullptr, number, !shares && !among_others};
}

result<joined_queue> join(net_context& net, std::string& why, bool again) {
    const zcrx_options& options = net.options().zcrx;
    if (!options.wanted()) {
        why = "no interface was named, and not device_less either";
        return errno_error(EOPNOTSUPP);
    }
    if (options.dma_buf >= 0 && net.home().index() != 0) {
        why = "a dma-buf is the area of one queue: use it in a service with one reactor";
        return errno_error(EOPNOTSUPP);
    }
    const sharing_group group = group_of(net);
    return join_queue(group, net.io(), options, options.first_queue + group.number, why, again);
}

bool is_taken(const boost::system::error_code& e) {
    return e.value() == EEXIST || e.value() == EBUSY;
}

}  // namespace

std::unique_ptr<zc_supply> zc_supply::ask_again(net_context& net, bool& taken) {
    std::string why;
    const auto joined = join(net, why, true);
    taken = !joined && is_taken(joined.error());
    if (!joined && taken) return nullptr;
    net.io().found().set("ZCRX", joined.has_value(), why);
    if (joined) return std::make_unique<zc_supply>(net, *joined->queue, *joined->user);
    logger()->warn("reactor {}: no zero-copy receive, it goes on copying: {}", net.home().index(),
                   why);
    return nullptr;
}

std::unique_ptr<zc_supply> zc_supply::open(net_context& net, bool& taken) {
    std::string why;
    const auto joined = join(net, why, false);
    taken = !joined && is_taken(joined.error());
    net.io().found().set("ZCRX", joined.has_value(), why);
    const bool demanded = net.options().zcrx.mode == receive_mode::zc;
    if (!joined) {
        if (demanded || net.options().zcrx.wanted())
            logger()->log(demanded ? spdlog::level::err : spdlog::level::warn,
                          "reactor {}: no zero-copy receive{}: {}", net.home().index(),
                          demanded ? "" : ", it copies", why);
        if (demanded) throw boost::system::system_error(joined.error(), why);
        return nullptr;
    }
    auto made = std::make_unique<zc_supply>(net, *joined->queue, *joined->user);
    logger()->info("reactor {}: zero-copy receive into {} MiB of {}{}", net.home().index(),
                   joined->queue->area_bytes() >> 20,
                   joined->queue->takes_copies() ? name_of(joined->queue->pages()) : "a dma-buf",
                   made->is_producer() ? "" : ", a queue shared with another reactor");
    return made;
}

zc_supply::zc_supply(net_context& net, rx_queue& queue, rx_queue::user& user)
    : supply(net, "reactor " + std::to_string(net.home().index()) + ", rx queue",
             net.options().zcrx.marks),
      queue_(queue),
      user_(user) {
    set_source(queue);
    collect();
}

zc_supply::~zc_supply() {
    unhook();
    for (const joined_queue& other : others_) leave_queue(*other.queue, net_.io());
    leave_queue(queue_, net_.io());
}

bool zc_supply::is_producer() const noexcept { return queue_.is_producer(net_.io()); }

void zc_supply::collect() noexcept {
    if (user_.news.load(std::memory_order_relaxed) &&
        user_.news.exchange(false, std::memory_order_acquire))
        renew_budget();
    for (const joined_queue& other : others_)  // whose reactor has left them to this one
        if (other.queue->is_producer(net_.io())) other.queue->collect();
    if (!is_producer()) return;
    if (!std::exchange(hooked_, true))
        queue_.on_return([](void* self) noexcept { static_cast<zc_supply*>(self)->on_queue(); },
                         this);
    queue_.collect();
}

std::uint32_t zc_supply::queues() noexcept {
    try {
        if (net_.owners().in_use()) join_others(group_of(net_), net_.io(), others_);
    } catch (const std::bad_alloc&) {
        // without those that are not known yet
    }
    return static_cast<std::uint32_t>(others_.size()) + 1;
}

rx_buffer zc_supply::take_elsewhere(rx_queue& queue, std::uint64_t offset, std::uint32_t size,
                                    lease_account& account) noexcept {
    queue.hurry();  // its reactor may sleep, with nothing left for the NIC
    return queue.take(offset, size, account);
}

// As many as there are chunks may be armed, each once before more chunks come back: the kernel may
// have less than our books say.
void zc_supply::set_budget() noexcept { budget_ = std::max(queue_.available(), 1U); }

void zc_supply::on_queue() noexcept {
    if (queue_.ran_dry()) ran_out();
    renew_budget();
}

void zc_supply::renew_budget() noexcept {
    set_budget();
    returned();
}

std::uint32_t zc_supply::grant() noexcept {
    const std::uint32_t wanted = net_.options().zcrx.max_leases_per_connection;
    if (wanted == 0) return no_cap;
    const std::uint32_t total = queue_.capacity();
    const std::uint32_t kept = total / reserve_part + net_.options().zcrx.posted_chunks + granted_;
    const std::uint32_t rest = total > kept ? total - kept : 0;
    const std::uint32_t cap = std::min(wanted, rest / most_of_rest);
    if (cap < wanted) ++net_.stats().grants_cut;
    if (cap < least_grant) return 0;
    granted_ += cap;
    return cap;
}

std::uint32_t zc_supply::reserve(int descriptor) noexcept {
    const zcrx_options& options = net_.options().zcrx;
    if (options.device_less || options.max_leases_per_connection == 0) return 0;
    int bytes = 0;
    socklen_t size = sizeof bytes;
    // Of a registered descriptor nobody can tell.
    if (net_.descriptor_flags() != 0 ||
        net_.below().get_option(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, size) < 0)
        bytes = usual_receive_buffer;
    const auto chunks = static_cast<std::uint32_t>(bytes) / options.chunk_bytes + 1;
    granted_ += chunks;
    return chunks;
}

std::uint32_t zc_supply::room() const noexcept { return std::min(budget_, queue_.available()); }

bool zc_supply::refuses_copies() noexcept {
    if (queue_.takes_copies()) return false;
    if (!std::exchange(refused_, true))
        logger()->warn(
            "reactor {}: a connection ends, because its bytes did not come by the rx queue "
            "and the kernel cannot copy into a dma-buf: steer its port to the queue",
            net_.home().index());
    return true;
}

void zc_supply::want() noexcept {
    if (is_producer())
        queue_.want();
    else
        queue_.want_from_afar(user_);
}

bool zc_supply::heal() noexcept {
    if (!queue_.flush(user_)) return false;
    set_budget();
    return true;
}

bool zc_supply::grow() noexcept {
    if (!is_producer() || !queue_.grow()) return false;
    set_budget();
    observe();
    return true;
}

void zc_supply::recovered() noexcept {
    if (is_producer()) queue_.rearm_events();
}

}  // namespace sluice::detail
