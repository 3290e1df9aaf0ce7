import { setFlagsFromString } from 'node:v8'

/**
 * Keeps V8's young generation small. Blobs that pass through are short-lived buffers outside the
 * heap, which a small young generation lets go early: a node with 5 GiB passing through stays
 * some 50 MiB below what it has without (`npm run prove -- large-blob`, peak resident memory).
 *
 * It counts only before the heap has grown, so `main.ts` imports this first.
 */
setFlagsFromString('--semi-space-growth-factor=1')
