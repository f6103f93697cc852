/*
 * libminiasync.h: futures, virtual data movers and a runtime that waits for futures.
 *
 * Includes the whole interface; each header below libminiasync/ can be used on its own as well. C99 and C++11 on.
 * Futures, chains and the calls of a mover are inline and need no library; the movers and the runtime are in
 * libminiasync (pkg-config libminiasync). See libminiasync(7).
 */
#ifndef LIBMINIASYNC_H
#define LIBMINIASYNC_H

#include <libminiasync/data_mover_sync.h>
#include <libminiasync/data_mover_threads.h>
#include <libminiasync/future.h>
#include <libminiasync/runtime.h>
#include <libminiasync/vdm.h>

#endif
