// SPDX-License-Identifier: Apache-2.0
//! One operation, cancelled at one moment, on one kernel: a cell of the table of all operations.
//!
//! A row says what the operation is, where its completion comes from, and how it ends in each
//! column. The runner does the rest: it starts the operation in a nursery of its own, requests the
//! stop and lets the completion arrive in the column's order, compares the end with the row, makes
//! the completion arrive late where the stop was first, and lets the subject check what its comment
//! promises to leave behind. Adding an operation is a subject and one line in a list of rows.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/kernel/kernel.hpp"
#include "sluice/listener.hpp"
#include "sluice/nursery.hpp"
#include "sluice/reactor.hpp"
#include "sluice/tcp_stream.hpp"
#include "sluice/timeout.hpp"

namespace sluice::testing {

//! The columns. The last two are races: completion and stop come in the same turn.
enum class phase {
    before_start,        //!< the stop was requested before the await
    before_with_result,  //!< the same, and the result is there to be taken
    in_flight,           //!< suspended, nothing is going to happen, then the stop
    stop_first,        //!< the completion is in the CQ, or follows at once; the stop is seen first
    completion_first,  //!< it was reaped and the coroutine is on the ready list, then the stop
};
inline constexpr std::size_t phases = 5;
const char* name_of(phase p) noexcept;

enum class ending { cancelled, completed, either };

//! How an operation ends in each column.
using endings = std::array<ending, phases>;

//! Waits on this reactor: a stop takes it out of where it waits, and nobody needs to be asked.
inline constexpr endings withdraws{ending::cancelled, ending::cancelled, ending::cancelled,
                                   ending::cancelled, ending::completed};
//! A request at the kernel: its end decides, and what it has done is done.
inline constexpr endings answered{ending::cancelled, ending::cancelled, ending::cancelled,
                                  ending::completed, ending::completed};
//! A stop changes nothing.
inline constexpr endings unstoppable{ending::completed, ending::completed, ending::completed,
                                     ending::completed, ending::completed};

//! Where the completion comes from, and so how the races are run.
enum class source {
    here,   //!< subject::complete() wakes it, through `steps` passages of other coroutines
    clock,  //!< the same, but it may complete by itself when it is left to wait
    peer,   //!< complete() makes a peer act; `steps` CQEs come of that, with the peer's own
    self,   //!< the kernel answers at once: `steps` CQEs; complete() has nothing to do
};

//! Both ends of a connection; bytes that `peer` sends arrive at `stream`.
struct connection_pair {
    tcp_stream stream;
    tcp_stream peer;
};

//! Where a cell is played: a reactor on either kernel, and what fixtures are made of. Peers are
//! coroutines of the same reactor, so that one fixture does for both kernels.
class stage {
public:
    stage(reactor& home, detail::kernel& below, std::function<std::size_t()> descriptors)
        : home_(home),
          below_(below),
          count_descriptors_(std::move(descriptors)),
          helpers_(home, {.policy = on_failure::collect}) {}

    [[nodiscard]] reactor& home() const noexcept { return home_; }
    [[nodiscard]] detail::kernel& below() const noexcept { return below_; }
    //! Open ones, of the process or of the simulated kernel.
    [[nodiscard]] std::size_t descriptors() const { return count_descriptors_(); }

    //! Whether all that happens is what the columns say: on a kernel that delays, splits and
    //! reorders at random the moment may be missed, and only what is left behind is checked.
    bool strict = true;

    //! Starts a coroutine that helps; it has to end by itself.
    template <class F, class... Args>
    void let(F&& fn, Args&&... args) {
        helpers_.spawn(std::forward<F>(fn), std::forward<Args>(args)...);
    }
    [[nodiscard]] nursery& helpers() noexcept { return helpers_; }

    //! Some turns, with the kernel's answers to all that it can answer.
    task<> settle();

    //! Waits until `holds()` does, for a time that no busy machine needs. Gives whether it does.
    template <class F>
    task<bool> until(F holds) {
        using namespace std::chrono_literals;
        for (int i = 0; i < 10'000 && !holds(); ++i) static_cast<void>(co_await sleep_for(1ms));
        co_return holds();
    }

    listener_group listen(const listen_options& options = {});

    //! A connection, with nothing of its making under way any more. `narrow`: with buffers so small
    //! that `much()` does not fit.
    task<connection_pair> connected(bool narrow = false);

private:
    reactor& home_;
    detail::kernel& below_;
    std::function<std::size_t()> count_descriptors_;
    nursery helpers_;
};

//! More than a narrow connection takes.
std::span<const std::byte> much();

std::span<const std::byte> bytes_of(std::string_view text);
task<> say(tcp_stream& to, std::string text);
//! So many bytes; fewer, and a check that fails, when they don't come.
task<std::string> hear(tcp_stream& from, std::size_t count);
//! Until the stream ends.
task<> hear_to_the_end(tcp_stream& from, std::string& into, bool& ended);

//! What a coroutine gives for an operation whose result is of no more interest than its success.
template <class T>
result<void> outcome_of(const result<T>& r) {
    if (r.has_error()) return r.error();
    return {};
}

//! An operation with its surroundings, made anew for each cell.
class subject {
public:
    explicit subject(stage& s) noexcept : stage_(s) {}
    subject(const subject&) = delete;
    subject& operator=(const subject&) = delete;
    virtual ~subject() = default;

    virtual task<> set_up(phase) { co_return; }
    //! Awaits the operation once. An error other than ECANCELED counts as its completion.
    virtual task<result<void>> operate() = 0;
    //! For what another thread begins: whether it has.
    [[nodiscard]] virtual bool begun() const { return true; }
    //! Lets the completion arrive. Called once, in each column, before check().
    virtual void complete() {}
    //! What the operation has left behind.
    virtual task<> check(bool cancelled) = 0;

protected:
    stage& stage_;
};

struct row {
    const char* name;
    std::unique_ptr<subject> (*make)(stage&);
    endings ends;
    source from;
    unsigned steps = 0;
    bool zero_copy =
        false;  //!< sends of any size are, and where the kernel has none it is left out
};

template <class S>
std::unique_ptr<subject> made(stage& s) {
    return std::make_unique<S>(s);
}

//! Plays one cell on the stage.
task<> play(stage& s, const row& r, phase p);

std::span<const row> receive_rows();
std::span<const row> send_rows();
std::span<const row> connection_rows();
std::span<const row> time_rows();
std::span<const row> structure_rows();
std::span<const row> primitive_rows();
//! On Linux only: a simulated kernel has no files.
std::span<const row> file_rows();
//! Those that need another reactor or thread: on Linux only, on a service of two reactors.
std::span<const row> core_rows();

}  // namespace sluice::testing
