// SPDX-License-Identifier: Apache-2.0
//! A simulated io_uring.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/buffer_group.hpp"
#include "sim/descriptor_table.hpp"
#include "sim/fixed_memory.hpp"
#include "sim/network.hpp"
#include "sim/registered_files.hpp"
#include "sim/request.hpp"
#include "sim/shared_queues.hpp"
#include "sim/sim_file.hpp"
#include "sim/zcrx_queue.hpp"

namespace sluice::sim {

class sim_socket;

//! How long an io_uring_enter waits.
struct wait_terms {
    unsigned completions = 0;              // CQEs that have to be there
    std::optional<std::int64_t> deadline;  // virtual time
    std::int64_t min_wait = 0;             // nanoseconds: see io_uring_enter(2), min_wait_usec
};

//! Requests are tried when they are submitted; those that have to wait are tried again by task
//! work, which runs only inside an enter with GETEVENTS (IORING_SETUP_DEFER_TASKRUN).
class sim_ring final : public sim_file, public std::enable_shared_from_this<sim_ring> {
public:
    sim_ring(world& w, descriptor_table& descriptors, network& net);
    ~sim_ring() override;

    [[nodiscard]] std::string describe() const override { return "ring"; }

    //! What rings can be asked for, and what they have.
    static unsigned setup_flags(const profile& p) noexcept;
    static unsigned feature_bits(const profile& p) noexcept;

    //! io_uring_setup(2): 0 or a negative errno.
    int set_up(unsigned entries, io_uring_params& params);

    //! Takes up to `count` SQEs; returns how many there were.
    unsigned submit(unsigned count);

    //! Runs task work and lets virtual time pass until the terms are met: 0, ETIME, EDEADLK.
    int wait(const wait_terms& terms);

    //! io_uring_register(2), but for what concerns the process.
    int register_call(unsigned opcode, void* argument, unsigned count);

    //! Null when nothing of that length is at the offset.
    [[nodiscard]] void* map(std::uint64_t offset, std::size_t length) const;

    //! Looks at what the program has put into buffer rings and refill queues.
    void audit();
    //! The program has unmapped something.
    void unmapped(const void* address) noexcept;

    // For the operations.

    [[nodiscard]] world& in() noexcept { return world_; }
    [[nodiscard]] const world& in() const noexcept { return world_; }
    [[nodiscard]] const fixed_memory& fixed() const noexcept { return fixed_; }
    [[nodiscard]] descriptor_table& descriptors() noexcept { return descriptors_; }
    [[nodiscard]] registered_files& files() noexcept { return files_; }
    [[nodiscard]] std::shared_ptr<sim_socket> make_socket(int family);
    [[nodiscard]] buffer_group* group(std::uint16_t id);
    [[nodiscard]] zcrx_queue* rx_queue(std::uint32_t id);

    //! To be asked before the effect of what posts a CQE: a fault that replaces it, or nothing.
    //! Sets the cap and the hold of the request.
    std::optional<outcome> intercept(request& r);

    //! A CQE with F_MORE. False: it was not posted, the request is to end with this one.
    bool post_more(request& r, std::int32_t result, std::uint32_t flags);

    //! A data CQE of a zero-copy receive, with F_MORE, once there is room.
    void post_big(request& r, std::int32_t result, std::uint64_t offset);
    [[nodiscard]] bool has_room_for_big_cqe() noexcept { return queues_.make_room_for_big(); }

    //! ASYNC_CANCEL of all others that `matches`, or of the oldest: what its CQE says.
    int cancel(const std::function<bool(const request&)>& matches, bool all, const request& self);

    //! Ends a request from outside of a try.
    void end(request& r, std::int32_t result, std::uint32_t flags);
    //! Calls `fn` at a time, unless the request has ended before.
    void schedule(request& r, std::int64_t time, std::function<void(request&)> fn);
    //! Nothing reads the memory of a zero-copy send any more.
    void memory_free(std::uint64_t request_id, bool unchanged);
    //! Task work will try the request again.
    void queue(request& r);

    //! Requests that have not ended, for messages.
    [[nodiscard]] std::string describe_requests() const;
    [[nodiscard]] const std::map<std::uint16_t, std::unique_ptr<buffer_group>>& groups()
        const noexcept {
        return groups_;
    }
    //! Chunks of rx queues that the program has.
    [[nodiscard]] std::size_t lent_chunks();

private:
    //! An event that task work will post.
    struct notice {
        std::uint64_t user_data;
        std::int32_t what;
    };
    using request_map = std::map<std::uint64_t, std::unique_ptr<request>>;

    void start(const sqe_fields& sqe);
    int find_file(request& r) const;
    [[nodiscard]] bool is_punted(const request& r);
    void attempt(request& r);
    void settle(request& r, const outcome& o);
    void put_off(request& r, std::int64_t delay);
    void hold(request& r, const outcome& o);
    [[nodiscard]] std::optional<std::int64_t> held_until(const request& r) const;
    int cancel_one(request& target);
    void accept(request& r, std::int32_t result, std::uint32_t flags);
    [[nodiscard]] std::int32_t notice_of(const request& r);
    void post(request& r, std::int32_t result, std::uint32_t flags);
    void run_task_work(unsigned limit);
    std::uint64_t take_task_work();
    [[nodiscard]] request* find(std::uint64_t id) const;
    int wait_until(unsigned completions, std::optional<std::int64_t> deadline);
    int register_buffers(const io_uring_buf_reg& registration);
    int unregister_buffers(std::uint16_t id);
    int register_files(const io_uring_rsrc_register& registration);
    int register_fixed(const io_uring_rsrc_register& registration);
    int update_fixed(const io_uring_rsrc_update2& update);
    int register_zcrx(io_uring_zcrx_ifq_reg& request);
    int import_zcrx(io_uring_zcrx_ifq_reg& request);
    int control_zcrx(zcrx_ctrl& request);
    std::uint32_t install(std::shared_ptr<zcrx_queue> queue);
    void tell(std::uint64_t user_data, std::int32_t event_type);
    void post_notices();
    int register_file_array(const std::int32_t* descriptors, unsigned count);

    descriptor_table& descriptors_;
    network& net_;
    shared_queues queues_;
    registered_files files_;
    fixed_memory fixed_;
    std::map<std::uint16_t, std::unique_ptr<buffer_group>> groups_;
    std::map<std::uint32_t, std::shared_ptr<zcrx_queue>> zcrx_;
    std::vector<notice> notices_;
    bool deferred_ = false;  // IORING_SETUP_DEFER_TASKRUN
    request_map requests_;   // by age
    std::vector<std::uint64_t> task_work_;
    std::uint64_t last_id_ = 0;
    unsigned held_ = 0;
};

}  // namespace sluice::sim
