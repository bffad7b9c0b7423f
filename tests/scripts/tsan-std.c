/* What the standard library synchronises, told to the thread sanitizer, which does not see it.
 *
 * The library comes compiled, and without the sanitizer's instrumentation. What is generic or inlined is compiled with
 * our code and seen; the slow paths are not: a contended lock, a condition variable, the first use of a `OnceLock`. And
 * the sanitizer knows no fences, of which `Arc` has one before it frees. Without this file both look like data races that
 * there are not. Nothing is suppressed here: each function below, which the linker puts in the place of the one that it
 * is named after (`--wrap`), calls that one and states the order which it really makes, and no more.
 *
 * The names of the standard library's functions are mangled and differ between compilers; tsan.sh finds them and passes
 * them in as macros. If a compiler changes what they take, the tests crash: it is not overlooked. */

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);
void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define REAL(function) JOIN(__real_, function)
#define WRAP(function) JOIN(__wrap_, function)

/* Fences. One that acquires orders everything after it behind what was released to the words that the thread has read
 * before. `Arc` and `Weak` count down, or compare and swap, and then have the fence, so the last such word is remembered. */

static _Thread_local void *last_read;

uint64_t __real___tsan_atomic64_fetch_sub(volatile uint64_t *word, uint64_t value, int order);
uint64_t __wrap___tsan_atomic64_fetch_sub(volatile uint64_t *word, uint64_t value, int order) {
    last_read = (void *)word;
    return __real___tsan_atomic64_fetch_sub(word, value, order);
}

int __real___tsan_atomic64_compare_exchange_strong(volatile uint64_t *word, uint64_t *expected, uint64_t value, int success, int failure);
int __wrap___tsan_atomic64_compare_exchange_strong(volatile uint64_t *word, uint64_t *expected, uint64_t value, int success, int failure) {
    last_read = (void *)word;
    return __real___tsan_atomic64_compare_exchange_strong(word, expected, value, success, failure);
}

void __real___tsan_atomic_thread_fence(int order);
void __wrap___tsan_atomic_thread_fence(int order) {
    __real___tsan_atomic_thread_fence(order);
    if (last_read) __tsan_acquire(last_read);
}

/* An `Arc` that is dropped in the standard library itself, as those of its threads and scopes are: nothing of that is seen but
 * the memory that is freed. It begins with the two counts, which who frees it has seen become zero. A block of another kind that
 * begins with an atomic word is taken for one: that the last reference to a task frees it in order is for the models to show.
 *
 * `unpark` is seen and `park` is not: whoever frees what there is of a thread comes after the last of either. It is known by its
 * size; if a compiler changes that, there are reports of it. */

enum { THREAD_SIZE = 48 };

void __real_free(void *block);
void __wrap_free(void *block) {
    if (block) {
        size_t words = malloc_usable_size(block) == THREAD_SIZE ? THREAD_SIZE / 4 : 4;
        for (size_t word = 0; word < words; word++) __tsan_acquire((uint32_t *)block + word);
    }
    __real_free(block);
}

/* `Mutex::lock` where the lock is held: returns with it taken. Every `unlock` is inlined, and seen. */

void REAL(LOCK_CONTENDED)(void *mutex);
void WRAP(LOCK_CONTENDED)(void *mutex) {
    REAL(LOCK_CONTENDED)(mutex);
    __tsan_acquire(mutex);
}

/* `Condvar` unlocks and locks the mutex in between. */

void REAL(CONDVAR_WAIT)(void *condvar, void *mutex);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex) {
    __tsan_release(mutex);
    REAL(CONDVAR_WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}

bool REAL(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds);
bool WRAP(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds) {
    __tsan_release(mutex);
    bool in_time = REAL(CONDVAR_WAIT_TIMEOUT)(condvar, mutex, seconds, nanoseconds);
    __tsan_acquire(mutex);
    return in_time;
}

/* `Once::call` runs a closure, marks itself done, and whoever sees the mark sees what the closure did. The release has to
 * come before the mark, so the closure is wrapped too: a `&mut dyn FnMut` is the data and a table of functions. */

struct closure {
    void *data;
    void **table;
    void *once;
};

enum { CALL_MUT = 4 }; /* after drop, size, alignment and call_once */

static void call_then_release(struct closure *closure, void *state) {
    ((void (*)(void *, void *))closure->table[CALL_MUT])(closure->data, state);
    __tsan_release(closure->once);
}

static void *wrapped_table[] = {NULL, (void *)sizeof(struct closure), (void *)_Alignof(struct closure), NULL, (void *)call_then_release};

void REAL(ONCE_CALL)(void *once, bool ignore_poison, void *data, void **table, void *location);
void WRAP(ONCE_CALL)(void *once, bool ignore_poison, void *data, void **table, void *location) {
    struct closure closure = {data, table, once};
    REAL(ONCE_CALL)(once, ignore_poison, &closure, wrapped_table, location);
    __tsan_acquire(once);
}

/* A scoped thread counts itself down in the scope's data, of which the address of the counter is not known; the scope waits
 * until the counter is zero. */

enum { SCOPE_WORDS = 3 };

void REAL(SCOPE_LEAVE)(uint64_t *scope, bool panicked);
void WRAP(SCOPE_LEAVE)(uint64_t *scope, bool panicked) {
    for (int word = 0; word < SCOPE_WORDS; word++) __tsan_release(scope + word);
    REAL(SCOPE_LEAVE)(scope, panicked);
}

/* The main thread of a test binary runs the test harness and nothing of ours: each test has a thread. The harness is compiled
 * without instrumentation too, and its channels are seen in pieces. So what this one thread reads and writes is not looked at. */

__attribute__((constructor)) static void ignore_the_harness(void) {
    __tsan_ignore_thread_begin();
    atexit(__tsan_ignore_thread_end); /* that it does not end is reported */
}
