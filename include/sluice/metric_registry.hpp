// SPDX-License-Identifier: Apache-2.0
//! A program's own counters, gauges and histograms, one value for each reactor.
//!
//! A value is written by its reactor only: a load and a store, without a lock or a locked
//! instruction. It is read from anywhere as a relaxed atomic, so that a reactor which is stuck can
//! still be read, and is not woken to be read.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

class reactor;

//! What a sample is told apart by, besides its reactor: {{"method", "GET"}}.
using metric_labels = std::vector<std::pair<std::string, std::string>>;

namespace detail {

//! A number with one writer.
template <class T>
class alignas(64) metric_cell {
public:
    void add(T n) noexcept { set(get() + n); }
    void set(T n) noexcept { value_.store(n, std::memory_order_relaxed); }
    [[nodiscard]] T get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<T> value_{};
};

}  // namespace detail

//! Only grows.
class counter {
public:
    explicit counter(unsigned reactors) : cells_(reactors) {}
    //! On the reactor's own thread.
    void add(const reactor& home, std::uint64_t n = 1) noexcept;
    //! From any thread.
    [[nodiscard]] std::uint64_t value(unsigned index) const { return cells_.at(index).get(); }

private:
    std::vector<detail::metric_cell<std::uint64_t>> cells_;
};

//! Goes up and down.
class gauge {
public:
    explicit gauge(unsigned reactors) : cells_(reactors) {}
    //! Both on the reactor's own thread.
    void set(const reactor& home, double to) noexcept;
    void add(const reactor& home, double n) noexcept;
    //! From any thread.
    [[nodiscard]] double value(unsigned index) const { return cells_.at(index).get(); }

private:
    std::vector<detail::metric_cell<double>> cells_;
};

//! How values are spread.
class histogram {
public:
    //! `bounds`: the upper ends of the buckets, rising; one for all above is added.
    histogram(unsigned reactors, std::vector<double> bounds);
    //! On the reactor's own thread: counts `value` in the first bucket whose bound it does not
    //! exceed.
    void observe(const reactor& home, double value) noexcept;

    [[nodiscard]] std::span<const double> bounds() const noexcept { return bounds_; }
    //! From any thread: of bucket `bucket` alone, bounds().size() being the last.
    [[nodiscard]] std::uint64_t count(unsigned index, std::size_t bucket) const {
        return counts_.at(index * (bounds_.size() + 1) + bucket).get();
    }
    [[nodiscard]] double sum(unsigned index) const { return sums_.at(index).get(); }

private:
    std::vector<double> bounds_;
    std::vector<detail::metric_cell<std::uint64_t>> counts_;
    std::vector<detail::metric_cell<double>> sums_;
};

//! Owns metrics and writes them in Prometheus' text format 0.0.4. Metrics may be added at any time
//! and from any thread; references stay valid as long as the registry.
class metric_registry {
public:
    //! For reactors with the indices 0 to `reactors` - 1: service::reactors().
    explicit metric_registry(unsigned reactors) noexcept : reactors_(reactors) {}
    metric_registry(const metric_registry&) = delete;
    metric_registry& operator=(const metric_registry&) = delete;

    //! Names as Prometheus wants them: [a-zA-Z_:][a-zA-Z0-9_:]*, the base unit last (_seconds,
    //! _bytes), then _total for a counter and for nothing else. The same name with other labels is
    //! another member of the same family. Throws std::invalid_argument for a name that is none,
    //! that was given to another kind or with other bounds, that stands there with the same
    //! labels, or that begins with "sluice_"; for a missing help text; for bad bounds.
    counter& add_counter(std::string name, std::string help, const metric_labels& labels = {});
    gauge& add_gauge(std::string name, std::string help, const metric_labels& labels = {});
    histogram& add_histogram(std::string name, std::string help, std::vector<double> bounds,
                             const metric_labels& labels = {});

    //! Appends everything as text, with the reactor's index as label "reactor".
    void write(std::string& to) const;

    [[nodiscard]] unsigned reactors() const noexcept { return reactors_; }

private:
    enum class kind { counter, gauge, histogram };
    struct member {
        std::string labels;  // as text, with a comma at the end
        std::unique_ptr<counter> as_counter;
        std::unique_ptr<gauge> as_gauge;
        std::unique_ptr<histogram> as_histogram;
    };
    struct family {
        std::string name;
        std::string help;
        kind what;
        std::deque<member> members;
    };
    member& add(std::string name, std::string help, kind k, const metric_labels& labels);
    void write(const family& f, const member& m, std::string& to) const;

    unsigned reactors_;
    mutable std::mutex mutex_;
    std::deque<family> families_;  // deques: what was handed out stays where it is
};

}  // namespace sluice
