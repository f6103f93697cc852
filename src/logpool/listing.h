/*
 * listing.h: which files a path stands for: itself, the parts of a pool set, the files in its directories.
 */
#ifndef LOGPOOL_LISTING_H
#define LOGPOOL_LISTING_H

#include "logpool/parts.h"

/* One plain file, which need not exist; 0, or -1 with ENOMEM. After 0 parts_close frees the listing. */
int listing_of_file(struct parts *parts, const char *path);

/* An existing plain file or pool set. creating: replicas and NOHDRS are refused at once, and a directory set without
 * files gets the name of its first. 0, or -1 with NOT_A_POOL, ENOTSUP, EEXIST, EINVAL or errno. */
int listing_of_existing(struct parts *parts, const char *path, bool creating);

#endif
