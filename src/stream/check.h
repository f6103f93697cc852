/*
 * check.h: checking and repairing on a medium, without files and locks; for path functions and tests.
 */
#ifndef STREAM_CHECK_H
#define STREAM_CHECK_H

#include "stream/survey.h"

/* What pmemstream_check does with the file's map. */
int check_medium(struct medium *medium, bool deep, survey_callback *callback, void *arg);

/* Whether an opening for writing would succeed: 0, or -1 with its errno and message. Changes nothing. */
int check_opens(const struct medium *medium);

/*
 * What pmemstream_repair does with the file's map. trial: a private copy of the medium's bytes, to be written to; NULL:
 * the outcome is not tried. dry_run: nothing is written to medium.
 */
int repair_medium(struct medium *medium, unsigned char *trial, bool dry_run, survey_callback *callback, void *arg);

/* For both: refuses with EWOULDBLOCK a file that somebody writes. Its fingerprint tells, later, whether somebody did
 * meanwhile: EAGAIN. */
struct file;
enum { CHECK_FINGERPRINT_BYTES = 128 };
int check_unused(struct file *file);
void check_fingerprint(const struct medium *medium, unsigned char *to);
int check_still_unused(struct file *file, const struct medium *medium, const unsigned char *fingerprint);

#endif
