// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: a platform device for each pair of interfaces. sw0 and sw1 are a pair, sw2 and sw3
 * the next one. A pair goes, also while it is in use, when its device is unbound:
 *   echo swnic.0 >/sys/bus/platform/drivers/swnic/unbind
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>

#include "swnic.h"

static unsigned int pairs = 1;
module_param(pairs, uint, 0444);
MODULE_PARM_DESC(pairs, "pairs of interfaces");

static unsigned int queues = 4;
module_param(queues, uint, 0444);
MODULE_PARM_DESC(queues, "rx queues, and tx queues, of each interface");

#define MAX_PAIRS 16

static struct platform_device *devices[MAX_PAIRS];

static void release(struct swnic *nic)
{
	swnic_rules_free(nic);
	kfree(nic->queues);
	free_netdev(nic->dev);
}

static int probe(struct platform_device *parent)
{
	struct swnic *nics[2];
	LIST_HEAD(registered);
	int error, i;

	error = dma_coerce_mask_and_coherent(&parent->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	nics[0] = swnic_create(parent, queues);
	if (!nics[0])
		return -ENOMEM;
	nics[1] = swnic_create(parent, queues);
	if (!nics[1]) {
		release(nics[0]);
		return -ENOMEM;
	}
	rtnl_lock();
	for (i = 0; i < 2; i++) {
		nics[i]->peer = nics[!i];
		snprintf(nics[i]->dev->name, IFNAMSIZ, "sw%d", 2 * parent->id + i);
		error = register_netdevice(nics[i]->dev);
		if (error)
			break;
		netif_carrier_off(nics[i]->dev);
	}
	if (error && i)
		unregister_netdevice(nics[0]->dev);
	rtnl_unlock();
	if (error) {
		release(nics[0]);
		release(nics[1]);
		return error;
	}
	platform_set_drvdata(parent, nics[0]);
	return 0;
}

static void remove(struct platform_device *parent)
{
	struct swnic *nic = platform_get_drvdata(parent), *peer = nic->peer;
	LIST_HEAD(both);

	rtnl_lock();
	unregister_netdevice_queue(nic->dev, &both);
	unregister_netdevice_queue(peer->dev, &both);
	unregister_netdevice_many(&both);
	rtnl_unlock();
	release(nic);
	release(peer);
}

static struct platform_driver driver = {
	.probe = probe,
	.remove = remove,
	.driver = { .name = "swnic" },
};

static void unregister_devices(void)
{
	for (unsigned int i = 0; i < pairs; i++)
		if (!IS_ERR_OR_NULL(devices[i]))
			platform_device_unregister(devices[i]);
}

static int __init swnic_init(void)
{
	int error;

	if (pairs < 1 || pairs > MAX_PAIRS || queues < 1 || queues > SWNIC_MAX_QUEUES) {
		pr_err("swnic: 1 to %d pairs, 1 to %d queues\n", MAX_PAIRS, SWNIC_MAX_QUEUES);
		return -EINVAL;
	}
	error = platform_driver_register(&driver);
	if (error)
		return error;
	for (unsigned int i = 0; i < pairs; i++) {
		devices[i] = platform_device_register_simple("swnic", i, NULL, 0);
		if (IS_ERR(devices[i])) {
			error = PTR_ERR(devices[i]);
			unregister_devices();
			platform_driver_unregister(&driver);
			return error;
		}
	}
	return 0;
}

static void __exit swnic_exit(void)
{
	unregister_devices();
	platform_driver_unregister(&driver);
}

module_init(swnic_init);
module_exit(swnic_exit);
MODULE_DESCRIPTION("a NIC made of software, for tests of zero-copy receive");
MODULE_LICENSE("GPL");
