/* SPDX-License-Identifier: Apache-2.0
 * The calls of libcuda that dinemo_ros.gpu.cuda_driver makes, on host memory: a GPU of 1 GB called "stand-in".
 * Checks what a driver checks: handles are the ones it gave out, freed memory was allocated. */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2 };
static const size_t MEMORY = 1u << 30;
static size_t used;
static int live, contexts, streams;
static char context_handle, stream_handle;

int stand_in_live(void) { return live + contexts + streams; }

int cuInit(unsigned flags) { return flags ? INVALID : OK; }
int cuDeviceGet(int *device, int index) { *device = 7; return index ? INVALID : OK; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "stand-in", size); return device == 7 ? OK : INVALID; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 24;
    return device == 7 && (attribute == 75 || attribute == 76 || attribute == 16) ? OK : INVALID;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = MEMORY; return device == 7 ? OK : INVALID; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &context_handle; contexts++; return device == 7 ? OK : INVALID; }
int cuDevicePrimaryCtxRelease_v2(int device) { contexts--; return device == 7 ? OK : INVALID; }
int cuCtxSetCurrent(void *context) { return context == &context_handle ? OK : INVALID; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &stream_handle; streams++; return flags ? INVALID : OK; }
int cuStreamDestroy_v2(void *stream) { streams--; return stream == &stream_handle ? OK : INVALID; }
int cuStreamSynchronize(void *stream) { return stream == &stream_handle ? OK : INVALID; }

static int allocate(void **address, size_t size) {
    if (used + size > MEMORY) return OUT_OF_MEMORY;
    *address = malloc(size);
    used += malloc_usable_size(*address);
    live++;
    return OK;
}
static int release(void *address) {
    used -= malloc_usable_size(address);
    free(address);
    live--;
    return OK;
}
int cuMemAlloc_v2(uint64_t *address, size_t size) {
    void *memory = NULL;
    int status = allocate(&memory, size);
    *address = (uint64_t)(uintptr_t)memory;
    return status;
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { return flags ? INVALID : allocate(address, size); }
int cuMemFree_v2(uint64_t address) { return release((void *)(uintptr_t)address); }
int cuMemFreeHost(void *address) { return release(address); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    if (stream != &stream_handle) return INVALID;
    memcpy((void *)(uintptr_t)to, from, size);
    return OK;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    if (stream != &stream_handle) return INVALID;
    memcpy(to, (const void *)(uintptr_t)from, size);
    return OK;
}
int cuGetErrorName(int status, const char **name) {
    *name = status == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INVALID_VALUE";
    return OK;
}
