import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type Algorithm, digestOf } from '../../src/digest.ts'
import { type ErrorCode, isCode } from '../../src/errors.ts'
import type { AppendOptions, Upload } from '../../src/store/upload-session.ts'
import {
  IDLE_TIMEOUT_MS,
  MAX_REHASH_BYTES,
  MAX_SESSIONS,
  type UploadSystem
} from './upload-system.ts'

/** What should be, kept by the simplest means. */
export interface Model {
  readonly sessions: SessionModel[]
  /** Sessions that have ended, which nothing may bring back. */
  readonly ended: Upload[]
  /** By digest. */
  readonly blobs: Map<string, Buffer>
}

interface SessionModel {
  readonly upload: Upload
  readonly algorithm: Algorithm
  bytes: Buffer
  touchedAtMs: number
}

/** One step of a sequence: what is done, and what must come of it by the model. */
class Step implements fc.AsyncCommand<Model, UploadSystem> {
  readonly #words: string
  readonly #run: (model: Model, system: UploadSystem) => Promise<void>

  constructor(words: string, run: (model: Model, system: UploadSystem) => Promise<void>) {
    this.#words = words
    this.#run = run
  }

  check(): boolean {
    return true
  }

  run(model: Model, system: UploadSystem): Promise<void> {
    return this.#run(model, system)
  }

  toString(): string {
    return this.#words
  }
}

const REPOSITORIES = ['one', 'two/three'] as const
const BROKEN = new Error('the client broke off')

const algorithm = fc.constantFrom<Algorithm>('sha256', 'sha512')
const bytes = fc.uint8Array({ maxLength: 40 }).map(content => Buffer.from(content))
/** Which of the sessions that there are: taken modulo their number. */
const which = fc.nat(MAX_SESSIONS - 1)

const create = fc
  .record({ repository: fc.constantFrom(...REPOSITORIES), algorithm })
  .map(({ repository, algorithm }) => {
    return new Step(`create(${repository}, ${algorithm})`, async (model, system) => {
      const creating = system.uploads.create(repository, { algorithm })
      if (model.sessions.length >= MAX_SESSIONS) return refused(creating, 'TOOMANYREQUESTS')
      const upload = await creating
      assert.equal(upload.offset, 0)
      const touchedAtMs = system.clock.ms
      model.sessions.push({ upload, algorithm, bytes: Buffer.alloc(0), touchedAtMs })
    })
  })

const append = fc
  .record({
    which,
    bytes,
    /** Of where the body says it starts from where it should. */
    startsOff: fc.option(fc.constantFrom(0, 0, 0, -1, 1), { nil: undefined }),
    /** Of the length declared from the true one. */
    lengthOff: fc.option(fc.constantFrom(0, 0, -1, 1, 5), { nil: undefined }),
    breaks: fc.boolean()
  })
  .map(({ which, bytes, startsOff, lengthOff, breaks }) => {
    const words = `append(${[which, bytes.length, startsOff, lengthOff, breaks]})`
    return onSession(words, which, async (session, _model, system) => {
      session.touchedAtMs = system.clock.ms
      const start = startsOff === undefined ? undefined : session.bytes.length + startsOff
      const length = lengthOff === undefined ? undefined : Math.max(0, bytes.length + lengthOff)
      const options: AppendOptions = {
        ...(start !== undefined && { start }),
        ...(length !== undefined && { lengthBytes: length })
      }
      const appending = system.uploads.append(session.upload, body(bytes, breaks), options)
      if (start !== undefined && start !== session.bytes.length) {
        return refused(appending, 'RANGE_INVALID')
      }
      session.bytes = Buffer.concat([session.bytes, bytes.subarray(0, length)])
      // A body that is too long is refused before it gets to where it breaks.
      if (length !== undefined && length < bytes.length) return refused(appending, 'SIZE_INVALID')
      if (breaks) return assert.rejects(appending, BROKEN)
      if (length !== undefined && length > bytes.length) return refused(appending, 'SIZE_INVALID')
      assert.equal(await appending, session.bytes.length)
    })
  })

const appendTwice = fc.record({ which, bytes }).map(({ which, bytes }) => {
  return onSession(`appendTwice(${which}, ${bytes.length})`, which, async (session, _, system) => {
    session.touchedAtMs = system.clock.ms
    const { upload } = session
    const { uploads } = system
    const refusedMeanwhile = async () => {
      await refused(uploads.append(upload, body(bytes)), 'BLOB_UPLOAD_INVALID')
      await refused(uploads.finish(upload, digestOf(session.bytes)), 'BLOB_UPLOAD_INVALID')
    }
    await uploads.append(upload, body(bytes, false, refusedMeanwhile))
    session.bytes = Buffer.concat([session.bytes, bytes])
  })
})

const finish = fc
  .record({ which, algorithm, matches: fc.constantFrom(true, true, false) })
  .map(({ which, algorithm, matches }) => {
    const words = `finish(${[which, algorithm, matches]})`
    return onSession(words, which, async (session, model, { uploads }) => {
      const { bytes } = session
      const digest = digestOf(matches ? bytes : Buffer.concat([bytes, bytes, BYTE]), algorithm)
      const finishing = uploads.finish(session.upload, digest)
      end(model, session)
      const isTooLong = algorithm !== session.algorithm && bytes.length > MAX_REHASH_BYTES
      if (isTooLong || !matches) return refused(finishing, 'DIGEST_INVALID')
      assert.deepEqual(await finishing, { sizeBytes: bytes.length })
      model.blobs.set(digest, bytes)
    })
  })

const cancel = fc.record({ which, busy: fc.boolean(), bytes }).map(({ which, busy, bytes }) => {
  return onSession(`cancel(${which}, ${busy})`, which, async (session, model, { uploads }) => {
    const { upload } = session
    end(model, session)
    if (!busy) return uploads.cancel(upload)
    // What was cancelled in the middle of a body takes no more of it.
    const interrupted = body(bytes, false, () => uploads.cancel(upload))
    await refused(uploads.append(upload, interrupted), 'BLOB_UPLOAD_UNKNOWN')
  })
})

const wait = fc.constantFrom(1, IDLE_TIMEOUT_MS / 2, IDLE_TIMEOUT_MS).map(ms => {
  return new Step(`wait(${ms})`, async (model, system) => {
    system.clock.ms += ms
    await system.uploads.expire()
    for (const session of [...model.sessions]) {
      if (system.clock.ms - session.touchedAtMs >= IDLE_TIMEOUT_MS) end(model, session)
    }
  })
})

const restart = fc.constant(
  new Step('restart', async (model, system) => {
    await system.restart()
    for (const session of model.sessions) session.touchedAtMs = system.clock.ms
  })
)

/** Steps of all kinds, those that get somewhere more often than the others. */
export const steps: fc.Arbitrary<fc.AsyncCommand<Model, UploadSystem>>[] = [
  ...[create, create, append, append, append, appendTwice, finish, finish, cancel],
  ...[wait, restart]
]

const BYTE = Buffer.from('x')

function onSession(
  words: string,
  which: number,
  run: (session: SessionModel, model: Model, system: UploadSystem) => Promise<void>
): Step {
  return new Step(words, async (model, system) => {
    const session = model.sessions[which % model.sessions.length]
    if (session !== undefined) await run(session, model, system)
  })
}

function end(model: Model, session: SessionModel): void {
  model.sessions.splice(model.sessions.indexOf(session), 1)
  model.ended.push(session.upload)
}

/** A body in two chunks, with something that happens between them, and perhaps an error after. */
async function* body(
  bytes: Buffer,
  breaks = false,
  between: () => Promise<void> = async () => undefined
): AsyncGenerator<Buffer> {
  const middle = Math.floor(bytes.length / 2)
  yield bytes.subarray(0, middle)
  await between()
  yield bytes.subarray(middle)
  if (breaks) throw BROKEN
}

function refused(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  return assert.rejects(promise, error => isCode(error, code))
}
