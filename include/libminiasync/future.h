/*
 * libminiasync/future.h: a future is a piece of work that makes progress when it is polled, and nowhere else.
 *
 * In memory a future is one flat object: struct future, then its data (input), then its output. It holds no pointer
 * into itself, so it can be returned and assigned by value until its first poll; from then on until it is complete it
 * must stay where it is. Types of data and output may ask for an alignment of at most 8 bytes.
 *
 * Threads: a future belongs to whoever polls it; two threads must not touch one future at the same time. Different
 * futures are independent. Nothing in this header blocks, allocates, sets errno or makes anything durable, except for
 * what a task, a map or an init function of the caller does.
 *
 * Names that begin with miniasync_ or MINIASYNC_ are not part of the interface.
 */
#ifndef LIBMINIASYNC_FUTURE_H
#define LIBMINIASYNC_FUTURE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Casts that warn neither in C nor in C++: of a pointer to void, and of a number that fits. */
#ifdef __cplusplus
#define MINIASYNC_POINTER(_type, _pointer) static_cast<_type>(_pointer)
#define MINIASYNC_SIZE(_number)            (static_cast<size_t>(_number))
#else
#define MINIASYNC_POINTER(_type, _pointer) ((_type)(_pointer))
#define MINIASYNC_SIZE(_number)            ((size_t)(_number))
#endif

/* IDLE: not begun, the next poll begins it. RUNNING: begun, not finished. COMPLETE: the output is there. */
enum future_state { FUTURE_STATE_IDLE, FUTURE_STATE_COMPLETE, FUTURE_STATE_RUNNING };

/* What a task gets: the sizes say where data and output are. */
struct future_context {
	size_t data_size;   /* bytes from the data to the output */
	size_t output_size; /* bytes */
	enum future_state state;
	uint32_t padding;
};

/* The data of the future, right behind the context; never NULL. The cost of these three is an addition. */
static inline void *future_context_get_data(struct future_context *context)
{
	return context + 1;
}

/* The output of the future, right behind its data; never NULL. */
static inline void *future_context_get_output(struct future_context *context)
{
	return MINIASYNC_POINTER(char *, future_context_get_data(context)) + context->data_size;
}

/* Bytes of data and output together, without the context. */
static inline size_t future_context_get_size(struct future_context *context)
{
	return context->data_size + context->output_size;
}

typedef void (*future_waker_wake_fn)(void *data);

/*
 * A waker tells somebody who sleeps that a future is worth polling again. It is called from any thread, with no lock
 * of libminiasync held, and must not block for long.
 *
 * Who takes a waker copies the structure. The movers of this library call it exactly once for each operation whose
 * poll said FUTURE_NOTIFIER_WAKER, after the operation completed. That call may come shortly after another poll
 * already returned FUTURE_STATE_COMPLETE: what data points to must live until the call came, or until the delete
 * function of the mover returned.
 */
struct future_waker {
	void *data; /* the argument of wake; the caller's */
	future_waker_wake_fn wake;
};

#define FUTURE_WAKER_WAKE(_wakerp) ((_wakerp)->wake((_wakerp)->data))

/* A word whose value changes when the future is worth polling again; the task sets the address. */
struct future_poller {
	uint64_t *ptr_to_monitor;
};

enum future_notifier_type { FUTURE_NOTIFIER_NONE, FUTURE_NOTIFIER_WAKER, FUTURE_NOTIFIER_POLLER };

/*
 * What the poller offers in order not to poll in vain. The poller fills in waker and sets notifier_used to
 * FUTURE_NOTIFIER_NONE; a task that takes something says so in notifier_used, a task that takes nothing leaves it.
 *
 * A waker that was taken is owed one call, when the next poll will find something new. Until that call the task may be
 * silent at further polls; if one offers a waker and the task takes it too, the later one is owed the call. After
 * the call, a task that is not complete yet takes a waker again or will be polled without.
 */
struct future_notifier {
	struct future_waker waker;
	struct future_poller poller;
	enum future_notifier_type notifier_used;
	uint32_t padding;
};

/* ASYNC: the work goes on between two polls. Without it, all the work is done inside of poll. */
enum future_property { FUTURE_PROPERTY_ASYNC };

/*
 * The work of a future. context: of the future that is polled. notifier: see above, NULL if the poller has none.
 * Returns the new state; after FUTURE_STATE_COMPLETE it is never called again for this future.
 */
typedef enum future_state (*future_task_fn)(struct future_context *context, struct future_notifier *notifier);

/* Non-zero if the future (a struct future, followed by its data) has the property. */
typedef int (*future_has_property_fn)(void *future, enum future_property property);

struct future {
	future_task_fn task;
	future_has_property_fn has_property;
	struct future_context context;
};

/*
 * Declares the future type "struct _name" with data and output of the given types. A semicolon follows.
 */
#define FUTURE(_name, _data_type, _output_type)                                                                        \
	struct _name {                                                                                                 \
		struct future base;                                                                                    \
		_data_type data;                                                                                       \
		_output_type output;                                                                                   \
	}

static inline int miniasync_has_no_property(void *future, enum future_property property)
{
	(void)future;
	(void)property;
	return 0;
}

static inline void miniasync_future_init(struct future *future, future_task_fn task,
					 future_has_property_fn has_property, enum future_state state, size_t data_off,
					 size_t data_size, size_t output_size)
{
	/* Not so if the data asks for more than 8 bytes of alignment. */
	assert(data_off == sizeof(struct future));
	(void)data_off;
	future->task = task;
	future->has_property = has_property;
	future->context.data_size = data_size;
	future->context.output_size = output_size;
	future->context.state = state;
	future->context.padding = 0;
}

static inline size_t miniasync_distance(const void *from, const void *to)
{
	return MINIASYNC_SIZE(MINIASYNC_POINTER(const char *, to) - MINIASYNC_POINTER(const char *, from));
}

#define MINIASYNC_DISTANCE(_from, _to) miniasync_distance(_from, _to)

#define MINIASYNC_FUTURE_INIT(_futurep, _taskfn, _propertyfn, _state)                                                  \
	miniasync_future_init(&(_futurep)->base, (_taskfn), (_propertyfn), (_state),                                   \
			      MINIASYNC_DISTANCE((_futurep), &(_futurep)->data),                                       \
			      MINIASYNC_DISTANCE(&(_futurep)->data, &(_futurep)->output), sizeof((_futurep)->output))

/*
 * The three ways to initialise a future; they set the base and leave data and output alone, which the caller may fill
 * before or after. _futurep: pointer to a type declared with FUTURE, evaluated several times.
 *
 * FUTURE_INIT           idle, to be worked on by _taskfn, without properties
 * FUTURE_INIT_EXT       the same, _propertyfn answers future_has_property (NULL: none)
 * FUTURE_INIT_COMPLETE  complete from the beginning, without a task: for a result or an error known at once
 */
#define FUTURE_INIT(_futurep, _taskfn)                                                                                 \
	MINIASYNC_FUTURE_INIT(_futurep, _taskfn, miniasync_has_no_property, FUTURE_STATE_IDLE)
#define FUTURE_INIT_EXT(_futurep, _taskfn, _propertyfn)                                                                \
	MINIASYNC_FUTURE_INIT(_futurep, _taskfn, _propertyfn, FUTURE_STATE_IDLE)
#define FUTURE_INIT_COMPLETE(_futurep)                                                                                 \
	MINIASYNC_FUTURE_INIT(_futurep, NULL, miniasync_has_no_property, FUTURE_STATE_COMPLETE)

/* The struct future of a typed future, a pointer to its data, a pointer to its output, its state as of the last poll.
 */
#define FUTURE_AS_RUNNABLE(_futurep) (&(_futurep)->base)
#define FUTURE_DATA(_futurep)        (&(_futurep)->data)
#define FUTURE_OUTPUT(_futurep)      (&(_futurep)->output)
#define FUTURE_STATE(_futurep)       ((_futurep)->base.context.state)

/*
 * Lets the future make progress, unless it is complete. notifier: may be NULL. Stores and returns the state; what the
 * task did before it returned FUTURE_STATE_COMPLETE, also in another thread, is visible to the caller then.
 */
static inline enum future_state future_poll(struct future *future, struct future_notifier *notifier)
{
	if (future->context.state != FUTURE_STATE_COMPLETE)
		future->context.state = future->task(&future->context, notifier);
	return future->context.state;
}

/* Non-zero if the future has the property; the answer may change as the future makes progress. */
static inline int future_has_property(struct future *future, enum future_property property)
{
	return future->has_property ? future->has_property(future, property) : 0;
}

static inline void miniasync_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

static inline void miniasync_busy_poll(struct future *future)
{
	while (future_poll(future, NULL) != FUTURE_STATE_COMPLETE)
		miniasync_pause();
}

/* Polls a typed future, with a pause instruction in between, until it is complete. runtime_wait(3) sleeps instead. */
#define FUTURE_BUSY_POLL(_futurep) miniasync_busy_poll(FUTURE_AS_RUNNABLE(_futurep))

/*
 * Chains: futures that run one after the other, as one future.
 *
 * The data of a chain is a structure that begins with entries, one behind the other without anything in between; the
 * last one is declared with FUTURE_CHAIN_ENTRY_LAST, and data of the caller's own may follow it:
 *
 *	struct two_copies {
 *		FUTURE_CHAIN_ENTRY(struct vdm_operation_future, first);
 *		FUTURE_CHAIN_ENTRY_LAST(struct vdm_operation_future, second);
 *		char *buffer;
 *	};
 *	FUTURE(two_copies_future, struct two_copies, struct two_copies_output);
 *
 * A poll of the chain polls the first unfinished entry and goes on for as long as entries complete. When an entry
 * completes, first the next one is initialised if it is lazy, then the map function of the completed one runs, then
 * the next one is polled. The chain is RUNNING until its last entry has completed and was mapped. A notifier says
 * what the entry that the chain stopped at took. Each entry is initialised and mapped exactly once.
 */

/*
 * Runs when an entry has completed. entry: its context, with the output. next: the context of the next entry, not
 * polled yet, or for the last entry that of the chain. arg: as given to the macro that initialised the entry.
 */
typedef void (*future_map_fn)(struct future_context *entry, struct future_context *next, void *arg);

/* Fills in an entry's future just before it is needed first. future: the entry's fut. chain: context of the chain. */
typedef void (*future_init_fn)(void *future, struct future_context *chain, void *arg);

#define FUTURE_CHAIN_FLAG_ENTRY_LAST      (1U << 0)
#define FUTURE_CHAIN_FLAG_ENTRY_PROCESSED (1U << 1)
#define FUTURE_CHAIN_VALID_FLAGS          (FUTURE_CHAIN_FLAG_ENTRY_LAST | FUTURE_CHAIN_FLAG_ENTRY_PROCESSED)

/* The size of initial_flags, minus one, is what the initialising macros store in flags: it costs no byte. */
#define MINIASYNC_CHAIN_ENTRY(_future_type, _name, _flags)                                                             \
	struct {                                                                                                       \
		future_map_fn map;                                                                                     \
		void *map_arg;                                                                                         \
		future_init_fn init;                                                                                   \
		void *init_arg;                                                                                        \
		union {                                                                                                \
			uint64_t flags;                                                                                \
			unsigned char initial_flags[1U + (_flags)];                                                    \
		};                                                                                                     \
		_future_type fut;                                                                                      \
	} _name

/* Declare a member of the chain's data; _future_type: declared with FUTURE. A semicolon follows. */
#define FUTURE_CHAIN_ENTRY(_future_type, _name) MINIASYNC_CHAIN_ENTRY(_future_type, _name, 0)
#define FUTURE_CHAIN_ENTRY_LAST(_future_type, _name)                                                                   \
	MINIASYNC_CHAIN_ENTRY(_future_type, _name, FUTURE_CHAIN_FLAG_ENTRY_LAST)

/*
 * Initialises an entry with a future that exists already. _entry: pointer to the member. _fut: a future, copied.
 * _map: future_map_fn or NULL. _map_arg: its argument, must live until the entry has completed.
 */
#define FUTURE_CHAIN_ENTRY_INIT(_entry, _fut, _map, _map_arg)                                                          \
	do {                                                                                                           \
		(_entry)->fut = (_fut);                                                                                \
		(_entry)->map = (_map);                                                                                \
		(_entry)->map_arg = (_map_arg);                                                                        \
		(_entry)->init = NULL;                                                                                 \
		(_entry)->init_arg = NULL;                                                                             \
		(_entry)->flags = sizeof((_entry)->initial_flags) - 1;                                                 \
	} while (0)

/*
 * Initialises an entry whose future is made by _init (a future_init_fn) when it is needed: when the entry before it
 * has completed; the first entry at the chain's first poll or first question for a property.
 */
#define FUTURE_CHAIN_ENTRY_LAZY_INIT(_entry, _init, _init_arg, _map, _map_arg)                                         \
	do {                                                                                                           \
		(_entry)->map = (_map);                                                                                \
		(_entry)->map_arg = (_map_arg);                                                                        \
		(_entry)->init = (_init);                                                                              \
		(_entry)->init_arg = (_init_arg);                                                                      \
		(_entry)->flags = sizeof((_entry)->initial_flags) - 1;                                                 \
	} while (0)

#define FUTURE_CHAIN_ENTRY_HAS_FLAG(_entry, _flag) (((_entry)->flags & (_flag)) == (_flag))
#define FUTURE_CHAIN_ENTRY_IS_LAST(_entry)         FUTURE_CHAIN_ENTRY_HAS_FLAG(_entry, FUTURE_CHAIN_FLAG_ENTRY_LAST)
/* Has completed, and its map function has run. */
#define FUTURE_CHAIN_ENTRY_IS_PROCESSED(_entry) FUTURE_CHAIN_ENTRY_HAS_FLAG(_entry, FUTURE_CHAIN_FLAG_ENTRY_PROCESSED)
/* Its future exists: it never was lazy, or its init function has run. */
#define FUTURE_CHAIN_ENTRY_IS_INITIALIZED(_entry) ((_entry)->init == NULL)

/* An entry of whatever type: callers store to it through the type of the entry, so it may alias. */
#if defined(__GNUC__)
#define MINIASYNC_MAY_ALIAS __attribute__((__may_alias__))
#else
#define MINIASYNC_MAY_ALIAS
#endif

struct miniasync_chain_entry {
	future_map_fn map;
	void *map_arg;
	future_init_fn init;
	void *init_arg;
	uint64_t flags;
	struct future fut;
} MINIASYNC_MAY_ALIAS;

static inline struct miniasync_chain_entry *miniasync_chain_first(struct future_context *chain)
{
	struct miniasync_chain_entry *entry =
		MINIASYNC_POINTER(struct miniasync_chain_entry *, future_context_get_data(chain));

	if (!FUTURE_CHAIN_ENTRY_IS_INITIALIZED(entry)) {
		entry->init(&entry->fut, chain, entry->init_arg);
		entry->init = NULL;
	}
	return entry;
}

/* The initialised entry behind an initialised one, or NULL behind the last. */
static inline struct miniasync_chain_entry *miniasync_chain_next(struct future_context *chain,
								 struct miniasync_chain_entry *entry)
{
	size_t entry_off = MINIASYNC_DISTANCE(future_context_get_data(chain), entry);
	size_t entry_bytes = sizeof(*entry) + future_context_get_size(&entry->fut.context);
	size_t next_off = entry_off + (entry_bytes + 7) / 8 * 8;
	void *next_place = MINIASYNC_POINTER(char *, future_context_get_data(chain)) + next_off;
	struct miniasync_chain_entry *next = MINIASYNC_POINTER(struct miniasync_chain_entry *, next_place);

	if (FUTURE_CHAIN_ENTRY_IS_LAST(entry) || chain->data_size < next_off + sizeof(*next))
		return NULL;
	if (!FUTURE_CHAIN_ENTRY_IS_INITIALIZED(next)) {
		next->init(&next->fut, chain, next->init_arg);
		next->init = NULL;
	}
	return next;
}

static inline enum future_state miniasync_chain_task(struct future_context *chain, struct future_notifier *notifier)
{
	struct miniasync_chain_entry *entry = miniasync_chain_first(chain);

	while (entry) {
		struct miniasync_chain_entry *next;

		if (FUTURE_CHAIN_ENTRY_IS_PROCESSED(entry)) {
			entry = miniasync_chain_next(chain, entry);
			continue;
		}
		if (future_poll(&entry->fut, notifier) != FUTURE_STATE_COMPLETE)
			return FUTURE_STATE_RUNNING;
		next = miniasync_chain_next(chain, entry);
		if (entry->map)
			entry->map(&entry->fut.context, next ? &next->fut.context : chain, entry->map_arg);
		entry->flags |= FUTURE_CHAIN_FLAG_ENTRY_PROCESSED;
		/* What the completed entry took says nothing about the next one. */
		if (notifier)
			notifier->notifier_used = FUTURE_NOTIFIER_NONE;
		entry = next;
	}
	return FUTURE_STATE_COMPLETE;
}

static inline int miniasync_chain_has_property(void *future, enum future_property property)
{
	struct future_context *chain = &MINIASYNC_POINTER(struct future *, future)->context;
	struct miniasync_chain_entry *entry;

	if (chain->state == FUTURE_STATE_COMPLETE)
		return 0;
	entry = miniasync_chain_first(chain);
	while (entry && FUTURE_CHAIN_ENTRY_IS_PROCESSED(entry))
		entry = miniasync_chain_next(chain, entry);
	return entry ? future_has_property(&entry->fut, property) : 0;
}

/*
 * Initialises a chain, idle; its entries are initialised by the macros above, before or after. The properties of a
 * chain are those of its first unfinished entry; a complete chain has none.
 */
#define FUTURE_CHAIN_INIT(_futurep) FUTURE_INIT_EXT(_futurep, miniasync_chain_task, miniasync_chain_has_property)

#ifdef __cplusplus
}
#endif

#endif
