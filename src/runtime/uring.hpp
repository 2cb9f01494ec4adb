// SPDX-License-Identifier: Apache-2.0
//! liburing's inline helpers on top of the newest kernel header there is. The order matters: the
//! kernel's own header is newer than the copy that liburing brings and shares its include guard.
#pragma once

#include <linux/io_uring.h>
#include <linux/io_uring/query.h>

#include <liburing.h>
