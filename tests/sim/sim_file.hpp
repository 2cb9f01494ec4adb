// SPDX-License-Identifier: Apache-2.0
//! What a descriptor of a simulated process refers to.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sim/world.hpp"

namespace sluice::sim {

//! What a request waits for.
enum class interest : unsigned char { input, output };

//! Someone to be told when a file can be tried again.
class readiness_waiter {
public:
    virtual void on_ready() = 0;

protected:
    ~readiness_waiter() = default;
};

//! Kept alive by descriptors, by slots of a ring's file table and by requests; the destructor is
//! the last close.
class sim_file {
public:
    explicit sim_file(world& w) : world_(w) { ++world_.books.open_files; }
    virtual ~sim_file() { --world_.books.open_files; }
    sim_file(const sim_file&) = delete;
    sim_file& operator=(const sim_file&) = delete;

    //! For messages: "socket", "ring", ...
    [[nodiscard]] virtual std::string describe() const = 0;

    //! Whether trying again would bring something: data, room, a connection, an error.
    [[nodiscard]] virtual bool ready(interest) const { return false; }

    void wait(readiness_waiter& w, interest what);
    //! Harmless when `w` does not wait.
    void forget(readiness_waiter& w) noexcept;

protected:
    //! Tells those that wait for `what`, who wait no more then.
    void notify(interest what);

    world& world_;

private:
    struct entry {
        readiness_waiter* who;
        interest what;
    };
    std::vector<entry> waiters_;
};

}  // namespace sluice::sim
