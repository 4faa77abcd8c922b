/*
 * Mends btvirt up to BlueZ 5.66 from outside (LD_PRELOAD): it mixes connections up as soon as a controller has two, and its
 * air has no distance: while the file OUT_OF_RANGE is there, nobody hears an advertisement. And it keeps repeat_adverts.py
 * from switching on what the kernel has switched off.
 *
 * It makes a second connection between two controllers when both call; a real one answers "exists already", and so
 * is it answered here. (The address in the command is made one that nobody has, and put back in the refusal.)
 *
 * Each end of a connection has a handle of its own, the lowest from 42 that is free there, but btvirt tells the
 * called end the caller's, and passes data on with it. Here both are put right on their way to the kernel: the
 * handle in the event that says "connected" to the one that is free at that end, and the handle of data to the
 * receiving end's. btvirt has one thread and answers what it has just read, so the end that was read from last is
 * the one that sends or calls.
 *
 * A controller refuses to change or remove an advertisement that is on. So one that repeat_adverts.py switched on again between
 * the kernel's commands "off" and "remove" was there for ever, and the kernel refused all further ones ("Busy"): what it
 * repeats is known by a mark in the command, and goes to a set that does not exist unless the kernel's last word was "on".
 *
 * It takes no notice of the kernel's word to tell of each advertisement once in a scan ("filter duplicates"), as controllers do; here
 * what was told since the scan began is not told again. In its first moments it is: the kernel does not listen yet.
 *
 * It knows no periodic inquiry; here that is taken, and does nothing. A controller at that is one for which the kernel refuses
 * to begin a discovery ("Busy").
 *
 * HCI packets: Bluetooth Core Specification, volume 4, parts A and E.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define OUT_OF_RANGE "/run/testbed/out-of-range"

enum { FILES = 64, LINKS = 64, FIRST_HANDLE = 42, PACKET_BYTES = 2048, ADDRESS_BYTES = 6 };
enum { COMMAND = 1, ACL = 2, EVENT = 4, DISCONNECTED = 0x05, COMPLETED = 0x13, LE_META = 0x3e, EXISTS_ALREADY = 0x0b };
/* LE Create Connection and LE Extended Create Connection, as on the wire, and where in them the peer is. */
enum { CREATE = 0x0d, CREATE_EXTENDED = 0x43, LE = 0x20, CREATE_PEER = 9, CREATE_EXTENDED_PEER = 6 };

/* LE Set Extended Advertising Enable (on or off, count, then for each: set, duration (2), most events), LE Remove Advertising
 * Set, LE Clear Advertising Sets; Reset. A set of number NO_SET is never made; MARK is repeat_adverts.py's. */
enum { ENABLE = 0x39, REMOVE = 0x3c, CLEAR = 0x3d, RESET = 0x03, BASEBAND = 0x0c };
enum { SETS = 256, ENABLE_SETS = 6, SET_BYTES = 4, NO_SET = 0xef, MARK = 0x55 };

/* LE Set Scan Enable and its extended form (on or off, whether to filter duplicates); how many reports a controller remembers;
 * and how long the kernel takes to listen. */
enum { SCAN = 0x0c, SCAN_EXTENDED = 0x42, TOLD = 64, DEAF_MS = 300 };

/* The event that refuses a command, and of it the status and the command: Periodic Inquiry Mode, and its end. */
enum { COMMAND_STATUS = 0x0f, COMMAND_COMPLETE = 0x0e, STATUS_BYTES = 7, INQUIRE = 0x0403, INQUIRE_NO_MORE = 0x0404 };

/* A connection as one end sees it: its own handle is FIRST_HANDLE and the place in the table. */
struct end {
	int is_up;
	int peer;
	uint16_t peer_handle;
	uint8_t peer_address[ADDRESS_BYTES];
};

static struct end ends[FILES][LINKS];
/* The end that was read from last, and the handle of the data that it sent. */
static int speaker = -1;
static uint16_t spoken;
/* The called end that was told of a connection and whose caller is about to be. */
static int called = -1;
static uint16_t called_handle;
static uint8_t caller_address[ADDRESS_BYTES];
/* Whom each end was kept from calling, while it has not been told. */
static uint8_t refused[FILES][ADDRESS_BYTES];
static const uint8_t nobody[ADDRESS_BYTES];
/* Which advertisements the kernel has switched on. */
static uint8_t is_on[FILES][SETS];

/* A controller's scan: whether each report comes once, since when, and digests of those that came. */
struct scan {
	int filters;
	int64_t began_ms;
	unsigned int told;
	uint64_t reports[TOLD];
};

static struct scan scans[FILES];

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (int64_t) 1000 + now.tv_nsec / 1000000;
}

static uint16_t handle_at(const uint8_t *at)
{
	return (at[0] | at[1] << 8) & 0x0fff;
}

static void set_handle(uint8_t *at, uint16_t handle)
{
	at[0] = handle & 0xff;
	at[1] = (at[1] & 0xf0) | handle >> 8;
}

static struct end *end_of(int file, uint16_t handle)
{
	if (file < 0 || file >= FILES || handle < FIRST_HANDLE || handle >= FIRST_HANDLE + LINKS)
		return NULL;
	return &ends[file][handle - FIRST_HANDLE];
}

static uint16_t free_handle(int file)
{
	uint16_t handle = FIRST_HANDLE;
	struct end *end;

	while ((end = end_of(file, handle)) && end->is_up)
		handle++;
	return handle;
}

/* Status, handle (2), role, kind of the peer's address, that address. */
static void connected(int file, uint8_t *event)
{
	struct end *caller, *answerer;
	uint16_t handle;

	if (event[0] != 0) {
		if (file < FILES && memcmp(refused[file], nobody, ADDRESS_BYTES)) {
			event[0] = EXISTS_ALREADY;
			memcpy(event + 5, refused[file], ADDRESS_BYTES);
			memset(refused[file], 0, ADDRESS_BYTES);
		}
		return;
	}
	if (event[3] == 1) {
		called = file;
		called_handle = free_handle(file);
		set_handle(event + 1, called_handle);
		memcpy(caller_address, event + 5, ADDRESS_BYTES);
		return;
	}
	handle = handle_at(event + 1);
	caller = end_of(file, handle);
	answerer = end_of(called, called_handle);
	if (caller && answerer) {
		*caller = (struct end) { .is_up = 1, .peer = called, .peer_handle = called_handle };
		memcpy(caller->peer_address, event + 5, ADDRESS_BYTES);
		*answerer = (struct end) { .is_up = 1, .peer = file, .peer_handle = handle };
		memcpy(answerer->peer_address, caller_address, ADDRESS_BYTES);
	}
	called = -1;
}

/* A command to connect: kind of the peer's address, that address. */
static void calls(int file, uint8_t *peer)
{
	int n;

	if (file >= FILES)
		return;
	for (n = 0; n < LINKS; n++)
		if (ends[file][n].is_up && !memcmp(ends[file][n].peer_address, peer + 1, ADDRESS_BYTES)) {
			memcpy(refused[file], peer + 1, ADDRESS_BYTES);
			memset(peer + 1, 0, ADDRESS_BYTES);
			return;
		}
}

/* A command of the kernel's, or of repeat_adverts.py through it. */
static void advertises(int file, uint8_t *packet, size_t length)
{
	uint8_t *set;

	if (file >= FILES || length < 4)
		return;
	if ((packet[1] == CLEAR && packet[2] == LE) || (packet[1] == RESET && packet[2] == BASEBAND))
		memset(is_on[file], 0, SETS);
	else if (packet[1] == REMOVE && packet[2] == LE && length > 4)
		is_on[file][packet[4]] = 0;
	else if (packet[1] == ENABLE && packet[2] == LE && length >= ENABLE_SETS) {
		if (packet[4] == 0 && packet[5] == 0)
			memset(is_on[file], 0, SETS);
		for (set = packet + ENABLE_SETS; set + SET_BYTES <= packet + length; set += SET_BYTES) {
			if (set[3] != MARK) {
				is_on[file][set[0]] = packet[4];
				continue;
			}
			set[3] = 0;
			if (!is_on[file][set[0]])
				set[0] = NO_SET;
		}
	}
}

/* A command to scan, or to stop. */
static void listens(int file, const uint8_t *packet, size_t length)
{
	if (file >= FILES || length < 6 || packet[2] != LE || (packet[1] != SCAN && packet[1] != SCAN_EXTENDED))
		return;
	scans[file] = (struct scan) { .filters = packet[4] == 1 && packet[5] == 1, .began_ms = now_ms() };
}

/* Whether a controller has told of that in this scan; from then on it has. Reports are compared by FNV-1a. */
static int was_told(int file, const uint8_t *report, size_t length)
{
	struct scan *scan = &scans[file % FILES];
	uint64_t digest = 0xcbf29ce484222325;
	unsigned int n;

	if (!scan->filters || now_ms() - scan->began_ms < DEAF_MS)
		return 0;
	for (n = 0; n < length; n++)
		digest = (digest ^ report[n]) * 0x100000001b3;
	for (n = 0; n < TOLD && n < scan->told; n++)
		if (scan->reports[n] == digest)
			return 1;
	scan->reports[scan->told++ % TOLD] = digest;
	return 0;
}

/* Events "advertising report" and "extended advertising report". */
static int is_advertisement(const uint8_t *packet, size_t length)
{
	return length >= 4 && packet[0] == EVENT && packet[1] == LE_META && (packet[3] == 0x02 || packet[3] == 0x0d);
}

/* Command Status (status, packets that may come, command) of a command that is taken after all. */
static void take_inquiry(uint8_t *event)
{
	uint16_t command = event[5] | event[6] << 8;

	if (command != INQUIRE && command != INQUIRE_NO_MORE)
		return;
	event[1] = COMMAND_COMPLETE;
	event[3] = event[4];
	event[4] = command & 0xff;
	event[5] = command >> 8;
	event[6] = 0;
}

/* A packet on its way to the kernel. */
static void mend(int file, uint8_t *packet, size_t length)
{
	struct end *end;

	if (packet[0] == ACL && length >= 5 && speaker != file) {
		end = end_of(speaker, spoken);
		if (end && end->is_up && end->peer == file)
			set_handle(packet + 1, end->peer_handle);
	} else if (packet[0] == EVENT && length >= 15 && packet[1] == LE_META &&
						(packet[3] == 0x01 || packet[3] == 0x0a)) {
		connected(file, packet + 4);
	} else if (packet[0] == EVENT && length >= 7 && packet[1] == DISCONNECTED && packet[3] == 0) {
		end = end_of(file, handle_at(packet + 4));
		if (end)
			end->is_up = 0;
	} else if (packet[0] == EVENT && length == STATUS_BYTES && packet[1] == COMMAND_STATUS) {
		take_inquiry(packet);
	} else if (packet[0] == EVENT && length >= 8 && packet[1] == COMPLETED && packet[3] == 1 && speaker == file) {
		set_handle(packet + 4, spoken);
	}
}

ssize_t read(int file, void *buffer, size_t size)
{
	static ssize_t (*next)(int, void *, size_t);
	uint8_t *packet = buffer;
	ssize_t length;

	if (!next)
		*(void **) &next = dlsym(RTLD_NEXT, "read");
	length = next(file, buffer, size);
	/* Timers and signals are read through files too, but nothing of theirs looks like a packet of ours. */
	if (length >= 4 && (packet[0] == COMMAND || packet[0] == ACL)) {
		speaker = file;
		if (packet[0] == COMMAND) {
			advertises(file, packet, length);
			listens(file, packet, length);
		}
		if (packet[0] == ACL)
			spoken = handle_at(packet + 1);
		else if (length > CREATE_PEER + ADDRESS_BYTES && packet[1] == CREATE && packet[2] == LE)
			calls(file, packet + CREATE_PEER);
		else if (length > CREATE_EXTENDED_PEER + ADDRESS_BYTES && packet[1] == CREATE_EXTENDED && packet[2] == LE)
			calls(file, packet + CREATE_EXTENDED_PEER);
	}
	return length;
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
	static ssize_t (*next)(int, const struct iovec *, int);
	uint8_t packet[PACKET_BYTES];
	struct iovec whole = { packet, 0 };
	int n;

	if (!next)
		*(void **) &next = dlsym(RTLD_NEXT, "writev");
	for (n = 0; n < count; n++) {
		if (parts[n].iov_len > sizeof(packet) - whole.iov_len)
			return next(file, parts, count);
		memcpy(packet + whole.iov_len, parts[n].iov_base, parts[n].iov_len);
		whole.iov_len += parts[n].iov_len;
	}
	if (is_advertisement(packet, whole.iov_len) &&
			(access(OUT_OF_RANGE, F_OK) == 0 || was_told(file, packet, whole.iov_len)))
		return whole.iov_len;
	if (whole.iov_len > 0)
		mend(file, packet, whole.iov_len);
	return next(file, &whole, 1);
}
