// SPDX-License-Identifier: Apache-2.0
#include "sim/seeds.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string>

// Of the sanitizers' run-time library, where there is one: they end the process without a signal.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

namespace sluice::sim {

namespace {

constexpr std::uint64_t most_failures = 5;
constexpr std::array deadly_signals{SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};

// What to print when the process dies, made beforehand.
std::array<char, 160> last_words{};

void say_last_words() {
    const std::size_t length = ::strnlen(last_words.data(), last_words.size());
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, last_words.data(), length);
}

void on_deadly_signal(int) { say_last_words(); }  // SA_RESETHAND: what follows is the default

std::string replay_hint(std::uint64_t seed) {
    return "replay with the environment variable SLUICE_SIM_SEED=" + std::to_string(seed);
}

//! While it lives, the death of the process names the seed.
class death_watch {
public:
    explicit death_watch(std::uint64_t seed) {
        const std::string words = "\nsimulated kernel, seed " + std::to_string(seed) + ": died; " +
                                  replay_hint(seed) + "\n";
        std::snprintf(last_words.data(), last_words.size(), "%s", words.c_str());
        static const bool once = watch_sanitizer();
        static_cast<void>(once);
        for (std::size_t i = 0; i < deadly_signals.size(); ++i) {
            struct sigaction action {};
            action.sa_handler = on_deadly_signal;
            action.sa_flags = static_cast<int>(SA_RESETHAND);
            ::sigaction(deadly_signals[i], &action, &before_[i]);
        }
    }
    ~death_watch() {
        for (std::size_t i = 0; i < deadly_signals.size(); ++i)
            ::sigaction(deadly_signals[i], &before_[i], nullptr);
        last_words[0] = '\0';
    }
    death_watch(const death_watch&) = delete;
    death_watch& operator=(const death_watch&) = delete;

private:
    static bool watch_sanitizer() {
        const bool there = &__sanitizer_set_death_callback != nullptr;
        if (there) __sanitizer_set_death_callback(say_last_words);
        return there;
    }
    std::array<struct sigaction, deadly_signals.size()> before_{};
};

std::optional<std::uint64_t> number_from(const char* variable) {
    const char* text = std::getenv(variable);
    if (text == nullptr || *text == '\0') return std::nullopt;
    return std::strtoull(text, nullptr, 10);
}

}  // namespace

bool run_seed(std::uint64_t seed, const scenario& fn, const sim_options& options) {
    bool good = true;
    const auto report = [&](std::uint64_t, const std::string& reason) {
        if (good)
            std::fprintf(stderr, "simulated kernel, seed %llu: %s\n%s\n",
                         static_cast<unsigned long long>(seed), reason.c_str(),
                         replay_hint(seed).c_str());
        good = false;
    };
    const death_watch watch(seed);
    INFO("simulated kernel, seed ", seed, "; ", replay_hint(seed));
    sim_kernel sim(seed, options);
    sim.on_failure(report);
    try {
        fn(sim);
    } catch (const std::exception& e) {
        report(seed, e.what());
    } catch (...) {
        report(seed, "an assertion failed, or an exception of an unknown type came out");
    }
    return good;
}

std::uint64_t for_each_seed(std::uint64_t first, std::uint64_t count, const scenario& fn,
                            const sim_options& options) {
    if (const auto only = number_from("SLUICE_SIM_SEED")) {
        first = *only;
        count = 1;
    } else if (const auto number = number_from("SLUICE_SIM_SEEDS")) {
        count = *number;
    }
    std::uint64_t failed = 0;
    for (std::uint64_t i = 0; i < count && failed < most_failures; ++i)
        if (!run_seed(first + i, fn, options)) ++failed;
    return failed;
}

}  // namespace sluice::sim
