/*
 * error.c: the calling thread's last error message.
 *
 * The buffer is thread-local, so no call here can fail, block or allocate.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[ERROR_MESSAGE_MAX];

static void set_message(const char *format, va_list arguments)
{
	vsnprintf(message, sizeof(message), format, arguments);
}

int error_set(int err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	set_message(format, arguments);
	va_end(arguments);
	errno = err;
	return -1;
}

int error_system(const char *format, ...)
{
	int err = errno;
	char text[128];
	va_list arguments;

	va_start(arguments, format);
	set_message(format, arguments);
	va_end(arguments);
	size_t length = strlen(message);
	/* GNU strerror_r: returns the text, which need not be in the buffer. */
	snprintf(message + length, sizeof(message) - length, ": %s", strerror_r(err, text, sizeof(text)));
	errno = err;
	return -1;
}

int error_prefix(const char *format, ...)
{
	int err = errno;
	char prefix[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(prefix, sizeof(prefix), format, arguments);
	va_end(arguments);

	size_t prefix_bytes = strlen(prefix);
	size_t message_bytes = strlen(message);
	if (prefix_bytes + 2 + message_bytes >= sizeof(message))
		message_bytes = sizeof(message) - prefix_bytes - 3;
	memmove(message + prefix_bytes + 2, message, message_bytes);
	memcpy(message, prefix, prefix_bytes);
	memcpy(message + prefix_bytes, ": ", 2);
	message[prefix_bytes + 2 + message_bytes] = '\0';
	errno = err;
	return -1;
}

const char *error_message(void)
{
	return message;
}

void error_clear(void)
{
	message[0] = '\0';
}
