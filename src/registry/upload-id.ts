import { StarlingError } from '../errors.ts'

/**
 * An upload's id as clients have it: `<id>.<home>`. It says which node has the upload, so that any
 * other can pass a request on to it. Without a home it is here.
 */
export interface UploadId {
  /** The id that the node with the upload knows it by: a UUID. */
  readonly local: string
  readonly home: string | undefined
}

/** Throws `BLOB_UPLOAD_UNKNOWN`: no id that we ever gave out looks otherwise. */
export function parseUploadId(text: string): UploadId {
  const [, local, home] = UPLOAD_ID.exec(text) ?? []
  if (local === undefined) throw unknownUpload()
  return { local, home }
}

export function formatUploadId({ local, home }: UploadId): string {
  return home === undefined ? local : `${local}.${home}`
}

export function unknownUpload(): StarlingError {
  return new StarlingError('BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
}

const UPLOAD_ID = /^([A-Za-z0-9][A-Za-z0-9_-]{0,99})(?:\.([A-Za-z0-9]{1,32}))?$/
