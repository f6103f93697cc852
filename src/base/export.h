/*
 * export.h: marks the functions that a shared library exports; everything else is hidden.
 * The symbol maps (lib*.map) name the same functions and their version nodes.
 */
#ifndef BASE_EXPORT_H
#define BASE_EXPORT_H

#define EXPORT __attribute__((visibility("default")))

#endif
