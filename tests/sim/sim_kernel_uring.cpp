// SPDX-License-Identifier: Apache-2.0
//! The seam's io_uring calls.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sim/query.hpp"
#include "sim/sim_kernel.hpp"

namespace sluice::sim {

std::shared_ptr<sim_ring> sim_kernel::ring_of(int fd, bool registered) const {
    if (!registered) return descriptors_.find_as<sim_ring>(fd);
    const auto index = static_cast<std::size_t>(fd);
    return fd >= 0 && index < ring_registry_.size() ? ring_registry_[index] : nullptr;
}

int sim_kernel::uring_setup(unsigned entries, io_uring_params& params) noexcept {
    auto made = std::make_shared<sim_ring>(world_, descriptors_, network_);
    if (const int failed = made->set_up(entries, params); failed != 0) return failed;
    rings_.push_back(made);
    return descriptors_.install(std::move(made));
}

void* sim_kernel::map_ring(int ring, std::size_t length, std::uint64_t offset,
                           int& error) noexcept {
    const auto found = ring_of(ring, false);
    void* address = found != nullptr ? found->map(offset, length) : nullptr;
    if (address == nullptr)
        error = found == nullptr ? EBADF : EINVAL;
    else
        ++world_.books.mappings;
    return address;
}

int sim_kernel::read_terms(const void* argument, std::size_t size, unsigned flags,
                           wait_terms& terms) const {
    if ((flags & IORING_ENTER_EXT_ARG) == 0) return 0;
    io_uring_getevents_arg given{};
    if (size != sizeof given) return -EINVAL;
    std::memcpy(&given, argument, sizeof given);
    if (given.min_wait_usec != 0) {
        if (!world_.options.kernel.min_timeout) return -EINVAL;
        terms.min_wait = std::int64_t{given.min_wait_usec} * 1000;
    }
    if (given.ts == 0) return 0;
    __kernel_timespec time{};
    std::memcpy(&time, reinterpret_cast<const void*>(given.ts), sizeof time);
    if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) return -EINVAL;
    constexpr std::int64_t longest = INT64_MAX / 4;
    const std::int64_t nanoseconds = time.tv_sec > longest / 1'000'000'000
                                         ? longest
                                         : time.tv_sec * 1'000'000'000 + time.tv_nsec;
    const bool absolute = (flags & IORING_ENTER_ABS_TIMER) != 0;
    terms.deadline = absolute ? nanoseconds : world_.clock.now() + nanoseconds;
    return 0;
}

int sim_kernel::uring_enter(int ring, unsigned submit, unsigned wait, unsigned flags,
                            const void* argument, std::size_t argument_size) noexcept {
    unsigned known = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (world_.options.kernel.registered_rings) known |= IORING_ENTER_REGISTERED_RING;
    if (world_.options.kernel.absolute_wait) known |= IORING_ENTER_ABS_TIMER;
    if (world_.options.kernel.no_iowait) known |= IORING_ENTER_NO_IOWAIT;
    if ((flags & ~known) != 0) return -EINVAL;
    const auto found = ring_of(ring, (flags & IORING_ENTER_REGISTERED_RING) != 0);
    if (found == nullptr) return -EBADF;
    spend(world_.options.enter_cost);
    if (calls_ > world_.options.call_limit) return -EDEADLK;
    found->audit();
    if (on_enter_) on_enter_();
    if (const int error = world_.faults.next_enter(world_.random); error != 0) return -error;
    const unsigned taken = found->submit(submit);
    const int submitted = static_cast<int>(taken);
    // As in Linux, who announces more than there is does not wait.
    if ((flags & IORING_ENTER_GETEVENTS) == 0 || taken != submit) return submitted;
    wait_terms terms;
    terms.completions = wait;
    int result = read_terms(argument, argument_size, flags, terms);
    if (result == 0) result = found->wait(terms);
    if (result == -EDEADLK) return result;
    return taken != 0 ? submitted : result;
}

int sim_kernel::uring_register(int ring, unsigned opcode, void* argument, unsigned count) noexcept {
    if (opcode == IORING_REGISTER_QUERY)
        return answer_query(world_.options.kernel, argument, count);
    const auto found = ring_of(ring, false);
    if (found == nullptr) return -EBADF;
    if (opcode == IORING_REGISTER_RING_FDS)
        return register_rings(static_cast<io_uring_rsrc_update*>(argument), count);
    if (opcode == IORING_UNREGISTER_RING_FDS)
        return unregister_rings(static_cast<const io_uring_rsrc_update*>(argument), count);
    return found->register_call(opcode, argument, count);
}

int sim_kernel::register_rings(io_uring_rsrc_update* updates, unsigned count) {
    if (!world_.options.kernel.registered_rings || count == 0 || count > ring_slots) return -EINVAL;
    ring_registry_.resize(ring_slots);
    unsigned done = 0;
    for (; done < count; ++done) {
        io_uring_rsrc_update& update = updates[done];
        const auto wanted = descriptors_.find_as<sim_ring>(static_cast<int>(update.data));
        if (wanted == nullptr) return done != 0 ? static_cast<int>(done) : -EBADF;
        if (update.offset == UINT32_MAX) {
            const auto free = std::find(ring_registry_.begin(), ring_registry_.end(), nullptr);
            if (free == ring_registry_.end()) return done != 0 ? static_cast<int>(done) : -EBUSY;
            update.offset = static_cast<std::uint32_t>(free - ring_registry_.begin());
        }
        if (update.offset >= ring_slots) return done != 0 ? static_cast<int>(done) : -EINVAL;
        if (ring_registry_[update.offset] != nullptr)
            return done != 0 ? static_cast<int>(done) : -EBUSY;
        ring_registry_[update.offset] = wanted;
    }
    return static_cast<int>(done);
}

int sim_kernel::unregister_rings(const io_uring_rsrc_update* updates, unsigned count) {
    if (count == 0 || count > ring_slots) return -EINVAL;
    for (unsigned i = 0; i < count; ++i) {
        if (updates[i].offset >= ring_registry_.size())
            return i != 0 ? static_cast<int>(i) : -EINVAL;
        ring_registry_[updates[i].offset] = nullptr;
    }
    return static_cast<int>(count);
}

}  // namespace sluice::sim
