// SPDX-License-Identifier: GPL-2.0-or-later
/// An instruction that does nothing and that no compiler emits: nopl 0x511ce511(%rax)
#pragma once

#define MARK_BYTES 0x0f, 0x1f, 0x80, 0x11, 0xe5, 0x1c, 0x51
