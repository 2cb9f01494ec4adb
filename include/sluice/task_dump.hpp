// SPDX-License-Identifier: Apache-2.0
//! What every coroutine of a reactor is doing: a snapshot, as data and as text.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/await_record.hpp"

namespace sluice {

class nursery;
class reactor;

//! One coroutine.
struct task_entry {
    std::string function;   //!< without parameters; empty when it has not reached an await yet
    std::string file;       //!< as the compiler was given it
    unsigned line = 0;      //!< of the co_await it is suspended in, or of the last one if it runs
    std::string waits_for;  //!< "recv on fd 7 from 192.0.2.1:80"
    std::chrono::nanoseconds waiting{0};  //!< for how long, by the reactor's clock
    //! Received buffers that it holds, and their bytes. Found by looking through the coroutine's
    //! frame for handles of live buffers, so that nothing has to be noted at run time: one that was
    //! moved from or has ended may be counted while its traces are still there, one that lies
    //! outside the frame (in a vector, say) or whose bytes are a heap copy is not.
    std::size_t buffers = 0;
    std::size_t buffer_bytes = 0;
    //! The task that it awaits, or the tasks of the nursery whose end it awaits.
    std::vector<task_entry> children{};
};

//! How much of a reactor a dump shows.
struct dump_limits {
    std::size_t max_coroutines = 100'000;
    std::size_t max_depth = 256;
};

//! All coroutines of one reactor: from its root nursery downwards, then those of nurseries that
//! nobody waits for at the moment, which are members of objects.
struct task_dump {
    unsigned reactor = 0;
    bool answered = true;        //!< false: the reactor did not come to answering in time
    std::size_t coroutines = 0;  //!< that are shown
    std::size_t omitted = 0;     //!< that are not, by the limits; nor is what they await
    std::vector<task_entry> tasks{};

    //! One line for each coroutine, indented below what awaits it.
    [[nodiscard]] std::string to_string() const;
};

//! On the reactor's own thread, from a coroutine too; service::dump_tasks() works from anywhere.
//! Allocates; asks the kernel for the addresses of peers. Throws bad_alloc.
task_dump dump_tasks(reactor& home, const dump_limits& limits = {});

[[nodiscard]] std::string to_string(const std::vector<task_dump>& dumps);

//! What the place in which a coroutine is suspended says of itself: stop_listener::describe().
class await_description {
public:
    //! "recv on fd 7"
    void say(std::string_view what) { text_ += what; }

    //! Until when it waits, in nanoseconds of the reactor's clock.
    void until(std::int64_t deadline);

    //! For a limit or a wrapper: what is awaited inside.
    void inside(detail::awaited_ref what) noexcept { inside_ = what; }

    //! For a place that has several chains of awaits below it.
    void child(detail::awaited_ref what) { children_.push_back(what); }

    //! Waits for the children of `scope`.
    void scope(const nursery& scope) noexcept { scope_ = &scope; }

private:
    friend class task_dumper;
    explicit await_description(std::int64_t now) noexcept : now_(now) {}

    std::int64_t now_;
    std::string text_;
    detail::awaited_ref inside_;
    std::vector<detail::awaited_ref> children_;
    const nursery* scope_ = nullptr;
};

}  // namespace sluice
