// SPDX-License-Identifier: GPL-2.0-or-later
/// In the virtual machine: makes plugin.c say what it has counted up to now.
#include "mark.h"

#define TEXT(...) TEXT_OF(__VA_ARGS__)
#define TEXT_OF(...) #__VA_ARGS__

int main(void) {
    __asm__ volatile(".byte " TEXT(MARK_BYTES));
    return 0;
}
