/*
 * repair.h: check and repair of one changed stream; see repair.c.
 */
#ifndef TESTS_FUZZ_REPAIR_H
#define TESTS_FUZZ_REPAIR_H

#include "unit/stream_image.h"

/* Aborts where a claim does not hold. forged: checksums were made right again. True where there was something to
 * repair, and it was. */
bool fuzz_repair(const struct image *image, const unsigned char *changed, bool forged);

#endif
