/*
 * walk.h: what append.c and log.c need to know of walks: who may not run beside one.
 */
#ifndef LOGPOOL_WALK_H
#define LOGPOOL_WALK_H

#include "logpool/log.h"

int walk_attach(struct log *log);
void walk_detach(struct log *log);

/* Waits until no walk of this process runs on the log and keeps new ones waiting until walk_admit. */
void walk_exclude(struct log *log);
void walk_admit(struct log *log);

#endif
