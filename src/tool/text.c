/*
 * text.c: bytes of unknown origin, made fit for terminals, JSON and tables.
 *
 * A stream holds what anybody appended, and a terminal obeys what it is sent. So whatever is shown to a person passes
 * through one function, next_glyph: control characters (C0, DEL, C1), characters that turn the direction of text or
 * have no width, and bytes that are no text in the locale come out as escapes.
 */
#include "tool/text.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

struct glyph {
	size_t bytes;    /* taken from the input */
	size_t columns;  /* on the terminal */
	bool escaped;    /* shown holds what to write; else the input's own bytes */
	uint32_t number; /* of the character; UINT32_MAX: no UTF-8 */
	char shown[16];
};

static bool unicode;

void text_begin(void)
{
	setlocale(LC_ALL, "");
	unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

bool text_is_unicode(void)
{
	return unicode;
}

/* Decodes one character of UTF-8; 0 bytes where there is none. Overlong forms and surrogates are none. */
static size_t decode(const unsigned char *at, size_t bytes, uint32_t *number)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
	uint32_t value = length == 1 ? at[0] : length ? at[0] & (0x7fU >> length) : 0;

	if (!length || length > bytes)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (at[i] >> 6 != 2)
			return 0;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*number = value;
	return length;
}

static struct glyph next_glyph(const unsigned char *at, size_t bytes)
{
	struct glyph glyph = {.bytes = 1, .columns = 1, .number = UINT32_MAX};
	size_t length = decode(at, bytes, &glyph.number);
	uint32_t number = glyph.number;

	if (length == 1 && number >= 0x20 && number < 0x7f)
		return glyph;
	glyph.escaped = true;
	if (length > 1 && unicode) {
		int columns = wcwidth((wchar_t)number);
		bool turns = number == 0x61c || (number >= 0x200b && number <= 0x200f) ||
			     (number >= 0x2028 && number <= 0x202e) || (number >= 0x2060 && number <= 0x206f) ||
			     number == 0xfeff || number >= 0xe0000;
		glyph.bytes = length;
		if (columns >= 0 && !turns) {
			glyph.escaped = false;
			glyph.columns = (size_t)columns;
			return glyph;
		}
		glyph.columns = (size_t)snprintf(glyph.shown, sizeof(glyph.shown), "\\u{%x}", number);
		return glyph;
	}
	const char *name = strchr("\tt\nn\rr\aa\033e", at[0]);
	if (at[0] && at[0] < 0x20 && name && name[1] > 0x20)
		glyph.columns = (size_t)snprintf(glyph.shown, sizeof(glyph.shown), "\\%c", name[1]);
	else
		glyph.columns = (size_t)snprintf(glyph.shown, sizeof(glyph.shown), "\\x%02x", at[0]);
	return glyph;
}

void text_write(FILE *to, const void *data, size_t bytes, enum text_style style)
{
	const unsigned char *at = data;

	for (size_t i = 0; i < bytes;) {
		struct glyph glyph = next_glyph(at + i, bytes - i);
		if (!glyph.escaped || (style == TEXT_LINES && (at[i] == '\n' || at[i] == '\t')))
			fwrite(at + i, 1, glyph.bytes, to);
		else
			fputs(glyph.shown, to);
		i += glyph.bytes;
	}
}

void text_copy(char *to, size_t room, const void *data, size_t bytes)
{
	const unsigned char *at = data;
	size_t used = 0;

	for (size_t i = 0; i < bytes;) {
		struct glyph glyph = next_glyph(at + i, bytes - i);
		const void *from = glyph.escaped ? (const void *)glyph.shown : (const void *)(at + i);
		size_t length = glyph.escaped ? strlen(glyph.shown) : glyph.bytes;
		if (used + length + 1 > room)
			break;
		memcpy(to + used, from, length);
		used += length;
		i += glyph.bytes;
	}
	to[used] = '\0';
}

size_t text_columns(const void *data, size_t bytes)
{
	const unsigned char *at = data;
	size_t columns = 0;

	for (size_t i = 0; i < bytes;) {
		struct glyph glyph = next_glyph(at + i, bytes - i);
		columns += glyph.columns;
		i += glyph.bytes;
	}
	return columns;
}

void text_pad(FILE *to, const char *string, size_t columns)
{
	size_t taken = text_columns(string, strlen(string));

	text_write(to, string, strlen(string), TEXT_ONE_LINE);
	fprintf(to, "%*s", taken < columns ? (int)(columns - taken) : 0, "");
}

bool text_is_utf8(const void *data, size_t bytes)
{
	const unsigned char *at = data;
	uint32_t number;

	for (size_t i = 0, length; i < bytes; i += length) {
		length = decode(at + i, bytes - i, &number);
		if (!length)
			return false;
	}
	return true;
}

static void write_json(FILE *to, const unsigned char *at, size_t bytes)
{
	fputc('"', to);
	for (size_t i = 0; i < bytes;) {
		uint32_t number;
		size_t length = decode(at + i, bytes - i, &number);
		if (!length) {
			fputs("\\ufffd", to);
			i++;
			continue;
		}
		if (number == '"' || number == '\\')
			fprintf(to, "\\%c", (int)number);
		else if (number == '\n')
			fputs("\\n", to);
		else if (number < 0x20 || (number >= 0x7f && number < 0xa0) || (number >= 0x200b && number <= 0x200f) ||
			 (number >= 0x2028 && number <= 0x202e) || (number >= 0x2060 && number <= 0x206f))
			fprintf(to, "\\u%04x", number);
		else
			fwrite(at + i, 1, length, to);
		i += length;
	}
	fputc('"', to);
}

void text_json(FILE *to, const void *data, size_t bytes)
{
	write_json(to, data, bytes);
}

void text_json_string(FILE *to, const char *string)
{
	write_json(to, (const unsigned char *)string, strlen(string));
}

void text_base64(FILE *to, const void *data, size_t bytes)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *at = data;

	for (size_t i = 0; i < bytes; i += 3) {
		size_t count = bytes - i < 3 ? bytes - i : 3;
		uint32_t group = (uint32_t)at[i] << 16 | (count > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
				 (count > 2 ? at[i + 2] : 0);
		char four[4] = {letters[group >> 18], letters[group >> 12 & 63], letters[group >> 6 & 63],
				letters[group & 63]};
		for (size_t j = count + 1; j < 4; j++)
			four[j] = '=';
		fwrite(four, 1, 4, to);
	}
}

/* Room for a few results at once, so that one printf can show several. */
static char *next_buffer(void)
{
	static char buffers[4][64];
	static unsigned next;

	return buffers[next++ % 4];
}

const char *text_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	char *buffer = next_buffer();
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1024 && unit < 6; unit++)
		value /= 1024;
	bool whole = !unit || bytes % (UINT64_C(1) << 10 * unit) == 0 || value >= 100;
	snprintf(buffer, sizeof(char[64]), "%.*f %s", whole ? 0 : 1, value, units[unit]);
	return buffer;
}

const char *text_count(uint64_t number)
{
	char plain[32], *buffer = next_buffer(), *to = buffer;
	int length = snprintf(plain, sizeof(plain), "%zu", (size_t)number);

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = plain[i];
	}
	*to = '\0';
	return buffer;
}

const char *text_time(uint64_t ns)
{
	char *buffer = next_buffer();
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm parts;

	if (!ns || !localtime_r(&seconds, &parts))
		return "-";
	strftime(buffer, sizeof(char[64]), "%Y-%m-%d %H:%M:%S", &parts);
	return buffer;
}
