/*
 * log.c: pmemstream log: pools of libpmemlog, logs of bytes without records.
 *
 * An open pool is locked against every other opening, also one that only reads: so these commands fail beside a program
 * that has it open.
 */
#include "tool/output.h"
#include "tool/pool.h"
#include "tool/report.h"
#include "tool/text.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <libpmemlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
	"usage: pmemstream log create FILE --size SIZE\n"
	"       pmemstream log append FILE [INPUT]...\n"
	"       pmemstream log cat FILE\n"
	"       pmemstream log info FILE [--json]\n"
	"       pmemstream log check FILE\n"
	"       pmemstream log rewind FILE\n"
	"\n"
	"Works with pools of libpmemlog, which hold bytes without records: makes one, appends the bytes of the inputs "
	"or of\n"
	"standard input, prints all bytes, tells how full it is, says whether it is valid, or empties it.\n"
	"\n"
	"  -s, --size SIZE  create: at least 2M; info tells how much of it is for the log\n"
	"      --json       info: an object\n"
	"\n"
	"FILE may be a pool set file, but for create. 'pmemstream convert' makes a stream of a pool.\n";

static const struct option options[] = {
	{"size", required_argument, NULL, 's'},
	{"json", no_argument, NULL, 'j'},
	OPTIONS_COMMON,
};

struct request {
	uint64_t bytes;
	bool json;
	const char *path;
	char **inputs;
	int input_count;
};

enum { READ_BYTES = 1 << 20, POOL_MODE = 0666 };

static int create(const struct request *request)
{
	mode_t mask = umask(0);

	umask(mask); /* libpmemlog takes the mode literally */
	report_bus_errors(request->path);
	PMEMlogpool *pool = pmemlog_create(request->path, request->bytes, POOL_MODE & ~mask);
	if (!pool)
		return pool_report(request->path);
	size_t room = pmemlog_nbyte(pool);
	pmemlog_close(pool);
	text_write(stdout, request->path, strlen(request->path), TEXT_ONE_LINE);
	printf(": an empty pool with room for %s\n", text_size(room));
	return TOOL_DONE;
}

/* Appends all of one input. TOOL_DONE, or what was reported; *done counts the bytes. */
static int append_input(PMEMlogpool *pool, const struct request *request, const char *name, char *buffer,
			uint64_t *done)
{
	bool standard = !strcmp(name, "-");
	int descriptor = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	int status = TOOL_DONE;
	ssize_t bytes;

	if (descriptor < 0)
		return report_system(name);
	while (!status) {
		do
			bytes = read(descriptor, buffer, READ_BYTES);
		while (bytes < 0 && errno == EINTR);
		if (bytes < 0)
			status = report_system(standard ? "standard input" : name);
		if (bytes <= 0)
			break;
		if (!pmemlog_append(pool, buffer, (size_t)bytes)) {
			*done += (uint64_t)bytes;
		} else if (errno == ENOSPC) {
			report("%s is full: the next %zd bytes do not fit, %zu are free; %zu bytes were written",
			       request->path, bytes, pmemlog_nbyte(pool) - (size_t)pmemlog_tell(pool), (size_t)*done);
			status = TOOL_FAILED;
		} else {
			status = pool_report(request->path);
		}
	}
	if (!standard)
		close(descriptor);
	return status;
}

static int append(const struct request *request)
{
	char standard[] = "-", *standard_input[] = {standard};
	char **inputs = request->input_count ? request->inputs : standard_input;
	int count = request->input_count ? request->input_count : 1, status;
	char *buffer = malloc(READ_BYTES);
	PMEMlogpool *pool;
	uint64_t done = 0;

	if (!buffer)
		return report_system("memory");
	status = pool_open(request->path, &pool);
	if (!status) {
		for (int i = 0; i < count && !status; i++)
			status = append_input(pool, request, inputs[i], buffer, &done);
		pmemlog_close(pool);
		printf("%zu bytes appended, all durable\n", (size_t)done);
	}
	free(buffer);
	return status;
}

static int write_chunk(const void *data, size_t bytes, void *argument)
{
	(void)argument;
	fwrite(data, 1, bytes, stdout);
	return output_works();
}

static int cat(const struct request *request)
{
	PMEMlogpool *pool;
	int status = pool_open(request->path, &pool);

	if (status)
		return status;
	pmemlog_walk(pool, READ_BYTES, write_chunk, NULL);
	pmemlog_close(pool);
	return TOOL_DONE;
}

static int info(const struct request *request)
{
	PMEMlogpool *pool;
	int status = pool_open(request->path, &pool);

	if (status)
		return status;
	size_t room = pmemlog_nbyte(pool), used = (size_t)pmemlog_tell(pool);
	if (request->json)
		printf("{\"size\":%zu,\"used\":%zu,\"free\":%zu}\n", room, used, room - used);
	else
		printf("%s of %s used (%zu of %zu bytes), %s free\n", text_size(used), text_size(room), used, room,
		       text_size(room - used));
	pmemlog_close(pool);
	return TOOL_DONE;
}

static int check(const struct request *request)
{
	report_bus_errors(request->path);
	switch (pmemlog_check(request->path)) {
	case 1:
		puts("valid");
		return TOOL_DONE;
	case 0:
		pool_report(request->path);
		return TOOL_DAMAGE;
	default:
		return pool_report(request->path);
	}
}

static int empty(const struct request *request)
{
	PMEMlogpool *pool;
	int status = pool_open(request->path, &pool);

	if (status)
		return status;
	size_t used = (size_t)pmemlog_tell(pool);
	errno = 0;
	pmemlog_rewind(pool);
	if (errno)
		status = pool_report(request->path);
	else
		printf("emptied; %s were in it\n", text_size(used));
	pmemlog_close(pool);
	return status;
}

static int run(int argc, char **argv)
{
	static const char *const verbs[] = {"create", "append", "cat", "info", "check", "rewind", NULL};
	static int (*const runs[])(const struct request *) = {create, append, cat, info, check, empty};
	enum { CREATE, APPEND, INFO = 3 };
	struct request request = {0};
	int option, status;

	while ((option = options_next(&command_log, argc, argv, "s:", options, &status)) != OPTIONS_END) {
		if (option == OPTIONS_LEAVE)
			return status;
		if (option == 'j')
			request.json = true;
		else if (!options_size(&command_log, "--size", optarg, &request.bytes))
			return TOOL_USAGE;
	}
	if (!options_operands(&command_log, argc, 1, -1, "create, append, cat, info, check or rewind"))
		return TOOL_USAGE;
	int verb = options_word(&command_log, "the operand", argv[optind++], verbs);
	if (verb < 0 || !options_operands(&command_log, argc, 1, verb == APPEND ? -1 : 1, "FILE"))
		return TOOL_USAGE;
	if ((verb == CREATE) != (request.bytes != 0))
		return options_wrong(&command_log, verb == CREATE ? "create needs --size" : "--size goes with create");
	if (request.json && verb != INFO)
		return options_wrong(&command_log, "--json goes with info");
	request.path = argv[optind];
	request.inputs = argv + optind + 1;
	request.input_count = argc - optind - 1;
	return runs[verb](&request);
}

const struct command command_log = {"log", "work with pools of libpmemlog", help, run};
