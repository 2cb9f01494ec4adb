// SPDX-License-Identifier: Apache-2.0
#include "sluice/metric_registry.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "runtime/prometheus.hpp"
#include "sluice/reactor.hpp"

namespace sluice {

void counter::add(const reactor& home, std::uint64_t n) noexcept { cells_[home.index()].add(n); }

void gauge::set(const reactor& home, double to) noexcept { cells_[home.index()].set(to); }

void gauge::add(const reactor& home, double n) noexcept { cells_[home.index()].add(n); }

histogram::histogram(unsigned reactors, std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(reactors * (bounds_.size() + 1)), sums_(reactors) {
    for (std::size_t i = 0; i < bounds_.size(); ++i)
        if (!std::isfinite(bounds_[i]) || (i != 0 && bounds_[i] <= bounds_[i - 1]))
            throw std::invalid_argument("sluice: the bounds of a histogram must rise");
}

void histogram::observe(const reactor& home, double value) noexcept {
    const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    counts_[home.index() * (bounds_.size() + 1) + static_cast<std::size_t>(bucket)].add(1);
    sums_[home.index()].add(value);
}

namespace {

bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_name(std::string_view s, bool colon_allowed) noexcept {
    const auto good = [&](char c) { return is_letter(c) || (colon_allowed && c == ':'); };
    if (s.empty() || !good(s.front())) return false;
    return std::ranges::all_of(s, [&](char c) { return good(c) || (c >= '0' && c <= '9'); });
}

[[noreturn]] void refuse(std::string_view name, std::string_view why) {
    throw std::invalid_argument(fmt::format("sluice: metric \"{}\": {}", name, why));
}

std::string labels_as_text(std::string_view metric, const metric_labels& labels) {
    std::string text;
    for (const auto& [name, value] : labels) {
        if (!is_name(name, false) || name.starts_with("__") || name == "reactor" || name == "le")
            refuse(metric, "bad label \"" + name + "\"");
        text += name + "=\"" + detail::prometheus_label(value) + "\",";
    }
    return text;
}

}  // namespace

metric_registry::member& metric_registry::add(std::string name, std::string help, kind k,
                                              const metric_labels& labels) {
    if (!is_name(name, true)) refuse(name, "not a name");
    if (name.starts_with("sluice_")) refuse(name, "sluice_ is for the library");
    if (name.ends_with("_total") != (k == kind::counter))
        refuse(name, "counters end with _total, and nothing else does");
    if (help.empty()) refuse(name, "no help text");
    std::string text = labels_as_text(name, labels);
    auto f = std::ranges::find(families_, name, &family::name);
    if (f == families_.end()) {
        families_.push_back({std::move(name), std::move(help), k, {}});
        f = std::prev(families_.end());
    }
    if (f->what != k) refuse(f->name, "is of another kind already");
    for (const member& m : f->members)
        if (m.labels == text) refuse(f->name, "is there already, with the same labels");
    return f->members.emplace_back(member{std::move(text), nullptr, nullptr, nullptr});
}

counter& metric_registry::add_counter(std::string name, std::string help,
                                      const metric_labels& labels) {
    auto made = std::make_unique<counter>(reactors_);
    const std::lock_guard lock(mutex_);
    member& m = add(std::move(name), std::move(help), kind::counter, labels);
    m.as_counter = std::move(made);
    return *m.as_counter;
}

gauge& metric_registry::add_gauge(std::string name, std::string help, const metric_labels& labels) {
    auto made = std::make_unique<gauge>(reactors_);
    const std::lock_guard lock(mutex_);
    member& m = add(std::move(name), std::move(help), kind::gauge, labels);
    m.as_gauge = std::move(made);
    return *m.as_gauge;
}

histogram& metric_registry::add_histogram(std::string name, std::string help,
                                          std::vector<double> bounds, const metric_labels& labels) {
    auto made = std::make_unique<histogram>(reactors_, std::move(bounds));
    const std::lock_guard lock(mutex_);
    const auto f = std::ranges::find(families_, name, &family::name);
    if (f != families_.end() && f->what == kind::histogram)
        if (!std::ranges::equal(f->members.front().as_histogram->bounds(), made->bounds()))
            refuse(name, "has other bounds already");
    member& m = add(std::move(name), std::move(help), kind::histogram, labels);
    m.as_histogram = std::move(made);
    return *m.as_histogram;
}

void metric_registry::write(const family& f, const member& m, std::string& to) const {
    for (unsigned r = 0; r < reactors_; ++r) {
        const std::string labels = fmt::format("{}reactor=\"{}\"", m.labels, r);
        if (f.what == kind::counter) {
            to += fmt::format("{}{{{}}} {}\n", f.name, labels, m.as_counter->value(r));
        } else if (f.what == kind::gauge) {
            to += fmt::format("{}{{{}}} {}\n", f.name, labels,
                              detail::prometheus_number(m.as_gauge->value(r)));
        } else {
            const histogram& h = *m.as_histogram;
            std::uint64_t below = 0;
            for (std::size_t b = 0; b <= h.bounds().size(); ++b) {
                below += h.count(r, b);
                const std::string bound =
                    b < h.bounds().size() ? detail::prometheus_number(h.bounds()[b]) : "+Inf";
                to += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", f.name, labels, bound, below);
            }
            to += fmt::format("{}_sum{{{}}} {}\n", f.name, labels,
                              detail::prometheus_number(h.sum(r)));
            to += fmt::format("{}_count{{{}}} {}\n", f.name, labels, below);
        }
    }
}

void metric_registry::write(std::string& to) const {
    constexpr std::string_view kinds[] = {"counter", "gauge", "histogram"};
    const std::lock_guard lock(mutex_);
    for (const family& f : families_) {
        detail::prometheus_family(to, f.name, f.help, kinds[static_cast<int>(f.what)]);
        for (const member& m : f.members) write(f, m, to);
    }
}

}  // namespace sluice
