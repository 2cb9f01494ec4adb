// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is made to go wrong: module parameters, which may be written while the module works.
 * "Every N" counts the frames of each rx queue; 0 is never.
 */
#include <linux/module.h>

#include "swnic.h"

static unsigned int drop_every;
module_param(drop_every, uint, 0644);
MODULE_PARM_DESC(drop_every, "drop every N-th frame");

static unsigned int duplicate_every;
module_param(duplicate_every, uint, 0644);
MODULE_PARM_DESC(duplicate_every, "deliver every N-th frame twice");

static unsigned int swap_every;
module_param(swap_every, uint, 0644);
MODULE_PARM_DESC(swap_every, "deliver every N-th frame after the next one, if that has come");

static unsigned int unsplit_every;
module_param(unsplit_every, uint, 0644);
MODULE_PARM_DESC(unsplit_every, "leave the payload of every N-th frame with its headers");

static unsigned int delay_us;
module_param(delay_us, uint, 0644);
MODULE_PARM_DESC(delay_us, "time a frame spends on the wire");

static bool pack = true;
module_param(pack, bool, 0644);
MODULE_PARM_DESC(pack, "several payloads in one receive buffer (default), or a fresh one for each");

static unsigned int posted_limit;
module_param(posted_limit, uint, 0644);
MODULE_PARM_DESC(posted_limit,
		 "most buffers a queue posts that starts from now on; 0: as ethtool -G says");

static unsigned int refuse_restart;
module_param(refuse_restart, uint, 0644);
MODULE_PARM_DESC(refuse_restart,
		 "refuse a memory provider: 1 when memory is wanted, 2 when the queue starts");

static bool every(unsigned int number, unsigned int n)
{
	return n && number % n == 0;
}

/* number: of the frame in its queue, from 1 */
struct swnic_faults swnic_faults_of_frame(u32 number)
{
	return (struct swnic_faults){
		.drop = every(number, READ_ONCE(drop_every)),
		.duplicate = every(number, READ_ONCE(duplicate_every)),
		.swap = every(number, READ_ONCE(swap_every)),
		.unsplit = every(number, READ_ONCE(unsplit_every)),
	};
}

ktime_t swnic_fault_delay(void)
{
	return us_to_ktime(READ_ONCE(delay_us));
}

bool swnic_fault_pack(void)
{
	return READ_ONCE(pack);
}

unsigned int swnic_fault_posted(unsigned int posted)
{
	unsigned int limit = READ_ONCE(posted_limit);

	return limit ? min(limit, posted) : posted;
}

bool swnic_fault_refuses(enum swnic_refusal what)
{
	return READ_ONCE(refuse_restart) == what;
}
