// SPDX-License-Identifier: Apache-2.0
#include "sluice/log.hpp"

#include <doctest/doctest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "support/run.hpp"

using sluice::logger;
using sluice::set_log_level;
using sluice::task;

namespace {

//! What the library logs while it lives, at the level given.
class captured_log {
public:
    explicit captured_log(const char* level)
        : sink_(std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)),
          before_(logger()->level()) {
        sinks_.swap(logger()->sinks());
        logger()->sinks().push_back(sink_);
        REQUIRE(set_log_level(level).has_value());
    }
    ~captured_log() {
        sinks_.swap(logger()->sinks());
        logger()->set_level(before_);
    }
    captured_log(const captured_log&) = delete;
    captured_log& operator=(const captured_log&) = delete;

    [[nodiscard]] bool has(const std::string& part) const {
        return text_.str().find(part) != std::string::npos;
    }
    [[nodiscard]] bool empty() const { return text_.str().empty(); }

private:
    std::ostringstream text_;
    spdlog::sink_ptr sink_;
    std::vector<spdlog::sink_ptr> sinks_;
    spdlog::level::level_enum before_;
};

}  // namespace

TEST_CASE("log: every level has its name, and no other name is taken") {
    const auto before = logger()->level();
    CHECK(logger()->name() == "sluice");
    struct pair {
        const char* name;
        spdlog::level::level_enum level;
    };
    for (const pair p :
         {pair{"trace", spdlog::level::trace}, pair{"debug", spdlog::level::debug},
          pair{"info", spdlog::level::info}, pair{"warning", spdlog::level::warn},
          pair{"error", spdlog::level::err}, pair{"critical", spdlog::level::critical},
          pair{"off", spdlog::level::off}}) {
        CAPTURE(p.name);
        CHECK(set_log_level(p.name).has_value());
        CHECK(logger()->level() == p.level);
    }
    CHECK(set_log_level("error").has_value());
    for (const char* wrong : {"", "loud", "OFF ", "7"}) {
        const auto set = set_log_level(wrong);
        REQUIRE(set.has_error());
        CHECK(set.error() == boost::system::errc::invalid_argument);
        CHECK(logger()->level() == spdlog::level::err);  // as it was
    }
    logger()->set_level(before);
}

TEST_CASE("log: a reactor says once what its ring can do") {
    const captured_log log("info");
    const auto home = sluice::testing::make_reactor({}, 3);
    CHECK(log.has("reactor 3: in use:"));
    CHECK(log.has(home->ring_features().summary()));
}

TEST_CASE("log: an exception that escapes from a root task is an error, with its text") {
    const captured_log log("error");
    const auto home = sluice::testing::make_reactor({}, 4);
    home->spawn([]() -> task<> {
        throw std::runtime_error("its own text");
        co_return;
    });
    home->spawn([]() -> task<> {
        throw 1;
        co_return;
    });
    CHECK(log.empty());
    home->run_until_idle();
    CHECK(log.has("reactor 4"));
    CHECK(log.has("its own text"));
    CHECK(log.has("unknown type"));
}

TEST_CASE("log: an error result of a root task is no news at the usual level") {
    const captured_log log("info");
    const auto home = sluice::testing::make_reactor();
    const captured_log later("info");
    home->spawn(
        []() -> task<sluice::result<void>> { co_return make_error_code(sluice::error::eof); });
    home->run_until_idle();
    CHECK(later.empty());
}
