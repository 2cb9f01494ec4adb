// SPDX-License-Identifier: Apache-2.0
//! Conversions from and to Boost.Asio's types. The only header that includes Asio, whose cost in
//! compile time it brings along.
#pragma once

#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "sluice/buffer.hpp"
#include "sluice/buffer_chain.hpp"
#include "sluice/endpoint.hpp"
#include "sluice/result.hpp"

namespace sluice {

//! One of Asio's endpoints as ours. Any of them fits.
template <class AsioEndpoint>
result<endpoint> from_asio(const AsioEndpoint& e) {
    return endpoint::from(reinterpret_cast<const sockaddr*>(e.data()),
                          static_cast<socklen_t>(e.size()));
}

//! Ours as one of Asio's: boost::asio::ip::tcp::endpoint, ip::udp::endpoint or
//! local::stream_protocol::endpoint. Error: EAFNOSUPPORT when the family is not the protocol's.
template <class AsioEndpoint>
result<AsioEndpoint> to_asio(const endpoint& e) {
    AsioEndpoint converted;
    const bool is_local = e.family() == AF_UNIX;
    constexpr bool wants_local =
        std::is_same_v<typename AsioEndpoint::protocol_type, boost::asio::local::stream_protocol>;
    if (is_local != wants_local || e.size() > converted.capacity())
        return errno_error(EAFNOSUPPORT);
    // The bytes first: a Unix endpoint looks at them to tell a path from an abstract name.
    std::memcpy(converted.data(), e.data(), e.size());
    converted.resize(e.size());
    return converted;
}

//! The bytes of a buffer, which must outlive it, as one of Asio's.
inline boost::asio::const_buffer to_asio(const rx_buffer& b) noexcept {
    return {b.data(), b.size()};
}

//! The bytes of a chain, which must outlive it, as a ConstBufferSequence. Throws bad_alloc.
inline std::vector<boost::asio::const_buffer> to_asio(const buffer_chain& chain) {
    std::vector<boost::asio::const_buffer> buffers;
    buffers.reserve(chain.count());
    for (std::size_t i = 0; i < chain.count(); ++i) buffers.push_back(to_asio(chain[i]));
    return buffers;
}

}  // namespace sluice
