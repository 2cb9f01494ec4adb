// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_ring.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sim/operations.hpp"
#include "sim/sim_socket.hpp"

namespace sluice::sim {

namespace {

constexpr unsigned known_sqe_flags =
    IOSQE_FIXED_FILE | IOSQE_ASYNC | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
constexpr std::size_t few_bytes = 8;

}  // namespace

std::string request::describe() const {
    return "request " + std::to_string(id) + (multishot() ? ", multishot " : ", ") +
           operation_name(sqe.opcode) + (notifies_only() ? ", accepted" : "");
}

void request::on_ready() { ring.queue(*this); }

sim_ring::sim_ring(world& w, descriptor_table& descriptors, network& net)
    : sim_file(w), descriptors_(descriptors), net_(net), queues_(w) {}

sim_ring::~sim_ring() {
    world_.books.requests -= requests_.size();
    world_.books.requests_dropped += requests_.size();
    for (auto& [id, r] : requests_) world_.clock.cancel(r->event);
}

unsigned sim_ring::setup_flags(const profile& p) noexcept {
    unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                     IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32;
    if (p.no_sqarray) flags |= IORING_SETUP_NO_SQARRAY;
    if (p.cqe_mixed) flags |= IORING_SETUP_CQE_MIXED;
    return flags;
}

unsigned sim_ring::feature_bits(const profile& p) noexcept {
    unsigned bits = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                    IORING_FEAT_RW_CUR_POS | IORING_FEAT_CUR_PERSONALITY | IORING_FEAT_FAST_POLL |
                    IORING_FEAT_POLL_32BITS | IORING_FEAT_EXT_ARG | IORING_FEAT_NATIVE_WORKERS |
                    IORING_FEAT_RSRC_TAGS | IORING_FEAT_CQE_SKIP | IORING_FEAT_LINKED_FILE;
    if (p.min_timeout) bits |= IORING_FEAT_MIN_TIMEOUT;
    if (p.no_iowait) bits |= IORING_FEAT_NO_IOWAIT;
    return bits;
}

int sim_ring::set_up(unsigned entries, io_uring_params& params) {
    const unsigned flags = params.flags;
    if ((flags & ~setup_flags(world_.options.kernel)) != 0) return -EINVAL;
    const bool deferred = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    if (deferred && (flags & IORING_SETUP_SINGLE_ISSUER) == 0) return -EINVAL;
    if ((flags & IORING_SETUP_TASKRUN_FLAG) != 0 && !deferred &&
        (flags & IORING_SETUP_COOP_TASKRUN) == 0)
        return -EINVAL;
    if (const int failed = queues_.set_up(entries, params); failed != 0) return failed;
    params.features = feature_bits(world_.options.kernel);
    deferred_ = deferred;
    return 0;
}

void* sim_ring::map(std::uint64_t offset, std::size_t length) const {
    if ((offset & IORING_OFF_MMAP_MASK) != IORING_OFF_PBUF_RING) return queues_.map(offset, length);
    const auto id =
        static_cast<std::uint16_t>((offset & ~IORING_OFF_MMAP_MASK) >> IORING_OFF_PBUF_SHIFT);
    const auto found = groups_.find(id);
    if (found == groups_.end() || length > found->second->pages().size()) return nullptr;
    return found->second->pages().data();
}

void sim_ring::audit() {
    for (const auto& [id, g] : groups_) g->audit();
    for (const auto& [id, z] : zcrx_) z->audit();
}

void sim_ring::unmapped(const void* address) noexcept {
    for (const auto& [id, z] : zcrx_) z->unmapped(address);
}

std::shared_ptr<sim_socket> sim_ring::make_socket(int family) {
    return std::make_shared<sim_socket>(world_, net_, family);
}

buffer_group* sim_ring::group(std::uint16_t id) {
    const auto found = groups_.find(id);
    return found == groups_.end() ? nullptr : found->second.get();
}

request* sim_ring::find(std::uint64_t id) const {
    const auto found = requests_.find(id);
    return found == requests_.end() ? nullptr : found->second.get();
}

unsigned sim_ring::submit(unsigned count) {
    unsigned taken = 0;
    while (taken < count) {
        const auto sqe = queues_.take_sqe();
        if (!sqe) break;
        ++taken;
        start(*sqe);
    }
    return taken;
}

void sim_ring::start(const sqe_fields& sqe) {
    auto made = std::make_unique<request>(*this, ++last_id_, sqe);
    request& r = *made;
    requests_.emplace(r.id, std::move(made));
    ++world_.books.requests;
    const operation_kind* kind = find_operation(sqe.opcode);
    if (world_.tracing) world_.trace("SQE  " + r.describe() + ", fd " + std::to_string(sqe.fd));
    int failed = kind == nullptr || (sqe.flags & ~known_sqe_flags) != 0 ? -EINVAL : 0;
    if (failed == 0) failed = kind->prepare(*this, r);
    if (failed == 0 && kind->needs_file) failed = find_file(r);
    if (failed != 0)
        end(r, failed, 0);
    else if (is_punted(r))
        queue(r);
    else
        attempt(r);
}

int sim_ring::find_file(request& r) const {
    r.file = (r.sqe.flags & IOSQE_FIXED_FILE) != 0
                 ? files_.find(static_cast<std::uint32_t>(r.sqe.fd))
                 : descriptors_.find(r.sqe.fd);
    return r.file == nullptr ? -EBADF : 0;
}

bool sim_ring::is_punted(const request& r) {
    if ((r.sqe.flags & IOSQE_ASYNC) != 0) return true;
    if (r.sqe.opcode == IORING_OP_SHUTDOWN && world_.options.kernel.shutdown_is_deferred)
        return true;
    return r.file != nullptr && world_.random.chance(world_.options.punt_rate);
}

void sim_ring::attempt(request& r) {
    r.state = request::phase::trying;
    if (const auto time = held_until(r)) {
        put_off(r, *time - world_.clock.now());
        return;
    }
    settle(r, find_operation(r.sqe.opcode)->attempt(*this, r));
}

void sim_ring::settle(request& r, const outcome& o) {
    switch (o.kind) {
        case outcome::what::finished:
            if (r.hold_for > 0)
                hold(r, o);
            else
                end(r, o.result, o.flags);
            break;
        case outcome::what::put_off: put_off(r, o.delay); break;
        case outcome::what::waits:
            if (r.must_end) {
                end(r, r.cancelled_result(), 0);
                break;
            }
            r.state = request::phase::waiting;
            if (r.file == nullptr) break;  // for time
            if (r.file->ready(o.wait_for))
                queue(r);
            else
                r.file->wait(r, o.wait_for);
    }
}

void sim_ring::put_off(request& r, std::int64_t delay) {
    r.state = request::phase::put_off;
    schedule(r, world_.clock.now() + delay, [this](request& again) { queue(again); });
}

// The effect is there, and no cancel can undo it; only the CQE comes later.
void sim_ring::hold(request& r, const outcome& o) {
    r.state = request::phase::held;
    r.held = o;
    ++held_;
    schedule(r, world_.clock.now() + std::exchange(r.hold_for, 0),
             [this](request& held) { queue(held); });
}

// CQEs of one direction of a stream come in the order in which the bytes went.
std::optional<std::int64_t> sim_ring::held_until(const request& r) const {
    if (held_ == 0 || r.file == nullptr) return std::nullopt;
    const interest direction = find_operation(r.sqe.opcode)->direction;
    for (const auto& [id, o] : requests_)
        if (o->state == request::phase::held && o->file == r.file &&
            find_operation(o->sqe.opcode)->direction == direction)
            return std::max(o->event.first, world_.clock.now()) + 1;
    return std::nullopt;
}

void sim_ring::schedule(request& r, std::int64_t time, std::function<void(request&)> fn) {
    r.event = world_.clock.at(time, [weak = weak_from_this(), id = r.id, fn = std::move(fn)] {
        const auto self = weak.lock();
        request* found = self != nullptr ? self->find(id) : nullptr;
        if (found != nullptr) fn(*found);
    });
}

void sim_ring::queue(request& r) {
    if (r.file != nullptr) r.file->forget(r);
    if (r.state != request::phase::held && r.state != request::phase::ending &&
        r.state != request::phase::free)
        r.state = request::phase::queued;
    task_work_.push_back(r.id);
    queues_.set_task_run(true);
}

std::optional<outcome> sim_ring::intercept(request& r) {
    if (std::exchange(r.counted, true)) return std::nullopt;  // once for each CQE
    const fault f = world_.faults.next_for({r.sqe.opcode, r.selects_buffer()}, world_.random);
    const bool can_hold = !r.multishot();
    if (can_hold && world_.random.chance(world_.options.hold_rate))
        r.hold_for = world_.random.between(1, world_.options.hold_time);
    switch (f.kind) {
        case fault_kind::none: return std::nullopt;
        case fault_kind::no_buffers: return outcome::finish(-ENOBUFS);
        case fault_kind::no_memory: return outcome::finish(-ENOMEM);
        case fault_kind::no_cq_room: return outcome::finish(-ENOSPC);
        case fault_kind::no_descriptors: return outcome::finish(-EMFILE);
        case fault_kind::cancelled: return outcome::finish(r.cancelled_result());
        case fault_kind::short_transfer:
            r.cap = 1 + world_.random.below(few_bytes);
            return std::nullopt;
        case fault_kind::reset:
            if (auto* s = dynamic_cast<sim_socket*>(r.file.get())) s->reset_by_network();
            return std::nullopt;
        case fault_kind::late: break;
    }
    if (can_hold && world_.random.chance(0.5)) {
        r.hold_for = f.delay;
        return std::nullopt;
    }
    return outcome::later(f.delay);
}

void sim_ring::post(request& r, std::int32_t result, std::uint32_t flags) {
    if (!std::exchange(r.counted, false)) world_.faults.count(r.sqe.opcode);
    if (world_.tracing)
        world_.trace("CQE  " + r.describe() + ": " + std::to_string(result) +
                     ((flags & IORING_CQE_F_MORE) != 0 ? ", more" : "") +
                     ((flags & IORING_CQE_F_BUFFER) != 0
                          ? ", buffer " + std::to_string(flags >> IORING_CQE_BUFFER_SHIFT)
                          : ""));
    queues_.post(r.sqe.user_data, result, flags);
}

bool sim_ring::post_more(request& r, std::int32_t result, std::uint32_t flags) {
    if (queues_.full() && world_.random.chance(world_.options.overflow_ends_rate)) return false;
    post(r, result, flags | IORING_CQE_F_MORE);
    return true;
}

void sim_ring::post_big(request& r, std::int32_t result, std::uint64_t offset) {
    if (!std::exchange(r.counted, false)) world_.faults.count(r.sqe.opcode);
    if (world_.tracing)
        world_.trace("CQE  " + r.describe() + ": " + std::to_string(result) + ", more, at " +
                     std::to_string(offset));
    queues_.post_big(r.sqe.user_data, result, IORING_CQE_F_MORE, offset);
}

void sim_ring::post_notices() {
    for (const notice& n : std::exchange(notices_, {})) {
        if (world_.tracing) world_.trace("CQE  event " + std::to_string(n.what));
        queues_.post(n.user_data, n.what, 0);
    }
}

// The first of two CQEs; the memory is free when nobody else refers to it.
void sim_ring::accept(request& r, std::int32_t result, std::uint32_t flags) {
    post(r, result, flags | IORING_CQE_F_MORE);
    if (r.state == request::phase::held) --held_;
    world_.clock.cancel(r.event);
    r.state = request::phase::lent;
    if (r.file != nullptr) r.file->forget(r);
    const auto file = std::exchange(r.file, nullptr);
    const auto lent = std::exchange(r.lent, nullptr);
}

void sim_ring::memory_free(std::uint64_t request_id, bool unchanged) {
    request* r = find(request_id);
    if (r == nullptr) return;
    if (!unchanged)
        world_.fail(r->describe() + ": its memory changed before the kernel had done with it");
    r->state = request::phase::free;
    std::int64_t delay = 0;
    if (world_.random.chance(world_.options.late_notice_rate))
        delay = world_.random.between(1, world_.options.late_notice_time);
    schedule(*r, world_.clock.now() + delay, [this](request& released) { queue(released); });
}

// As in Linux, a send of which nothing went out counts as copied.
std::int32_t sim_ring::notice_of(const request& r) {
    if ((r.sqe.ioprio & IORING_SEND_ZC_REPORT_USAGE) == 0) return 0;
    const bool copied = r.done == 0 || world_.random.chance(world_.options.copied_rate);
    return copied ? static_cast<std::int32_t>(IORING_NOTIF_USAGE_ZC_COPIED) : 0;
}

void sim_ring::end(request& r, std::int32_t result, std::uint32_t flags) {
    if (r.lent != nullptr) {
        accept(r, result, flags);
        return;
    }
    if (result < 0 || (r.sqe.flags & IOSQE_CQE_SKIP_SUCCESS) == 0) post(r, result, flags);
    if (r.state == request::phase::held) --held_;
    world_.clock.cancel(r.event);
    --world_.books.requests;
    const auto gone = requests_.extract(r.id);  // its file may go with it, and lead back here
}

int sim_ring::cancel(const std::function<bool(const request&)>& matches, bool all,
                     const request& self) {
    std::vector<request*> targets;
    for (const auto& [id, r] : requests_)
        if (r.get() != &self && !r->notifies_only() && matches(*r)) targets.push_back(r.get());
    if (!all) return targets.empty() ? -ENOENT : cancel_one(*targets.front());
    for (request* r : targets) cancel_one(*r);
    return static_cast<int>(targets.size());
}

int sim_ring::cancel_one(request& target) {
    using phase = request::phase;
    if (target.state == phase::held) return -EALREADY;
    if (target.state == phase::ending || target.must_end) return 0;
    const operation_kind& kind = *find_operation(target.sqe.opcode);
    const bool about_to_end = (target.state == phase::queued || target.state == phase::put_off) &&
                              target.file != nullptr && target.file->ready(kind.direction);
    if (about_to_end && world_.random.chance(world_.options.cancel_race_rate)) {
        target.must_end = true;
        return target.multishot() ? 0 : -EALREADY;
    }
    const bool is_queued = target.state == phase::queued;
    world_.clock.cancel(target.event);
    target.state = phase::ending;
    if (!is_queued) queue(target);
    return 0;
}

// In the order of becoming ready, or any other that keeps the order of each file and direction.
std::uint64_t sim_ring::take_task_work() {
    std::size_t index = 0;
    if (world_.random.chance(world_.options.reorder_rate))
        index = world_.random.below(task_work_.size());
    if (const request* r = find(task_work_[index]); r != nullptr && r->file != nullptr) {
        const interest direction = find_operation(r->sqe.opcode)->direction;
        for (std::size_t i = 0; i < index; ++i) {
            const request* before = find(task_work_[i]);
            if (before == nullptr || before->file != r->file) continue;
            if (find_operation(before->sqe.opcode)->direction == direction) index = i;
        }
    }
    const std::uint64_t id = task_work_[index];
    task_work_.erase(task_work_.begin() + static_cast<std::ptrdiff_t>(index));
    return id;
}

void sim_ring::run_task_work(unsigned limit) {
    for (unsigned i = 0; !task_work_.empty() && (limit == 0 || i < limit); ++i) {
        request* r = find(take_task_work());
        if (r == nullptr) continue;
        if (r->state == request::phase::ending)
            end(*r, r->cancelled_result(), 0);
        else if (r->state == request::phase::free)
            end(*r, notice_of(*r), IORING_CQE_F_NOTIF);
        else if (r->state == request::phase::held)
            end(*r, r->held.result, r->held.flags);
        else
            attempt(*r);
    }
    post_notices();
    queues_.set_task_run(!task_work_.empty());
}

int sim_ring::wait(const wait_terms& terms) {
    const unsigned wanted = std::min(terms.completions, queues_.cq_entries());
    const unsigned limit = world_.options.kernel.task_work_limit;
    run_task_work(limit == 0 ? 0 : std::max(limit, wanted));
    queues_.flush_overflow();
    if (queues_.ready() >= wanted) return 0;
    int result = 0;
    const std::int64_t min_end = world_.clock.now() + terms.min_wait;
    if (terms.min_wait > 0 && (!terms.deadline || min_end < *terms.deadline)) {
        result = wait_until(wanted, min_end);
        if (result == -ETIME) result = wait_until(1, terms.deadline);
    } else {
        result = wait_until(wanted, terms.deadline);
    }
    return queues_.ready() != 0 && result != -EDEADLK ? 0 : result;
}

int sim_ring::wait_until(unsigned completions, std::optional<std::int64_t> deadline) {
    for (;;) {
        run_task_work(0);
        queues_.flush_overflow();
        if (queues_.ready() >= completions) return 0;
        const auto next = world_.clock.next();
        if (!next && !deadline) {
            world_.fail("deadlock: nothing is going to happen any more, and the program waits\n" +
                        describe_requests());
            return -EDEADLK;
        }
        if (!next || (deadline && *deadline < *next)) {
            world_.clock.advance_to(*deadline);
            return -ETIME;
        }
        world_.clock.advance_to(*next);
        world_.clock.run_due();
    }
}

std::string sim_ring::describe_requests() const {
    std::string text;
    for (const auto& [id, r] : requests_)
        text += r->describe() + (r->file != nullptr ? " on a " + r->file->describe() : "") + "\n";
    return text;
}

}  // namespace sluice::sim
