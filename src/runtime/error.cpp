// SPDX-License-Identifier: Apache-2.0
#include "sluice/error.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/experimental/channel_error.hpp>

#include <cerrno>
#include <string>

namespace sluice {

namespace {

class category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "sluice"; }
    std::string message(int value) const override {
        switch (static_cast<error>(value)) {
            case error::eof: return "end of stream";
            case error::truncated: return "the stream or a limit ended in the middle of a message";
            case error::timeout: return "the time allowed has passed";
            case error::broken_send: return "an earlier send stopped half-way";
            case error::draining: return "the service is stopping and takes no new work";
            case error::channel_closed: return "the channel is closed";
            case error::lagged: return "values were lost because they were received too slowly";
        }
        return "unknown sluice error";
    }
};

}  // namespace

const boost::system::error_category& error_category() noexcept {
    static const category instance;
    return instance;
}

boost::system::error_code make_error_code(error e) noexcept {
    switch (e) {
        case error::eof: return boost::asio::error::make_error_code(boost::asio::error::eof);
        case error::channel_closed:
            return boost::asio::experimental::error::make_error_code(
                boost::asio::experimental::error::channel_closed);
        default: return {static_cast<int>(e), error_category()};
    }
}

boost::system::error_code cancelled_error() noexcept { return errno_error(ECANCELED); }

}  // namespace sluice
