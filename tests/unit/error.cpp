// SPDX-License-Identifier: Apache-2.0
#include "sluice/error.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/experimental/channel_error.hpp>
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <set>
#include <string>

#include "sluice/result.hpp"

using boost::system::error_code;
using sluice::error;
using sluice::make_error_code;
using sluice::result;

namespace {
constexpr std::array all{error::eof,         error::truncated, error::timeout,
                         error::broken_send, error::draining,  error::channel_closed};
}  // namespace

TEST_CASE("error: equal to Asio's where Asio has one") {
    CHECK(make_error_code(error::eof) == boost::asio::error::eof);
    CHECK(make_error_code(error::channel_closed) ==
          boost::asio::experimental::error::channel_closed);
    CHECK(sluice::cancelled_error() == boost::asio::error::operation_aborted);
    CHECK(make_error_code(error::truncated) != boost::asio::error::eof);
}

TEST_CASE("error: cancelled is ECANCELED, in the portable sense too") {
    CHECK(sluice::cancelled_error().value() == ECANCELED);
    CHECK(sluice::cancelled_error() == boost::system::errc::operation_canceled);
    CHECK(sluice::cancelled_error() == sluice::errno_error(ECANCELED));
}

TEST_CASE("error: our deadline is not the peer's ETIMEDOUT") {
    const error_code ours = error::timeout;
    CHECK(ours != sluice::errno_error(ETIMEDOUT));
    CHECK(ours != boost::asio::error::timed_out);
    CHECK(ours != boost::system::errc::timed_out);
    CHECK(ours == error::timeout);
}

TEST_CASE("error: all differ, all are failures, each has a message of its own") {
    std::set<std::string> messages;
    for (const error a : all) {
        const error_code code = a;
        CHECK(code.failed());
        CHECK_FALSE(code.message().empty());
        messages.insert(code.message());
        for (const error b : all) CHECK((code == make_error_code(b)) == (a == b));
        for (int number = 1; number < 200; ++number) REQUIRE(code != sluice::errno_error(number));
    }
    CHECK(messages.size() == all.size());
}

TEST_CASE("error: the category names itself and survives unknown values") {
    CHECK(std::string(sluice::error_category().name()) == "sluice");
    CHECK(&sluice::error_category() == &sluice::error_category());
    CHECK_FALSE(sluice::error_category().message(4711).empty());
    for (const error e : all)
        CHECK_FALSE(sluice::error_category().message(static_cast<int>(e)).empty());
}

TEST_CASE("result: holds a value or an error, and value() throws the error") {
    const result<int> good = 3;
    CHECK(good.value() == 3);
    const result<int> bad = error::truncated;
    CHECK(bad.has_error());
    CHECK(bad.error() == error::truncated);
    CHECK_THROWS_AS(static_cast<void>(bad.value()), boost::system::system_error);
    const result<void> nothing;
    CHECK(nothing.has_value());
    static_assert(sluice::detail::is_result<result<int>>);
    static_assert(!sluice::detail::is_result<int>);
}
