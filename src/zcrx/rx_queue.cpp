// SPDX-License-Identifier: Apache-2.0
#include "zcrx/rx_queue.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>

#include "runtime/fatal.hpp"
#include "runtime/kernel/process.hpp"
#include "sluice/frame_pool.hpp"
#include "zcrx/refusal.hpp"

namespace sluice::detail {

namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t page = 4096;
constexpr auto bind_step = 20ms;
constexpr std::uint32_t most_refill_entries = 32768;  // the kernel's limit
// Without a device the kernel reads the refill queue only when told to. Often enough that the same
// chunks are used again while the caches know them, seldom enough that the call does not count.
constexpr std::uint32_t flush_batch = 128;

// What returned chunks look like to whoever still reads them.
void poison([[maybe_unused]] std::byte* data, [[maybe_unused]] std::size_t size) noexcept {
#if defined(SLUICE_CHECK_HOME)
    std::memset(data, 0xdb, size);
#endif
}

}  // namespace

result<rx_queue*> rx_queue::open(reactor_io& io, const zcrx_options& options, unsigned queue,
                                 std::string& why) {
    auto* made = new (std::nothrow) rx_queue(options);
    if (made == nullptr) return errno_error(ENOMEM);
    if (auto ready = made->set_up(io, queue, why); !ready) {
        made->retire();
        return ready.error();
    }
    return made;
}

rx_queue::~rx_queue() {
    if (region_ != nullptr) kernel_->unmap(region_, region_bytes_);
    for (auto& a : areas_) delete a.load(std::memory_order_relaxed);
}

result<void> rx_queue::set_up(reactor_io& io, unsigned queue, std::string& why) {
    kernel_ = &io.below();
    support_ = zcrx_support::ask(*kernel_);
    support_.describe(io.found());
    if (!io.rings().has_big_cqes()) {
        why = "the ring has no CQEs of 32 bytes: they need kernel 6.15 at least";
        return errno_error(EOPNOTSUPP);
    }
    why = why_unusable();
    if (!why.empty()) return errno_error(EOPNOTSUPP);
    if (!std::has_single_bit(options_.chunk_bytes)) {
        why = "the size of a chunk has to be a power of two";
        return errno_error(EINVAL);
    }
    chunk_shift_ = static_cast<std::uint32_t>(std::countr_zero(options_.chunk_bytes));
    auto first = area::map(std::max<std::size_t>(options_.area_bytes, options_.chunk_bytes),
                           options_.chunk_bytes, options_, *this);
    if (!first) {
        why =
            options_.dma_buf >= 0
                ? std::string("the dma-buf cannot be mapped: ") + first.error().message()
                : "no memory for an area of " + std::to_string(options_.area_bytes >> 10) + " KiB";
        return first.error();
    }
    area& a = **first;
    areas_[0].store((*first).release(), std::memory_order_release);
    if (auto done = register_queue(io, queue, a); !done) {
        why = explain_refusal({options_, support_, queue, a.memory().size()}, done.error().value());
        return done;
    }
    area_count_ = 1;
    set_capacity(a.chunks());
    set_available(a.chunks() - std::min(a.chunks(), options_.posted_chunks));
    io_.store(&io, std::memory_order_release);
    return {};
}

std::string rx_queue::why_unusable() const {
    if (options_.dma_buf < 0) return {};
    if (options_.device_less)
        return "a dma-buf is for the queue of an interface: without one the kernel would have to copy "
               "into it, which it cannot";
    if (!support_.dma_buf_areas) return "the kernel knows no dma-buf areas: they need kernel 6.16";
    return {};
}

result<void> rx_queue::register_queue(reactor_io& io, unsigned queue, area& first) {
    const std::uint32_t entries = std::bit_ceil(
        std::clamp(options_.refill_entries != 0 ? options_.refill_entries : first.chunks(), 1U,
                   most_refill_entries));
    region_bytes_ = refill_queue::region_bytes(entries);
    int error = 0;
    region_ = kernel_->map_memory(region_bytes_, error);
    if (region_ == nullptr) return errno_error(error);

    io_uring_region_desc region{};
    region.user_addr = reinterpret_cast<std::uint64_t>(region_);
    region.size = region_bytes_;
    region.flags = IORING_MEM_REGION_TYPE_USER;
    io_uring_zcrx_area_reg memory{};
    memory.addr = reinterpret_cast<std::uint64_t>(first.memory().data());
    memory.len = first.memory().size();
    if (options_.dma_buf >= 0) {
        memory.addr = 0;  // the place in the dma-buf
        memory.flags = IORING_ZCRX_AREA_DMABUF;
        memory.dmabuf_fd = static_cast<std::uint32_t>(options_.dma_buf);
    }
    zcrx_event_desc events{};
    events.user_data = user_data();
    events.type_mask = 1U << ZCRX_EVENT_ALLOC_FAIL | 1U << ZCRX_EVENT_COPY;
    if (support_.statistics) {
        events.flags = ZCRX_EVENT_DESC_FLAG_STATS;
        events.stats_offset = refill_queue::statistics_offset(entries);
    }
    io_uring_zcrx_ifq_reg request{};
    if (options_.device_less) {
        request.flags = ZCRX_REG_NODEV;
    } else {
        request.if_idx = interface_index(options_.interface);
        request.if_rxq = queue;
        if (request.if_idx == 0) return errno_error(ENODEV);
    }
    request.rq_entries = entries;
    request.area_ptr = reinterpret_cast<std::uint64_t>(&memory);
    request.region_ptr = reinterpret_cast<std::uint64_t>(&region);
    if (support_.events) request.event_desc = reinterpret_cast<std::uint64_t>(&events);
    if (options_.chunk_bytes != page) request.rx_buf_len = options_.chunk_bytes;
    int failed = io.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1);
    const bool asks_again = options_.mode == receive_mode::automatic && options_.bind_retry > 0ms;
    const auto patience = asks_again ? 0ms : options_.bind_wait;
    for (auto waited = 0ms; failed == -EEXIST && waited < patience; waited += bind_step) {
        pause_thread(bind_step);
        failed = io.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1);
    }
    if (failed < 0) return errno_error(-failed);
    users_.emplace_back(&io, frame_pool::current, request.zcrx_id);
    first.name(memory.rq_area_token);
    refill_.attach(region_, request.offsets, entries);
    return {};
}

result<rx_queue::user*> rx_queue::import(reactor_io& io, std::string& why) {
    const std::lock_guard lock(users_mutex_);
    if (exported_ < 0) {
        why = "the reactor that registered the queue could not export it: that needs kernel 6.19";
        return errno_error(EOPNOTSUPP);
    }
    io_uring_zcrx_ifq_reg request{};
    request.if_idx = static_cast<std::uint32_t>(exported_);
    request.flags = ZCRX_REG_IMPORT;
    const int failed = io.rings().register_call(IORING_REGISTER_ZCRX_IFQ, &request, 1);
    if (failed < 0) {
        why = std::string("the queue cannot be imported: ") + std::strerror(-failed);
        return errno_error(-failed);
    }
    shared_.store(true, std::memory_order_relaxed);
    return &users_.emplace_back(&io, frame_pool::current, request.zcrx_id);
}

result<void> rx_queue::export_queue() noexcept {
    zcrx_ctrl request{};
    request.op = ZCRX_CTRL_EXPORT;
    if (const int failed = control(request); failed < 0) return errno_error(-failed);
    exported_ = static_cast<int>(request.zc_export.zcrx_fd);
    return {};
}

void rx_queue::leave(reactor_io& io) noexcept {
    if (hand_role_over(io)) retire();
}

// False: another reactor still uses the queue.
bool rx_queue::hand_role_over(reactor_io& io) noexcept {
    const std::lock_guard lock(users_mutex_);
    const bool producer = is_producer(io);
    if (producer) {
        io.forget(*this);
        hook_ = nullptr;
    }
    users_.remove_if([&](const user& u) { return u.io == &io; });
    if (users_.empty()) {
        if (exported_ >= 0) kernel_->close(std::exchange(exported_, -1));
        io_.store(nullptr, std::memory_order_release);
        return true;
    }
    if (!producer) return false;
    user& next = users_.front();
    io_.store(next.io, std::memory_order_release);
    hand_over(next.home);
    next.io->wake();
    return false;
}

void rx_queue::prepare(io_uring_sqe& sqe, std::uint32_t id, int descriptor,
                       std::uint32_t limit) noexcept {
    io_uring_prep_rw(IORING_OP_RECV_ZC, &sqe, descriptor, nullptr, limit, 0);
    sqe.ioprio |= IORING_RECV_MULTISHOT;
    sqe.zcrx_ifq_idx = id;
}

void rx_queue::recycle(buffer_block& b) noexcept {
    auto& c = static_cast<chunk&>(b);
    if (c.tokens.load(std::memory_order_acquire) == 0)
        fatal("a chunk of an rx queue was returned twice");
    if (c.returning) return;
    c.returning = true;
    c.next_returning = nullptr;
    (returning_last_ != nullptr ? returning_last_->next_returning : returning_) = &c;
    returning_last_ = &c;
    if (reactor_io* io = io_.load(std::memory_order_relaxed); io != nullptr) io->at_turn_end(*this);
}

void rx_queue::collect() noexcept {
    collect_returns();
    if (returning_ != nullptr) io_.load(std::memory_order_relaxed)->at_turn_end(*this);
}

void rx_queue::at_turn_end() noexcept {
    const std::uint64_t before = returned_.get();
    while (returning_ != nullptr) {
        chunk& c = *returning_;
        if (!give_back(c)) break;
        returning_ = c.next_returning;
        if (returning_ == nullptr) returning_last_ = nullptr;
        c.returning = false;
    }
    if (returning_ != nullptr) deferrals_.add(1);
    if (returned_.get() == before) return;
    publish();
    if (options_.device_less && (refill_.unseen() >= std::min(flush_batch, refill_.entries() / 2) ||
                                 available() < capacity() / 4))
        flush(users_.front());
    if (shared_.load(std::memory_order_relaxed)) tell_users();
    if (hook_ != nullptr) hook_(context_);
}

const std::shared_ptr<fixed_region>& rx_queue::region_of(const buffer_block& b) const noexcept {
    const auto& c = static_cast<const chunk&>(b);
    return areas_[c.offset >> IORING_ZCRX_AREA_SHIFT].load(std::memory_order_acquire)->region();
}

std::byte* rx_queue::data_of(const chunk& c) const noexcept {
    return areas_[c.offset >> IORING_ZCRX_AREA_SHIFT]
        .load(std::memory_order_relaxed)
        ->data(c.offset & ~IORING_ZCRX_AREA_MASK);
}

// All tokens of a chunk, one behind the other. False: no room for all of them.
bool rx_queue::give_back(chunk& c) noexcept {
    const std::uint32_t tokens = c.tokens.load(std::memory_order_acquire);
    if (c.in_use()) return true;  // it was delivered again, and comes back later
    // Nobody writes it while there are tokens.
    if (lease_account* account = c.account.load(std::memory_order_relaxed)) {
        c.account.store(nullptr, std::memory_order_relaxed);
        account->release();
    }
    // A NIC may have put a packet beside it that has not been delivered yet.
    if (options_.device_less) poison(data_of(c), options_.chunk_bytes);
    std::uint32_t written = 0;
    while (written != tokens && make_room()) {
        refill_.write(c.offset, options_.chunk_bytes);
        ++written;
    }
    returned_.add(written);
    const bool alone = counts_alone();
    if (written != 0 && add(alone, c.tokens, -written) == written)
        add(alone, shared_available(), 1U);
    return written == tokens;
}

bool rx_queue::make_room() noexcept {
    if (!refill_.full()) return true;
    publish();
    return flush(users_.front()) && !refill_.full();
}

void rx_queue::publish() noexcept {
    refill_.publish();
    publications_.add(1);
}

bool rx_queue::flush(user& by) noexcept {
    if (!support_.flush || refill_.unseen() == 0) return false;
    zcrx_ctrl request{};
    request.op = ZCRX_CTRL_FLUSH_RQ;
    flushes_.fetch_add(1, std::memory_order_relaxed);
    return control(by, request) >= 0;
}

// The wish is stated before the refill queue is looked at, and looked for after it was published:
// one of the two sees the other.
void rx_queue::want_from_afar(user& by) noexcept {
    by.wants.store(true, std::memory_order_relaxed);
    anyone_wants_.exchange(true, std::memory_order_seq_cst);
}

void rx_queue::tell_users() noexcept {
    if (!anyone_wants_.exchange(false, std::memory_order_seq_cst)) return;
    const std::lock_guard lock(users_mutex_);
    for (user& u : users_) {
        if (!u.wants.exchange(false, std::memory_order_relaxed)) continue;
        u.news.store(true, std::memory_order_release);
        u.io->wake();
    }
}

bool rx_queue::grow() noexcept {
    if (!support_.add_area || area_count_ == most_areas || options_.dma_buf >= 0) return false;
    const std::size_t have = area_bytes();
    if (have >= options_.max_area_bytes) return false;
    const std::size_t bytes = std::min(options_.area_bytes, options_.max_area_bytes - have);
    auto more = area::map(bytes, options_.chunk_bytes, options_, *this);
    if (!more || !add_area(**more)) {
        areas_refused_.add(1);
        return false;
    }
    area& a = *(*more).release();
    areas_[area_count_++].store(&a, std::memory_order_release);
    set_capacity(capacity() + a.chunks());
    shared_available().fetch_add(a.chunks(), std::memory_order_relaxed);
    return true;
}

bool rx_queue::add_area(area& a) noexcept {
    io_uring_zcrx_area_reg memory{};
    memory.addr = reinterpret_cast<std::uint64_t>(a.memory().data());
    memory.len = a.memory().size();
    zcrx_ctrl request{};
    request.op = ZCRX_CTRL_ADD_AREA;
    request.zc_area.area_ptr = reinterpret_cast<std::uint64_t>(&memory);
    // Named before the kernel may use it.
    a.name(std::uint64_t{area_count_} << IORING_ZCRX_AREA_SHIFT);
    return control(request) >= 0 && memory.rq_area_token == std::uint64_t{area_count_}
                                                                << IORING_ZCRX_AREA_SHIFT;
}

void rx_queue::on_notice(std::int32_t what) noexcept {
    if (what == ZCRX_EVENT_ALLOC_FAIL) {
        alloc_fail_events_.add(1);
        fired_ |= 1U << ZCRX_EVENT_ALLOC_FAIL;
        if (hook_ != nullptr) hook_(context_);
    } else if (what == ZCRX_EVENT_COPY) {
        copy_events_.add(1);
        fired_ |= 1U << ZCRX_EVENT_COPY;
    }
}

bool rx_queue::ran_dry() const noexcept { return (fired_ & 1U << ZCRX_EVENT_ALLOC_FAIL) != 0; }

void rx_queue::rearm_events() noexcept {
    for (std::uint32_t type = 0; fired_ != 0; ++type) {
        if ((fired_ & 1U << type) == 0) continue;
        fired_ &= ~(1U << type);
        zcrx_ctrl request{};
        request.op = ZCRX_CTRL_ARM_EVENT;
        request.zc_arm_event.event_type = type;
        control(request);
    }
}

int rx_queue::control(const user& by, zcrx_ctrl& request) noexcept {
    request.zcrx_id = by.id;
    return by.io->rings().register_call(IORING_REGISTER_ZCRX_CTRL, &request, 0);
}

void rx_queue::want() noexcept {
    want_returns();
    collect();
}

void rx_queue::wake_home() noexcept { io_.load(std::memory_order_relaxed)->wake(); }

bool rx_queue::lends(const void* data, const void* block) const noexcept {
    for (std::uint32_t i = 0; i < area_count_; ++i)
        if (areas_[i].load(std::memory_order_relaxed)->lends(data, block)) return true;
    return false;
}

std::size_t rx_queue::area_bytes() const noexcept {
    std::size_t bytes = 0;
    for (std::uint32_t i = 0; i < area_count_; ++i)
        bytes += areas_[i].load(std::memory_order_relaxed)->memory().size();
    return bytes;
}

zcrx_stats rx_queue::snapshot() const noexcept {
    zcrx_stats s;
    s.in_use = true;
    s.chunks = capacity();
    s.chunks_out = capacity() - available();
    s.areas = area_count_;
    s.tokens_delivered = delivered_.load(std::memory_order_relaxed);
    s.tokens_returned = returned_.get();
    s.area_bytes = area_bytes();
    for (std::uint32_t i = 0; i < area_count_; ++i) {
        area& a = *areas_[i].load(std::memory_order_relaxed);
        for (std::uint32_t n = 0; n < a.chunks(); ++n)
            s.tokens_held += a.at(n).tokens.load(std::memory_order_relaxed);
    }
    s.refill_unseen = refill_.unseen();
    s.publications = publications_.get();
    s.flushes = flushes_.load(std::memory_order_relaxed);
    s.deferrals = deferrals_.get();
    s.alloc_fail_events = alloc_fail_events_.get();
    s.copy_events = copy_events_.get();
    s.areas_refused = areas_refused_.get();
    s.handles = lent();
    if (support_.statistics) {
        const auto* kernels = reinterpret_cast<const ::zcrx_stats*>(
            static_cast<const std::byte*>(region_) +
            refill_queue::statistics_offset(refill_.entries()));
        s.copies = __atomic_load_n(&kernels->copy_count, __ATOMIC_RELAXED);
        s.copied_bytes = __atomic_load_n(&kernels->copy_bytes, __ATOMIC_RELAXED);
    }
    return s;
}

}  // namespace sluice::detail
