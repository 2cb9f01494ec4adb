// SPDX-License-Identifier: Apache-2.0
//! What the blocks of docs/guide.md use and do not show, and what their checks look at.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <future>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <sluice/sluice.hpp>

#include "loopback/plain_socket.hpp"
#include "support/cores.hpp"
#include "support/run.hpp"
#include "support/skip.hpp"

namespace sluice_guide {

using namespace sluice;
using sluice::testing::bytes_of;

struct fetch_count {
    int all = 0;
    int now = 0;
    int most_at_once = 0;
};

//! What a block has done. Blocks that use it run on one thread.
struct record {
    std::vector<std::string> printed;
    std::string used;
    int jobs = 0;
    fetch_count fetches;
};
inline record& recorded() {
    static record all;
    return all;
}

inline void print(std::string text) { recorded().printed.push_back(std::move(text)); }
inline const std::vector<std::string>& printed() { return recorded().printed; }

inline void use(std::span<const std::byte> bytes) {
    recorded().used.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
inline const std::string& used() { return recorded().used; }

inline void work_on(int) { ++recorded().jobs; }
inline int jobs_done() { return recorded().jobs; }

inline task<result<void>> fetch(endpoint) {
    fetch_count& count = recorded().fetches;
    ++count.all;
    count.most_at_once = std::max(count.most_at_once, ++count.now);
    auto slept = co_await sleep_for(std::chrono::milliseconds{1});
    --count.now;
    co_return slept;
}
inline const fetch_count& fetches() { return recorded().fetches; }

//! Echoes until something fails.
inline task<result<void>> converse(tcp_stream& conn) {
    for (;;) {
        auto chunk = co_await conn.recv();
        if (!chunk) co_return chunk.error();
        auto sent = co_await conn.send_all(std::move(*chunk));
        if (!sent) co_return sent.error();
    }
}

inline std::size_t content_length(const std::string& header) {
    constexpr std::string_view name = "Content-Length: ";
    const auto at = header.find(name);
    std::size_t length = 0;
    if (at != std::string::npos)
        std::from_chars(header.data() + at + name.size(), header.data() + header.size(), length);
    return length;
}

//! Calls `on_word` for each word until it returns something else than 0; returns that.
inline int split_words(const char* text, int (*on_word)(void*, const char*, int), void* user) {
    for (const char* at = text; *at != 0;) {
        const auto length = static_cast<int>(std::strcspn(at, " "));
        if (const int outcome = on_word(user, at, length); outcome != 0) return outcome;
        at += length;
        at += std::strspn(at, " ");
    }
    return 0;
}

inline void begin() { recorded() = record{}; }

//! Runs a coroutine on a reactor whose clock jumps, so that the guide can speak of hours.
template <class F>
void run(F fn) {
    begin();
    test::controlled_environment world;
    test::run(fn, {.environment = &world});
}

template <class F>
void on_two_cores(F fn) {
    sluice::testing::on_cores(2, fn);
}

//! A client in a thread of its own: sends something, waits for an answer, and sends SIGINT to the
//! process, which by then is to run a service with handle_signals.
class interrupting_client {
public:
    interrupting_client(const endpoint& at, std::string say) {
        // A service blocks the signal in the threads that it knows; this one it does not.
        sigset_t interrupt;
        sigemptyset(&interrupt);
        sigaddset(&interrupt, SIGINT);
        pthread_sigmask(SIG_BLOCK, &interrupt, &before_);
        thread_ = std::thread([this, at, say = std::move(say)] {
            auto socket = sluice::testing::plain_socket::connect(at);
            socket.send(say);
            std::array<std::byte, 65536> buffer{};
            const ssize_t got = socket.recv(buffer);
            if (got > 0)
                answer_.assign(reinterpret_cast<const char*>(buffer.data()),
                               static_cast<std::size_t>(got));
            socket.close();
            kill(getpid(), SIGINT);
        });
    }
    ~interrupting_client() {
        if (thread_.joinable()) thread_.join();
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

    //! What the first receive gave; waits for it.
    const std::string& answer() {
        thread_.join();
        return answer_;
    }

private:
    sigset_t before_{};
    std::string answer_;
    std::thread thread_;
};

}  // namespace sluice_guide
