// SPDX-License-Identifier: Apache-2.0
#include "net/zc_supply.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/system/system_error.hpp>

#include "net/net_context.hpp"
#include "runtime/mesh.hpp"
#include "sluice/log.hpp"
#include "zcrx/shared_queues.hpp"

namespace sluice::detail {

namespace {

constexpr std::uint32_t reserve_part = 16;  // of the area, for the kernel's own copies
constexpr std::uint32_t most_of_rest = 4;   // to one connection at most this part of what is left
constexpr std::uint32_t least_grant = 2;    // chunks; with fewer a connection always copies

const char* name_of(page_kind k) noexcept {
    switch (k) {
        case page_kind::huge: return "huge pages";
        case page_kind::transparent: return "transparent huge pages";
        case page_kind::small: return "small pages";
    }
    return "?";
}

result<joined_queue> join(net_context& net, std::string& why) {
    const zcrx_options& options = net.options().zcrx;
    if (!options.wanted()) {
        why = "no interface was named, and not device_less either";
        return errno_error(EOPNOTSUPP);
    }
    const unsigned number = net.home().index() / std::max(options.reactors_per_queue, 1U);
    const void* with = &net;  // nobody else
    if (options.reactors_per_queue > 1)
        with = net.home().port() != nullptr ? &net.home().port()->group() : nullptr;
    return join_queue({with, number}, net.io(), options, options.first_queue + number, why);
}

}  // namespace

std::unique_ptr<zc_supply> zc_supply::open(net_context& net) {
    std::string why;
    const auto joined = join(net, why);
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
    const zcrx_stats s = joined->queue->snapshot();
    logger()->info("reactor {}: zero-copy receive into {} MiB of {}{}", net.home().index(),
                   s.area_bytes >> 20, name_of(joined->queue->pages()),
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
    leave_queue(queue_, net_.io());
}

bool zc_supply::is_producer() const noexcept { return queue_.is_producer(net_.io()); }

void zc_supply::collect() noexcept {
    if (user_.news.load(std::memory_order_relaxed) &&
        user_.news.exchange(false, std::memory_order_acquire))
        renew_budget();
    if (!is_producer()) return;
    if (!std::exchange(hooked_, true))
        queue_.on_return([](void* self) noexcept { static_cast<zc_supply*>(self)->renew_budget(); },
                         this);
    queue_.collect();
}

// As many as there are chunks may be armed, each once before more chunks come back: the kernel may
// have less than our books say.
void zc_supply::renew_budget() noexcept {
    budget_ = std::max(queue_.available(), 1U);
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

std::uint32_t zc_supply::room() const noexcept { return std::min(budget_, queue_.available()); }

void zc_supply::want() noexcept {
    if (is_producer())
        queue_.want();
    else
        queue_.want_from_afar(user_);
}

bool zc_supply::heal() noexcept {
    if (!queue_.flush(user_)) return false;
    budget_ = std::max(queue_.available(), 1U);
    return true;
}

bool zc_supply::grow() noexcept {
    if (!is_producer() || !queue_.grow()) return false;
    budget_ = queue_.available();
    observe();
    return true;
}

void zc_supply::recovered() noexcept {
    if (is_producer()) queue_.rearm_events();
}

}  // namespace sluice::detail
