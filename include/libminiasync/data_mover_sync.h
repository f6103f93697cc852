/*
 * libminiasync/data_mover_sync.h: the data mover that does the work inside of poll, in the thread that polls.
 *
 * The first poll of a future completes it. Its futures do not have FUTURE_PROPERTY_ASYNC and take no notifier.
 * Operations need no memory and cannot fail with VDM_ERROR_OUT_OF_MEMORY.
 */
#ifndef LIBMINIASYNC_DATA_MOVER_SYNC_H
#define LIBMINIASYNC_DATA_MOVER_SYNC_H

#include <libminiasync/vdm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct data_mover_sync;

/* A new mover, to be given to data_mover_sync_delete; NULL with errno ENOMEM if memory is short. */
struct data_mover_sync *data_mover_sync_new(void);

/* The mover as the table of functions that vdm_memcpy and the others take; it lives as long as the mover. */
struct vdm *data_mover_sync_get_vdm(struct data_mover_sync *dms);

/*
 * Gives the mover up; NULL does nothing. No future may be made with it any more; those made before, polled or not, stay
 * good, for the memory of the mover is kept until the last of them is complete. Thread safe against their polls.
 */
void data_mover_sync_delete(struct data_mover_sync *dms);

#ifdef __cplusplus
}
#endif

#endif
